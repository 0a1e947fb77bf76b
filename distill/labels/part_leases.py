"""Who works on which part of a label set, told by leases alone.

    parts/<number>-of-<count>.json                    a driver of that part is at work
    parts/<number>-of-<count>.<begin>_<end>.json      and has taken over those fragments, beginning
                                                      with the first named, which may be the last
    parts/manifest.json                               a driver writes the manifest for all
    lease.json                                        a driver works on the whole set

All that other drivers must know stands in the keys, so one LIST tells it, however many parts there
are. That LIST also tells who lives, since each beat changes a lease's token: one that has not
changed for `WATCH_SECONDS` is abandoned, and so is one of this machine whose process is gone.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

from distill.labels import lease as leases
from distill.labels.lease import LEASE, hold_lease, is_running, read_holder, require_abandoned
from distill.labels.manifest import parsed_code
from distill.labels.parts import Part
from distill.storage.base import Storage

PARTS = "parts"
# So long after its own start, a driver takes parts that nobody holds for parts that are about to
# begin: else the first of an array would take over those of all others.
START_SECONDS = 20.0
# A lease without a beat for so long is read, since its process may have run on this machine. Not
# sooner: 64 drivers that read each other's leases are 4,000 requests a look.
_SUSPECT_SECONDS = 20.0
_KEY = re.compile(r"(\d+)-of-(\d+)(?:\.(\d{6,}-\d{6,})_(\d{6,}-\d{6,}))?\.json")


@dataclass(frozen=True)
class PartLease:
    """What the key of a lease says."""

    part: Part
    # code of the fragment that the driver begins with; −1 where it is the lease of the part
    begin: int = -1
    end: int = -1  # code of the fragment that it ends with

    @property
    def is_takeover(self) -> bool:
        """Whether it is of fragments that were taken over."""
        return self.begin >= 0

    @property
    def first(self) -> int:
        """The lowest code."""
        return min(self.begin, self.end)

    @property
    def last(self) -> int:
        """The highest code."""
        return max(self.begin, self.end)


@contextlib.contextmanager
def hold_label_set(folder: Storage, what: str) -> Iterator[None]:
    """Hold a whole label set. Raises BusyError where a driver works on it, or on a part of it."""
    with hold_lease(folder, what):
        # looked for after the own lease is there: of two that begin at once, one sees the other
        parts = folder.folder(PARTS)
        found = {meta.key: parts.read_or_none(meta.key) for meta in parts.list_objects()}
        require_abandoned(parts, found, what)
        for key in found:
            parts.delete(key)
        yield


@contextlib.contextmanager
def hold_part(folder: Storage, what: str, part: Part) -> Iterator[None]:
    """Hold a part of a label set. Raises BusyError where another driver holds it, or the whole."""
    with hold_lease(folder.folder(PARTS), f"{what}, part {part}", _part_key(part)):
        whole = folder.read_or_none(LEASE)
        if whole is not None:
            require_abandoned(folder, {LEASE: whole}, what)
            folder.delete(LEASE)
        yield


@contextlib.contextmanager
def hold_takeover(folder: Storage, part: Part, begin: str, end: str) -> Iterator[PartLease]:
    """Tell other drivers that `part` works on the fragments from `begin` to `end`."""
    key = f"{part.number}-of-{part.count}.{begin}_{end}.json"
    with hold_lease(folder.folder(PARTS), f"{begin} to {end}, taken over by part {part}", key):
        yield PartLease(part, parsed_code(begin), parsed_code(end))


class PartWatch:
    """Looks from time to time which parts of one label set are at work, as the driver of one."""

    def __init__(self, folder: Storage, part: Part) -> None:
        self._folder = folder.folder(PARTS)
        self._part = part
        self._began = time.monotonic()
        # token of each lease, and since when it is this one
        self._beats: dict[str, tuple[str, float]] = {}
        # parts that were at work at some time: who left does not begin again
        self._began_before: set[Part] = {part}

    def look(self) -> list[PartLease]:
        """Return the leases of other drivers that live: one LIST."""
        self._listen()
        found = [_parsed(key) for key in sorted(self._beats) if self._lives(key)]
        others = [each for each in found if each is not None and each.part != self._part]
        self._began_before.update(each.part for each in others)
        if time.monotonic() - self._began >= START_SECONDS:
            return others
        return others + self._about_to_begin()

    def forget_dead(self) -> None:
        """Delete the leases of drivers that are gone."""
        for key in self._beats:
            if _parsed(key) is not None and not self._lives(key):
                self._folder.delete(key)

    def _listen(self) -> None:
        now = time.monotonic()
        beats = {}
        for meta in self._folder.walk():
            before = self._beats.get(meta.key)
            is_same = before is not None and before[0] == meta.token
            beats[meta.key] = before if is_same and before else (meta.token, now)
        self._beats = beats

    def _lives(self, key: str) -> bool:
        _, since = self._beats[key]
        now = time.monotonic()
        seconds = now - since
        if seconds >= leases.WATCH_SECONDS:
            return False
        if seconds < _SUSPECT_SECONDS:
            return True
        holder = read_holder(self._folder, key)
        return holder is not None and is_running(holder)

    def _about_to_begin(self) -> list[PartLease]:
        count = self._part.count
        parts = (Part(number, count) for number in range(count))
        return [PartLease(part) for part in parts if part not in self._began_before]


def parts_at_work(folder: Storage) -> list[str]:
    """Name the parts of a label set that have a lease and the machine of each, without those of
    this machine whose process is gone."""
    parts = folder.folder(PARTS)
    found = []
    for meta in parts.list_objects():
        lease = _parsed(meta.key)
        if lease is None or lease.is_takeover:
            continue
        holder = read_holder(parts, meta.key)
        if holder is not None and is_running(holder):
            found.append((lease.part.count, lease.part.number, holder["host"]))
    return [f"{number}/{count} on {host}" for count, number, host in sorted(found)]


def _part_key(part: Part) -> str:
    return f"{part.number}-of-{part.count}.json"


def _parsed(key: str) -> PartLease | None:
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    number, count, begin, end = match.groups()
    part = Part(int(number), int(count))
    if begin is None:
        return PartLease(part)
    return PartLease(part, parsed_code(begin), parsed_code(end))
