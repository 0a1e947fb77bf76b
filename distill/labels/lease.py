"""An advisory lease: a second driver on the same label set or training is refused by name.
Correctness does not rest on it, but on commits.

The holder writes `lease.json` and beats: it writes it anew every `BEAT_SECONDS`. Whoever finds one
looks at the holder, not at clocks, so a driver that was killed may be started again at once where
it ran, and after a minute elsewhere.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from distill.core.errors import BusyError, StorageError
from distill.core.schema import seal, unseal
from distill.storage.base import Storage

log = logging.getLogger(__name__)

LEASE = "lease.json"
BEAT_SECONDS = 15.0
# Three beats, so that one which comes late does not cost its holder the lease.
WATCH_SECONDS = 50.0
_LOOK_SECONDS = 2.0

Body = dict[str, Any]
"""What `lease.json` says of its holder."""


@contextlib.contextmanager
def hold_lease(folder: Storage, what: str) -> Iterator[None]:
    """Hold the lease of what lies in `folder`; `what` names it in messages.

    Raises BusyError where somebody else holds it.
    """
    lease = _Lease(folder, what, _this_process())
    lease.take()
    over = threading.Event()
    beating = threading.Thread(target=lease.beat, args=(over,), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        lease.give_back()


@dataclass(frozen=True)
class _Lease:
    """The lease of one folder, as one driver sees it."""

    folder: Storage
    what: str
    mine: Body

    def take(self) -> None:
        folder = self.folder
        mine = self._content(0)
        if folder.put_if_absent(LEASE, mine):
            return
        found = folder.read_or_none(LEASE)
        self._require_abandoned(found)
        # Not conditionally, since one is there: of two that take it over, who finds the other's
        # gives way.
        folder.put(LEASE, mine)
        if not self._is_mine():
            raise BusyError(
                f"{self.what}: another driver took {self.folder.url(LEASE)} at the same moment."
                " Leave the work to it."
            )

    def beat(self, over: threading.Event) -> None:
        for number in itertools.count(1):
            if over.wait(BEAT_SECONDS):
                return
            try:
                if not self._is_mine(or_nobodys=True):
                    log.warning(
                        "%s: another driver took the lease over. Both go on; each fragment is"
                        " committed once.",
                        self.what,
                    )
                    return
                content = self._content(number)
                self.folder.put(LEASE, content)
            except StorageError as error:
                log.warning("%s: the lease could not be renewed: %s", self.what, error)

    def give_back(self) -> None:
        # A lease that stays is found abandoned by the next driver.
        with contextlib.suppress(StorageError):
            if self._is_mine():
                self.folder.delete(LEASE)

    def _content(self, beat: int) -> bytes:
        return seal({**self.mine, "beat": beat})

    def _is_mine(self, *, or_nobodys: bool = False) -> bool:
        content = self.folder.read_or_none(LEASE)
        found = self._parsed(content)
        return or_nobodys if found is None else found["holder"] == self.mine["holder"]

    def _parsed(self, content: bytes | None) -> Body | None:
        """The body of a lease; None where there is none or it is damaged, which binds nobody."""
        if content is not None:
            with contextlib.suppress(StorageError):
                where = self.folder.url(LEASE)
                return unseal(content, where)
        return None

    def _require_abandoned(self, content: bytes | None) -> None:
        """Look whether the holder of a lease lives. Raises BusyError where it does."""
        found = self._parsed(content)
        if found is None:
            return
        # a process of this machine is alive or it is not; another machine's shows by its beats
        # alone
        if found["machine"] == self.mine["machine"]:
            if found["started"] == _start_time(found["pid"]):
                raise self._busy(found)
            return
        log.warning(
            "%s: %s; looking for %.0f s whether it lives", self.what, _at_work(found), WATCH_SECONDS
        )
        until = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            if self.folder.read_or_none(LEASE) != content:
                raise self._busy(found)

    def _busy(self, found: Body) -> BusyError:
        return BusyError(
            f"{self.what}: {_at_work(found)}. Wait for it or end it; if it is surely gone, delete"
            f" {self.folder.url(LEASE)}."
        )


def _at_work(found: Body) -> str:
    return f"process {found['pid']} on {found['host']} is at work on it since {found['since']}"


def _this_process() -> Body:
    now = datetime.now(timezone.utc)
    return {
        "holder": uuid.uuid4().hex,
        "host": platform.node(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _start_time(os.getpid()),
        "since": now.isoformat(timespec="seconds"),
    }


def _machine() -> str:
    """This boot of this machine, and the processes that this one can see there (a container sees
    its own)."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        processes = os.readlink("/proc/self/ns/pid")
        return f"{boot.strip()} {processes}"
    return platform.node()


def _start_time(pid: int) -> str | None:
    """When a process was started; None where it is gone. A number that was given out again starts
    at another time."""
    if not Path("/proc/self").exists():
        return _running(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in brackets, may have blanks; state and start time stand behind it.
    fields = stat.rpartition(")")[2].split()
    ended = fields[0] in "ZX"
    return None if ended else fields[19]


def _running(pid: int) -> str | None:
    """Where there is no /proc: whether there is such a process at all."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # somebody else's, so there is one
    return "running"
