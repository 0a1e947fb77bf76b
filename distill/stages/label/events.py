"""What a labelling tells those who watch the run (`distill.core.events`)."""

from __future__ import annotations

from collections.abc import Mapping

from distill.core.events import tell
from distill.stages.label.messages import FragmentResult


class LabellingEvents:
    """Of one label set, over all its pools."""

    def __init__(self, name: str) -> None:
        self.step = f"labels.{name}"

    def begin(self, fragments: int, rows: int, rejected: int, rejects_allowed: float) -> None:
        """So much is left, and so many rows are rejected already."""
        tell(
            "labelling",
            step=self.step,
            fragments_left=fragments,
            rows_left=rows,
            rejected=rejected,
            rejects_allowed=rejects_allowed,
        )

    def result(self, result: FragmentResult) -> None:
        """A worker is done with a fragment."""
        fragment = f"{result.pool}/{result.fragment}"
        if result.failure is not None:
            tell(
                "failed",
                step=self.step,
                fragment=fragment,
                worker=result.worker,
                where=result.failure.where,
                why=result.failure.signature,
            )
        if result.commit is not None:
            tell(
                "found" if result.was_there else "committed",
                step=self.step,
                fragment=fragment,
                worker=result.worker,
                rows=result.commit.rows,
                rejected=result.commit.rejected,
                bytes=result.commit.bytes,
                busy_seconds=result.busy_seconds,
                device=result.commit.device,
                worker_seconds=_worker_seconds(result.commit.work),
            )

    def end(self) -> None:
        """No more of it is labelled by this run."""
        tell("labelled", step=self.step)


def _worker_seconds(work: Mapping[str, float]) -> float:
    """Of one worker, its start too."""
    return work.get("seconds", 0.0) + work.get("startup_seconds", 0.0)
