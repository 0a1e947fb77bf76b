"""How many rows a label set gives to each class as its most probable one: what its commits say, or,
where they do not, what the labels say.

Commits of very many classes hold no histogram; then each fragment's labels are read, one after the
other in a few threads.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from distill.labels.commit import read_commit
from distill.labels.contract import Contract
from distill.labels.encoding import best_class
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry

_THREADS = 16
_AT_ONCE = 1_000


def class_counts(labels: LabelSet, contract: Contract) -> npt.NDArray[np.int64]:
    """Rows by class, (C,), rejected ones left out. Raises StorageError."""

    def counted(entry: ManifestEntry) -> npt.NDArray[np.int64]:
        counts = np.zeros(contract.width, np.int64)
        histogram = read_commit(labels.folder, entry.fragment, entry.generation).histogram
        if not histogram and entry.rejected < entry.rows:
            best = best_class(labels.read(entry), contract)
            return np.bincount(best[best >= 0], minlength=contract.width).astype(np.int64)
        for number, rows in histogram.items():
            counts[int(number)] = rows
        return counts

    total, entries = np.zeros(contract.width, np.int64), iter(labels.entries)
    with ThreadPoolExecutor(_THREADS) as threads:
        while part := list(itertools.islice(entries, _AT_ONCE)):
            for counts in threads.map(counted, part):
                total += counts
    return total
