"""An advisory lease: a second driver on the same label set or training is refused by name.
Correctness does not rest on it, but on commits.

The holder writes `lease.json` and beats: it writes it anew every `BEAT_SECONDS`. Whoever finds one
looks at the holder, not at clocks, so a driver that was killed may be started again at once where
it ran, and after a minute elsewhere.

Most drivers refuse to work beside another one. Those of parts (`distill.labels.parts`) wait instead
for what one of them does for all: `go_first_or_wait`, `wait_while_busy` and `make_once`.
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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from distill.core.errors import BusyError, StorageError
from distill.core.progress import WaitLine
from distill.core.schema import seal, unseal
from distill.storage.base import Storage

log = logging.getLogger(__name__)

LEASE = "lease.json"
BEAT_SECONDS = 15.0
# Three beats, so that one which comes late does not cost its holder the lease.
WATCH_SECONDS = 50.0
_LOOK_SECONDS = 2.0
_FIRST_PAUSE_SECONDS = 0.5
# Where very many drivers wait for one that trains for hours.
_MOST_PAUSE_SECONDS = 30.0

Body = dict[str, Any]  # what `lease.json` says of its holder
Result = TypeVar("Result")


@contextlib.contextmanager
def hold_lease(folder: Storage, what: str, key: str = LEASE) -> Iterator[None]:
    """Hold the lease of what lies in `folder`; `what` names it in messages.

    Raises BusyError where somebody else holds it."""
    lease = _Lease(folder, what, _this_process(), key)
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


def await_lease(folder: Storage, what: str, key: str = LEASE) -> None:
    """Wait until nobody holds a lease, and say in a line a minute who is waited for."""
    line = WaitLine()
    for seconds in _pauses():
        content = folder.read_or_none(key)
        if content is None:
            return
        try:
            leases = {key: content}
            require_abandoned(folder, leases, what)
        except BusyError as error:
            why = f"waiting: {error}"
            line.tell(why)
        else:
            return
        time.sleep(seconds)


def go_first_or_wait(folder: Storage, what: str, do: Callable[[], None]) -> None:
    """Call `do` alone among the drivers that begin at one time; where another is at it, wait, and
    then do what it has left, which is usually nothing."""
    with contextlib.suppress(BusyError), hold_lease(folder, what):
        do()
        return
    await_lease(folder, what)
    do()


def wait_while_busy(do: Callable[[], Result]) -> Result:
    """Call `do` until no other driver is at work on what it would do, and return its result."""
    line = WaitLine()
    for seconds in _pauses():
        try:
            return do()
        except BusyError as error:
            why = f"waiting: {error}"
            line.tell(why)
            time.sleep(seconds)
    raise AssertionError("pauses never end")


def make_once(
    folder: Storage, what: str, find: Callable[[], Result | None], make: Callable[[], Result]
) -> Result:
    """Return what `find` finds; else `make` it alone, or wait for the driver that does."""

    def find_or_make() -> Result:
        found = find()
        if found is not None:
            return found
        with hold_lease(folder, what):
            found = find()  # the holder before may just have made it
            return make() if found is None else found

    return wait_while_busy(find_or_make)


def require_abandoned(folder: Storage, leases: Mapping[str, bytes | None], what: str) -> None:
    """Look whether any holder of `leases` (content by key) lives; watch those of other machines
    together. Raises BusyError where one does."""
    watched = {}
    for key, content in leases.items():
        where = folder.url(key)
        found = _parsed(content, where)
        if found is None:
            continue
        # a process of this machine is alive or not; another machine's shows by its beats alone
        if found["machine"] != _machine():
            watched[key] = found
        elif is_running(found):
            raise _busy(folder, key, what, found)
    for found in watched.values():
        at_work = _at_work(found)
        log.warning("%s: %s; looking for %.0f s whether it lives", what, at_work, WATCH_SECONDS)
    now = time.monotonic()
    until = now + WATCH_SECONDS
    while watched and time.monotonic() < until:
        time.sleep(_LOOK_SECONDS)
        for key, found in watched.items():
            if folder.read_or_none(key) != leases[key]:
                raise _busy(folder, key, what, found)


def read_holder(folder: Storage, key: str) -> Body | None:
    """Read who holds a lease; None where nobody does or the lease is damaged."""
    return _parsed(folder.read_or_none(key), folder.url(key))


def is_running(holder: Body) -> bool:
    """Whether the holder's process is there; another machine's is taken to be."""
    if holder["machine"] != _machine():
        return True
    return bool(holder["started"] == _start_time(holder["pid"]))


def _pauses() -> Iterator[float]:
    """Seconds between looks: longer and longer ones."""
    seconds = _FIRST_PAUSE_SECONDS
    while True:
        yield seconds
        longer = 1.5 * seconds
        seconds = min(longer, _MOST_PAUSE_SECONDS)


@dataclass(frozen=True)
class _Lease:
    """The lease of one folder, as one driver sees it."""

    folder: Storage
    what: str
    mine: Body
    key: str

    def take(self) -> None:
        folder = self.folder
        mine = self._content(0)
        if folder.put_if_absent(self.key, mine):
            return
        key = self.key
        found = folder.read_or_none(key)
        require_abandoned(folder, {key: found}, self.what)
        # Not conditionally, since one is there: of two that take it over, who finds the other's
        # gives way.
        folder.put(key, mine)
        if not self._is_mine():
            raise BusyError(
                f"{self.what}: another driver took {self.folder.url(key)} at the same moment."
                " Leave the work to it."
            )

    def beat(self, over: threading.Event) -> None:
        for number in itertools.count(1):
            if over.wait(BEAT_SECONDS):
                return
            try:
                if not self._is_mine(or_nobodys=True):
                    what = self.what
                    log.warning(
                        "%s: another driver took the lease over. Both go on; each fragment is"
                        " committed once.",
                        what,
                    )
                    return
                content = self._content(number)
                self.folder.put(self.key, content)
            except StorageError as error:
                log.warning("%s: the lease could not be renewed: %s", self.what, error)

    def give_back(self) -> None:
        # A lease that stays is found abandoned by the next driver.
        with contextlib.suppress(StorageError):
            if self._is_mine():
                self.folder.delete(self.key)

    def _content(self, beat: int) -> bytes:
        return seal({**self.mine, "beat": beat})

    def _is_mine(self, *, or_nobodys: bool = False) -> bool:
        found = read_holder(self.folder, self.key)
        return or_nobodys if found is None else found["holder"] == self.mine["holder"]


def _parsed(content: bytes | None, where: str) -> Body | None:
    """The body of a lease; None where there is none or it is damaged, which binds nobody."""
    if content is not None:
        with contextlib.suppress(StorageError):
            return unseal(content, where)
    return None


def _busy(folder: Storage, key: str, what: str, found: Body) -> BusyError:
    return BusyError(
        f"{what}: {_at_work(found)}. Wait for it or end it; if it is surely gone, delete"
        f" {folder.url(key)}."
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
    """This boot of this machine, and the processes seen here (a container sees its own)."""
    with contextlib.suppress(OSError):
        path = Path("/proc/sys/kernel/random/boot_id")
        boot = path.read_text()
        processes = os.readlink("/proc/self/ns/pid")
        return f"{boot.strip()} {processes}"
    return platform.node()


def _start_time(pid: int) -> str | None:
    """When a process was started; None where it is gone."""
    # a number that was given out again starts at another time
    if not Path("/proc/self").exists():
        return _running(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The command's name, in brackets, may have blanks; state and start time stand behind it.
    fields = stat.rpartition(")")[2].split()
    state = fields[0]
    ended = state in "ZX"
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
