from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill.labels.commit import WriteIntent, read_commit
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry
from distill.labels.repair import find_lost, pending_fragments
from distill.labels.state import LabelSetState, read_state
from distill.labels.writer import LabelWriter
from tests.making import a_contract, list_pool, write_label_set
from tests.tiny import write_pool

CUT = 8
SHARDS = (20, 5, 16)


@pytest.fixture
def inventory(tmp_path):
    write_pool(tmp_path / "pool", SHARDS)
    return list_pool(tmp_path / "root", tmp_path / "pool")


@pytest.fixture
def outputs():
    return np.random.default_rng(0).normal(size=(sum(SHARDS), 3)).astype(np.float32)


@pytest.fixture
def labels(tmp_path, inventory, outputs) -> LabelSet:
    """A whole set; no manifest yet."""
    return write_label_set(
        tmp_path / "labels",
        a_contract(),
        inventory,
        fragment_rows=CUT,
        outputs=outputs,
        rejected=[7],
    )


def state_of(labels: LabelSet, inventory=None, *, mending: bool = False) -> LabelSetState:
    """What is stored of a set now."""
    return read_state(labels.folder, labels.name, labels.version, inventory, mending=mending)


def read_again(labels: LabelSet, inventory=None) -> LabelSet:
    """The set as it is now."""
    return state_of(labels, inventory).labels


def add_stored(writer: LabelWriter, entries: Iterable[ManifestEntry]) -> None:
    """Add commits that are stored already."""
    for entry in entries:
        writer.add(read_commit(writer.folder, entry.fragment, entry.generation))


def ignorant_writer(labels: LabelSet) -> LabelWriter:
    """A writer that found no commits."""
    return LabelWriter(replace(state_of(labels), unrolled=()))


def pending_intents(labels: LabelSet, inventory) -> list[WriteIntent]:
    """What is to be labelled of a set as it is now, lost fragments included."""
    state, lost = find_lost(state_of(labels))
    return [intent for _, intent, _ in pending_fragments(state, inventory, CUT, lost)]


def path_of(labels: LabelSet, key: str) -> Path:
    """The file of an object."""
    return Path(labels.folder.uri) / key
