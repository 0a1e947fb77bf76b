"""The courses of a job's runs, as they are stored under its root:

    timeline/<when>.<job>.<part>.<mark>/<n>.json       what the run was when its n-th object was written

`<part>` is `all`, or `003-of-064` for one of several drivers. An object holds the whole run so far
(`distill.core.timeline`), is sealed, and is never written again: whoever wants to know of a run
reads its newest alone. Keys say whose it is and when, so that one LIST finds it.
"""

from __future__ import annotations

import logging
import re
import secrets
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from distill.core.errors import StorageError
from distill.core.schema import seal, unseal
from distill.core.timeline import RunRecord
from distill.labels.parts import Part
from distill.plan.former import former_objects
from distill.storage.base import Storage

log = logging.getLogger(__name__)

FOLDER = "timeline"
_KEY = re.compile(r"(?P<run>[^./]+\.(?P<job>.+)\.[^./]+\.[^./]+)/(?P<number>\d+)\.json")
_MOST_RUNS = 256  # that are read: the newest ones
_READ_THREADS = 16


def new_run(job_name: str, part: Part | None, began: float) -> str:
    """Return the name of a run that nobody else has."""
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(began))
    whose = "all" if part is None else f"{part.number:03d}-of-{part.count:03d}"
    return f"{when}.{job_name}.{whose}.{secrets.token_hex(3)}"


def write_record(root: Storage, record: RunRecord, number: int) -> None:
    """Write a run as it is now, as its object of that number. Raises StorageError."""
    body = record.to_plain()
    content = seal(body)
    root.folder(FOLDER, record.run).put(f"{number:06d}.json", content)


def read_records(root: Storage, job_name: str) -> list[RunRecord]:
    """Return a job's runs as far as they are known, the oldest first. An object that is damaged
    hides no other run."""
    newest = _newest(root, job_name)
    keys = [newest[run] for run in sorted(newest)[-_MOST_RUNS:]]
    folder = root.folder(FOLDER)
    with ThreadPoolExecutor(_READ_THREADS) as threads:
        found = threads.map(lambda key: _read(folder, key), keys)
        return [record for record in found if record is not None]


def former_records(root: Storage) -> list[tuple[str, int]]:
    """Return keys and sizes of all objects that a newer one of the same run stands for."""
    return former_objects(root, FOLDER)


def _newest(root: Storage, job_name: str) -> dict[str, str]:
    """Run → key of its newest object."""
    keys: Iterable[str] = (meta.key for meta in root.folder(FOLDER).list_objects())
    newest = {}
    for key in keys:  # in their order
        named = _KEY.fullmatch(key)
        if named and named["job"] == job_name:
            run = named["run"]
            newest[run] = key
    return newest


def _read(folder: Storage, key: str) -> RunRecord | None:
    try:
        content = folder.read(key)
        return RunRecord.from_plain(unseal(content, folder.url(key)))
    except (StorageError, TypeError, KeyError) as error:
        log.warning("a run's timeline is left out: %s", error)
        return None
