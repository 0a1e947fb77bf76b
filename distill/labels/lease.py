"""An advisory lease: a second driver on the same label set is refused by name. Correctness does not
rest on it, but on commits.

The holder writes `lease.json` and beats: it writes it anew every `BEAT_SECONDS`. Whoever finds one
looks at the holder, not at clocks: a process of this machine is alive or it is not; a lease of
another machine is watched for `WATCH_SECONDS`, and only one that did not beat meanwhile is taken
over. So a driver that was killed may be started again at once where it ran, and after a minute
elsewhere.
"""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from distill.core.errors import BusyError, StorageError
from distill.core.schema import seal, unseal
from distill.storage.base import Storage

log = logging.getLogger(__name__)

LEASE = "lease.json"
BEAT_SECONDS = 15.0
WATCH_SECONDS = 50.0
_LOOK_SECONDS = 2.0


@contextlib.contextmanager
def hold_lease(folder: Storage, what: str) -> Iterator[None]:
    """Hold the lease of the label set in `folder`; `what` names it in messages. Raises BusyError
    where somebody else holds it."""
    mine = {
        "holder": uuid.uuid4().hex,
        "host": platform.node(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "since": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }
    if not folder.put_if_absent(LEASE, _content(mine, 0)):
        _take_over(folder, what, mine)
    over = threading.Event()
    beating = threading.Thread(target=_beat, args=(folder, what, mine, over), daemon=True)
    beating.start()
    try:
        yield
    finally:
        over.set()
        beating.join()
        with contextlib.suppress(StorageError):
            if _holder(folder) == mine["holder"]:
                folder.delete(LEASE)


def _take_over(folder: Storage, what: str, mine: dict[str, Any]) -> None:
    """Replace a lease whose holder is gone. Raises BusyError where it is not."""
    content = folder.read_or_none(LEASE)
    found = _read(content, folder) if content is not None else None
    if found and found["machine"] == mine["machine"]:
        if found["started"] == _started(found["pid"]):
            raise BusyError(_told(folder, what, found))
    elif found:
        log.warning("%s: %s; looking for %.0f s whether it lives", what, _by(found), WATCH_SECONDS)
        until = time.monotonic() + WATCH_SECONDS
        while time.monotonic() < until:
            time.sleep(_LOOK_SECONDS)
            if folder.read_or_none(LEASE) != content:
                raise BusyError(_told(folder, what, found))
    folder.put(LEASE, _content(mine, 0))
    if _holder(folder) != mine["holder"]:
        raise BusyError(
            f"{what}: another driver took {folder.url(LEASE)} at the same moment. Leave the work"
            " to it."
        )


def _beat(folder: Storage, what: str, mine: dict[str, Any], over: threading.Event) -> None:
    for number in range(1, 1 << 62):
        if over.wait(BEAT_SECONDS):
            return
        try:
            if _holder(folder) not in (mine["holder"], None):
                log.warning(
                    "%s: another driver took the lease over. Both go on; each fragment is committed"
                    " once.",
                    what,
                )
                return
            folder.put(LEASE, _content(mine, number))
        except StorageError as error:
            log.warning("%s: the lease could not be renewed: %s", what, error)


def _content(mine: dict[str, Any], beat: int) -> bytes:
    return seal({**mine, "beat": beat})


def _read(content: bytes, folder: Storage) -> dict[str, Any] | None:
    """A lease; None where it is damaged, which binds nobody."""
    with contextlib.suppress(StorageError):
        return unseal(content, folder.url(LEASE))
    return None


def _holder(folder: Storage) -> str | None:
    content = folder.read_or_none(LEASE)
    found = _read(content, folder) if content is not None else None
    return str(found["holder"]) if found else None


def _by(lease: dict[str, Any]) -> str:
    return f"process {lease['pid']} on {lease['host']} is at work on it since {lease['since']}"


def _told(folder: Storage, what: str, lease: dict[str, Any]) -> str:
    return (
        f"{what}: {_by(lease)}. Wait for it or end it; if it is surely gone, delete"
        f" {folder.url(LEASE)}."
    )


def _machine() -> str:
    """This boot of this machine, and the processes that this one can see there (a container sees
    its own)."""
    with contextlib.suppress(OSError):
        return (
            f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()}"
            f" {os.readlink('/proc/self/ns/pid')}"
        )
    return platform.node()


def _started(pid: int) -> str | None:
    """When a process was started; None where it is gone. A number that was given out again starts
    at another time."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return None if Path("/proc/self").exists() else _answers(pid)
    return None if status[0] in "ZX" else status[19]


def _answers(pid: int) -> str | None:
    """Where there is no /proc: whether the process answers at all."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "running"
