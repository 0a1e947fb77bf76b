"""Where the labels of one fragment go, of one label set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from distill.labels.commit import Attempt, Commit, Provenance, commit_fragment, write_attempt
from distill.labels.contract import Contract
from distill.pools.formats.base import Rejected
from distill.stages.label.messages import FragmentTask
from distill.storage.base import Storage


@dataclass(frozen=True)
class FragmentPlace:
    """The label set's folder, and what is written there."""

    folder: Storage
    task: FragmentTask
    contract: Contract
    provenance: Provenance

    def commit(
        self,
        labels: pa.Table,
        rejected: Rejected,
        work: Callable[[], dict[str, float]] = dict,
        ahead: Attempt | None = None,
    ) -> Commit:
        """Commit the labels of all its rows; where what was written `ahead` is all of them, as it
        lies there."""

        def write() -> Attempt:
            if ahead is not None and ahead.note.intent == self.task.intent:
                return ahead
            return self.write(range(len(labels)), labels, rejected)

        return commit_fragment(self.folder, write, labels, self.contract, work=work)

    def write(self, rows: range, labels: pa.Table, rejected: Rejected) -> Attempt:
        """Write those of rows, counted from the fragment's start; nobody commits them unless they
        are all of it."""
        intent = self.task.intent
        return write_attempt(
            self.folder,
            replace(intent, start=intent.start + rows.start, rows=len(rows)),
            labels,
            rejects=self._rejects(rejected),
            contract=self.contract,
            provenance=self.provenance,
        )

    def _rejects(self, rejected: Rejected) -> list[dict[str, Any]]:
        """The lines of `rejects/`, in the order of the rows."""
        key = self.task.key
        start = self.task.intent.start
        return [
            {"shard": key, "row": start + row, "reason": reason, "message": message}
            for row, (reason, message) in sorted(rejected.items())
        ]
