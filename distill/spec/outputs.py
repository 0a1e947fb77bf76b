"""The meaning of a row of outputs: logits over named classes, or a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

_SHOWN_CLASSES = 20


@dataclass(frozen=True)
class Outputs:
    """The meaning of a row of outputs: logits over named classes, or a value."""

    kind: Literal["logits", "value"]
    classes: tuple[str, ...] = ()
    exclusive: bool = True

    @cached_property
    def positions(self) -> Mapping[str, int]:
        """Where each class stands."""
        return {name: number for number, name in enumerate(self.classes)}

    @property
    def is_exclusive(self) -> bool:
        """Whether a row has one class of several."""
        are_logits = self.kind == "logits"
        return are_logits and self.exclusive

    @property
    def says_nothing(self) -> bool:
        """Whether all rows get the same: the softmax of one class is 1."""
        return self.exclusive and len(self.classes) == 1

    @property
    def judged_as(self) -> str:
        """How it is judged: `exclusive`, `independent` or `value`."""
        if self.kind == "value":
            return "value"
        return "exclusive" if self.exclusive else "independent"

    def is_like(self, other: Outputs) -> bool:
        """Whether both are values, or logits, exclusive in both or in neither."""
        return (self.kind, self.exclusive) == (other.kind, other.exclusive)

    @property
    def in_words(self) -> str:
        """The meaning, for messages."""
        if self.kind == "value":
            return "a value"
        relation = "exclusive" if self.exclusive else "independent"
        return f"{relation} classes {_clipped(self.classes)}"


def _clipped(names: tuple[str, ...]) -> str:
    first = names[:_SHOWN_CLASSES]
    shown = list(first)
    if len(names) > _SHOWN_CLASSES:
        shown.append("…")
    listed = ", ".join(shown)
    return f"[{listed}]"
