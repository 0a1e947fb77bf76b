"""One pass of a network for several labelers: heads of one student, a classifier and what it sees,
outputs of one ONNX file.

The first labeler prepares a batch and is asked about it; its companions are then given the very same
prepared batch, and find the pass made. A batch is known by its identity, so nothing is compared;
without companions nothing is kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

Answer = TypeVar("Answer")


class SharedPass(Generic[Answer]):
    """`shared(prepared)` → what `compute` makes of it, once for all labelers."""

    def __init__(self, compute: Callable[[Any], Answer]) -> None:
        self.compute = compute
        self.passes = 0  # how often it was computed
        self.is_shared = False
        self._last: tuple[Any, Answer] | None = None

    def __call__(self, prepared: Any) -> Answer:
        """Return the answer to a batch. A batch must not be written to while companions ask."""
        if self._last is not None and self._last[0] is prepared:
            return self._last[1]
        answer = self.compute(prepared)
        self.passes += 1
        if self.is_shared:
            self._last = (prepared, answer)
        return answer
