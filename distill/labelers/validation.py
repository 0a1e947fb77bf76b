"""What a model says of its own outputs, held against what the job says of them: an order of classes
that is not the same is silent poison."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.errors import LabelerError

_SHOWN = 20


def require_classes(kind: str, declared: Sequence[str], own: Sequence[str]) -> None:
    """Refuse a model whose classes are not the declared ones in their order. Raises LabelerError."""
    if list(declared) != list(own):
        order = "the same in another order" if sorted(declared) == sorted(own) else "others"
        raise LabelerError(
            f"a labeler of kind {kind!r}: classes = {_clipped(declared)}, but the model's are"
            f" {order}: {_clipped(own)}. Write the model's."
        )


def require_width(kind: str, declared: int, own: int) -> None:
    """Refuse a model that answers with another number of numbers a row. Raises LabelerError."""
    if declared != own:
        raise LabelerError(
            f"a labeler of kind {kind!r}: width = {declared}, but the model answers {own} numbers a"
            f" row. Write width = {own}."
        )


def _clipped(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return f"[{shown}{', …' if len(names) > _SHOWN else ''}]"
