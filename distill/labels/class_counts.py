"""How many rows a label set gives to each class as its most probable one: what its commits say, or,
where they do not, what the labels say.

Commits of very many classes, or of encrypted labels, hold no histogram; then each fragment's labels
are read, one after the other in a few threads.
"""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from distill.labels.commit import read_commit
from distill.labels.contract import Contract
from distill.labels.encoding import best_class
from distill.labels.label_set import LabelSet
from distill.labels.manifest import Integers, ManifestEntry

# Commits are small objects, so a count of many is all waiting.
_THREADS = 16
# Counts that may wait for their turn: (fragments, C) of memory.
_FRAGMENTS_AT_ONCE = 1_000


def class_counts(labels: LabelSet, contract: Contract) -> Integers:
    """Count rows by class, (C,), rejected ones left out. Raises StorageError."""

    def count(entry: ManifestEntry) -> Integers:
        return _fragment_counts(labels, contract, entry)

    total = np.zeros(contract.width, np.int64)
    entries = iter(labels.entries)
    with ThreadPoolExecutor(_THREADS) as threads:
        while part := list(itertools.islice(entries, _FRAGMENTS_AT_ONCE)):
            for counts in threads.map(count, part):
                total += counts
    return total


def _fragment_counts(labels: LabelSet, contract: Contract, entry: ManifestEntry) -> Integers:
    commit = read_commit(labels.folder, entry.fragment, entry.generation)
    if not commit.histogram and entry.rejected < entry.rows:
        table = labels.read(entry)
        best = best_class(table, contract)
        has_label = best >= 0
        labelled = best[has_label]
        counts = np.bincount(labelled, minlength=contract.width)
        return counts.astype(np.int64)
    counts = np.zeros(contract.width, np.int64)
    for number, rows in commit.histogram.items():
        counts[int(number)] = rows
    return counts
