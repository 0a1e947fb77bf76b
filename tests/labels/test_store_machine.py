"""The label store under two drivers, gc and readers, on a disk that sometimes fails.

The model is what a reader without us would find: commits as they lie on the disk, remembered for
ever once they were seen, the highest generation of each fragment being the one that counts.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO
from unittest import mock

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from distill.core.errors import StorageError
from distill.labels.commit import Commit, WriteIntent
from distill.labels.label_set import LabelSet
from distill.labels.manifest import ManifestEntry
from distill.labels.repair import (
    find_lost,
    find_problems,
    lost_entries,
    other_attempts,
    pending_fragments,
    superseded_segments,
)
from distill.labels.state import read_state
from distill.labels.writer import LabelWriter
from distill.storage.base import ObjectMeta, Storage
from distill.storage.local import LocalStorage
from tests.labels.conftest import CUT, SHARDS
from tests.making import a_contract, commit_labels, list_pool, some_labels
from tests.tiny import write_pool

FAULTS = (
    "a read fails",
    "a put is not kept",
    "its answer is lost",
    "its answer is doubted",
    "gc runs before the commit",
)


DRIVERS = st.integers(0, 1)
FRAGMENTS = st.integers(0, 5)
FAULT = st.sampled_from([None, None, None, None, *FAULTS[:-1]])
COMMIT_FAULT = st.sampled_from([None, None, *FAULTS[1:]])


class Faults:
    """At most one fault that is to happen, once."""

    def __init__(self, gc: Callable[[str], None]) -> None:
        self.due: str | None = None
        self.gc = gc

    def happens(self, fault: str) -> bool:
        happens = self.due == fault
        if happens:
            self.due = None
        return happens


class FailingStorage(Storage):
    """A disk that fails once where it is told to."""

    def __init__(self, disk: Storage, faults: Faults) -> None:
        self.disk = disk
        self.faults = faults
        self.uri = disk.uri

    def folder(self, *names: str) -> Storage:
        return FailingStorage(self.disk.folder(*names), self.faults)

    def walk(self) -> Iterator[ObjectMeta]:
        return self.disk.walk()

    def entry(self, key: str) -> ObjectMeta:
        return self.disk.entry(key)

    def open(self, key: str) -> BinaryIO:
        if self.faults.happens("a read fails"):
            raise StorageError(f"{self.url(key)} cannot be read")
        return self.disk.open(key)

    def put(self, key: str, content: bytes) -> None:
        self.disk.put(key, content)

    def create(self, key: str, content: bytes) -> bool:
        if self.faults.happens("a put is not kept"):
            raise StorageError(f"{self.url(key)} cannot be written")
        if key.startswith("commits/") and self.faults.happens("gc runs before the commit"):
            self.faults.gc(key)
        created = self.disk.create(key, content)
        if self.faults.happens("its answer is lost"):
            raise StorageError(f"{self.url(key)} was written, and nobody said so")
        if self.faults.happens("its answer is doubted"):
            return False  # a store is asked again, and then an object is there
        return created

    def delete(self, key: str) -> None:
        self.disk.delete(key)


@functools.cache
def the_inventory():
    folder = Path(tempfile.mkdtemp())
    write_pool(folder / "pool", SHARDS)
    inventory = list_pool(folder / "root", folder / "pool")
    shutil.rmtree(folder)
    return inventory


@dataclass
class Driver:
    """One run of `distill label`, until it fails or is done."""

    writer: LabelWriter
    pending: list[WriteIntent]


def plain_hash(commits: dict[str, dict[str, Any]]) -> str:
    """The label hash as FORMAT.md says it."""
    digest = hashlib.sha256()
    for commit in sorted(commits.values(), key=lambda each: (each["shard"], each["start"])):
        for name in ("shard", "start", "rows"):
            digest.update(commit[name].to_bytes(8, "little"))
        digest.update(bytes.fromhex(commit["columns_sha256"]))
    return digest.hexdigest()


class StoreMachine(RuleBasedStateMachine):
    """Drivers label, mend, roll up and tidy; gc deletes; the disk loses and damages data."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.faults = Faults(self.gc_meanwhile)
        self.drivers: dict[int, Driver] = {}
        """Those at work, by number: each may be unaware of the other."""
        self.disk = LocalStorage(self.path)
        self.inventory = the_inventory()
        self.commits: dict[tuple[str, int], dict[str, Any]] = {}
        """Every commit that was ever on the disk."""
        self.hurt: set[str] = set()
        """Keys of data that the disk lost or damaged."""
        self.condemned: set[str] = set()
        """Keys of data that a driver set out to replace."""
        self.snapshots: list[LabelSet] = []
        """What readers read, and may still be reading."""
        self.patches = [
            mock.patch("distill.labels.writer.SEGMENT_ENTRIES", 2),
            mock.patch("distill.labels.segments._MANY", 0),
            mock.patch("distill.labels.segments._MOST_ENTRIES", 4),
        ]
        for patch in self.patches:
            patch.start()

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            for patch in self.patches:
                patch.stop()
            shutil.rmtree(self.path)

    @property
    def storage(self) -> Storage:
        return FailingStorage(self.disk, self.faults)

    @initialize(
        labelled=st.sampled_from([6, 4, 0]),
        rolled=st.booleans(),
        hurt=st.lists(st.tuples(FRAGMENTS, st.booleans()), min_size=1, max_size=3),
    )
    def begin(self, labelled, rolled, hurt):
        """A run that was ended when it had labelled so much, and what the disk did afterwards."""
        driver = self.open_driver(mending=False)
        for intent in driver.pending[:labelled]:
            driver.writer.add(self.label(intent))
        if rolled:
            driver.writer.write_manifest()
        self.look()
        for which, lose in hurt:
            self.hurt_data(which, lose)
        self.drivers[0] = self.open_driver(mending=True)

    @rule(number=DRIVERS, mending=st.booleans(), fault=FAULT)
    def start_driver(self, number, mending, fault):
        self.faults.due = fault
        self.drivers.pop(number, None)
        with contextlib.suppress(StorageError):
            self.drivers[number] = self.open_driver(mending=mending)

    def open_driver(self, *, mending: bool) -> Driver:
        state = read_state(self.storage, "teacher", 1, self.inventory, mending=mending)
        state, lost = find_lost(state)
        writer = LabelWriter(state)
        writer.begin(a_contract(), self.inventory, CUT)
        again = list(lost)
        if mending:
            found = find_problems(writer.snapshot())
            again += [entry for entry, problem in found if problem and entry not in lost]
        self.condemned |= {entry.data for entry in again}
        pending = pending_fragments(state, self.inventory, CUT, again)
        return Driver(writer, [intent for _, intent, _ in pending])

    @precondition(lambda self: any(driver.pending for driver in self.drivers.values()))
    @rule(number=DRIVERS, which=FRAGMENTS, seed=st.integers(0, 99), fault=COMMIT_FAULT)
    def commit(self, number, which, seed, fault):
        """A worker labels a fragment; where it fails, another may be given it."""
        self.faults.due = fault
        driver = self.driver(number)
        if not driver.pending:
            return
        intent = driver.pending[which % len(driver.pending)]
        try:
            commit = self.label(intent, seed)
        except StorageError:
            return
        driver.writer.add(commit)
        driver.pending.remove(intent)

    @precondition(lambda self: self.drivers)
    @rule(number=DRIVERS, tidy=st.booleans(), fault=FAULT)
    def write_manifest(self, number, tidy, fault):
        self.faults.due = fault
        driver = self.driver(number)
        try:
            driver.writer.write_manifest()
            if tidy:
                driver.writer.tidy_manifest()
        except StorageError:
            self.drivers = {n: each for n, each in self.drivers.items() if each is not driver}

    @precondition(lambda self: self.drivers)
    @rule(number=DRIVERS)
    def ask_driver(self, number):
        """What a driver knows was committed, each fragment once."""
        entries = self.driver(number).writer.snapshot().entries
        assert len({entry.fragment for entry in entries}) == len(entries)
        for entry in entries:
            self.require_committed(entry)

    def driver(self, number: int) -> Driver:
        """That driver, or the other where it is not at work."""
        return self.drivers.get(number) or next(iter(self.drivers.values()))

    def label(self, intent: WriteIntent, seed: int = 0) -> Commit:
        """Commit random labels, some of them rejects."""
        rejected = [0] if seed % 2 else []
        table = some_labels(intent.rows, a_contract(), seed=seed, rejected=rejected)
        commit = commit_labels(self.storage, intent, table, a_contract())
        self.look()
        assert self.commits[intent.fragment, intent.generation]["attempt"] == commit.attempt
        return commit

    def mend(self, intent: WriteIntent) -> Commit:
        """Label a fragment as a worker does: once more where the commit that is there is lost."""
        commit = self.label(intent)
        if commit.data in self.hurt:
            return self.mend(replace(intent, generation=commit.generation + 1))
        return commit

    @rule(which=FRAGMENTS, lose=st.booleans())
    def hurt_data(self, which, lose):
        current = self.current()
        if not current:
            return
        commit = current[sorted(current)[which % len(current)]]
        key = self.data_key(commit)
        file = self.path / key
        self.hurt.add(key)
        if not file.exists():
            return
        if lose:
            file.unlink()
        else:
            content = bytearray(file.read_bytes())
            content[len(content) // 2] ^= 1
            file.write_bytes(content)

    @rule(fault=FAULT)
    def read(self, fault):
        self.faults.due = fault
        try:
            labels = read_state(self.storage, "teacher", 1, self.inventory).labels
        except StorageError:
            return
        self.snapshots.append(labels)

    @rule(fault=FAULT)
    def gc(self, fault=None):
        self.faults.due = fault
        try:
            state = read_state(self.storage, "teacher", 1)
            LabelWriter(state).write_manifest()
            found = [*other_attempts(state.labels), *superseded_segments(state)]
        except StorageError:
            return
        self.look()
        garbage = {key for key, _ in found}
        for labels in self.snapshots:
            seen = {entry.data for entry in labels.entries}
            assert not garbage & (seen - self.hurt - self.condemned)
        for key in garbage:
            self.storage.delete(key)

    def gc_meanwhile(self, key: str) -> None:
        """Run gc while a mend is under way: between its data and its commit.

        The lease keeps gc away where data is damaged, but there; a lost fragment has to be safe
        without.
        """
        commit = self.current().get(key.split("/")[1].split(".", maxsplit=1)[0])
        if commit is None or not (self.path / self.data_key(commit)).exists():
            self.gc()

    @invariant()
    def storage_is_whole(self):
        self.look()
        self.committed_is_never_lost()
        self.a_reader_sees_the_highest_generations()
        self.a_reader_of_the_manifest_sees_what_was_committed()

    def committed_is_never_lost(self):
        for commit in self.current().values():
            key = self.data_key(commit)
            if key not in self.hurt:
                content = (self.path / key).read_bytes()
                assert hashlib.sha256(content).hexdigest() == commit["sha256"]

    def a_reader_sees_the_highest_generations(self):
        labels = read_state(self.disk, "teacher", 1).labels
        current = self.current()
        assert {entry.fragment: entry.generation for entry in labels.entries} == {
            fragment: commit["generation"] for fragment, commit in current.items()
        }
        assert len(labels.entries) == len(current)
        assert labels.label_hash == plain_hash(current)

    def a_reader_of_the_manifest_sees_what_was_committed(self):
        state = read_state(self.disk, "teacher", 1, self.inventory)
        lost = lost_entries(state.labels)
        assert {entry.data for entry in lost} <= self.hurt
        for entry in state.labels.entries:
            self.require_committed(entry)
        if state.commits_listed:
            assert state.labels.label_hash == plain_hash(self.current())
        else:
            state.labels.require_complete(self.inventory)

    def finish(self) -> None:
        """Whatever happened, one more run with `--mend` makes the set whole."""
        self.faults.due = None
        driver = self.open_driver(mending=True)
        for intent in driver.pending:
            driver.writer.add(self.mend(intent))
        driver.writer.write_manifest()
        driver.writer.tidy_manifest()
        self.gc()
        labels = read_state(self.disk, "teacher", 1, self.inventory).labels
        labels.require_complete(self.inventory)
        assert labels.label_hash == driver.writer.snapshot().label_hash
        assert not any(problem for _, problem in find_problems(labels))
        kept = {str(file.relative_to(self.path)) for file in self.path.glob("data/*/*")}
        assert {entry.data for entry in labels.entries} <= kept

    def look(self) -> None:
        """Remember the commits on the disk; none may be gone, or another."""
        found = {}
        for file in (self.path / "commits").glob("*.json"):
            body = json.loads(file.read_bytes())["body"]
            found[file.name.split(".")[0], body["generation"]] = body
        assert self.commits.items() <= found.items()
        self.commits = found

    def current(self) -> dict[str, dict[str, Any]]:
        """The commit that counts of each fragment."""
        return {fragment: self.commits[fragment, g] for fragment, g in sorted(self.commits)}

    def require_committed(self, entry: ManifestEntry) -> None:
        commit = self.commits[entry.fragment, entry.generation]
        assert commit["attempt"] == entry.attempt
        assert commit["columns_sha256"] == entry.columns_sha256

    def data_key(self, commit: dict[str, Any]) -> str:
        fragment = f"{commit['shard']:06d}-{commit['number']:06d}"
        return f"data/{fragment}/{commit['attempt']}.arrow"


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=30, stateful_step_count=25, deadline=None)
