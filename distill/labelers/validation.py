"""A model's own outputs, compared with those that the job declares: labels in another order of
classes are wrong without any sign of it."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.errors import LabelerError

_SHOWN = 20


def require_classes(kind: str, declared: Sequence[str], own: Sequence[str]) -> None:
    """Refuse a model that has not the declared classes in their order. Raises LabelerError."""
    if list(declared) == list(own):
        return
    difference = "others"
    if sorted(declared) == sorted(own):
        difference = "the same in another order"
    raise LabelerError(
        f"a labeler of kind {kind!r}: classes = {clipped(declared)}, but the model's are"
        f" {difference}: {clipped(own)}. Write the model's."
    )


def require_width(kind: str, declared: int, own: int, labels: Sequence[str] = ()) -> None:
    """Refuse a model whose rows have another number of numbers, which may be those of `labels`.
    Raises LabelerError."""
    if declared == own:
        return
    hint = f" If they are logits of classes, write classes = {clipped(labels)}." if labels else ""
    raise LabelerError(
        f"a labeler of kind {kind!r}: width = {declared}, but the model answers {own} numbers a"
        f" row. Write width = {own}.{hint}"
    )


def require_one_each(classes: Sequence[str], descriptions: Sequence[str] | None) -> None:
    """Refuse descriptions that are not one a class. Raises ValueError."""
    if descriptions is not None and len(descriptions) != len(classes):
        raise ValueError(
            f"has {len(classes)} classes and {len(descriptions)} descriptions; give one for each"
        )


def clipped(names: Sequence[str]) -> str:
    """Return names as a list, the first of a thousand, for a message that a person reads."""
    shown = [repr(name) for name in names[:_SHOWN]]
    if len(names) > _SHOWN:
        shown.append("…")
    listed = ", ".join(shown)
    return f"[{listed}]"
