"""Which files of a folder are a pool's shards, and which folders are no pool at all.

Left out are files that start with `_` or `.` and those that commonly lie beside shards and hold no
rows: a README, a licence, what `datasets.save_to_disk` writes of itself. A table of Delta Lake,
Iceberg or Hudi is refused: its log says which of its files count, and rows that were deleted or
rewritten lie beside those that are live.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from distill.core.errors import PoolError, StorageError
from distill.storage.base import ObjectMeta, Storage, is_hidden
from distill.storage.open import open_storage

MADE_MARKER = "_made.json"  # written last by the making of a pool that its job makes
MAKING_MARKER = "_making.json"  # written first by it
_OUR_MARKERS = (MAKING_MARKER, MADE_MARKER)

# what the keys of a table's log look like
_TABLE_LOGS = {
    "Delta Lake": re.compile(r"(^|/)_delta_log/"),
    "Hudi": re.compile(r"(^|/)\.hoodie/"),
    "Iceberg": re.compile(r"(^|/)metadata/[^/]+\.metadata\.json(\.gz)?$"),
}
_LOG_FOLDERS = ("_delta_log", ".hoodie", "metadata")
_SIDE_FILES = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|citation|authors)(\.(txt|rst|html?|pdf|cff|bib))?"
    r"|.*\.(md|sha256|md5|crc)"
    r"|(dataset_infos?|dataset_dict|dataset-metadata|state|croissant)\.json"
    r"|(sha256|md5)sums(\.txt)?|thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)
_SAVED_STATE = "state.json"
# what `datasets` keeps of its own transformations beside a folder that `save_to_disk` wrote
_CACHED = re.compile(r"cache-.*\.arrow")


@dataclass(frozen=True)
class Listing:
    """The shards of a folder by key, and what else lies there."""

    shards: list[ObjectMeta]
    hidden: int  # how many files start with `_` or `.`, our own markers left out
    side_files: list[str]  # keys of other files that hold no rows


def list_shards(files: Storage) -> list[ObjectMeta]:
    """List the files of a folder that no job calls a pool, by key. Raises PoolError without any."""
    return list_pool(files).shards


def list_pool(files: Storage, pool: str = "", listed: Collection[str] = ()) -> Listing:
    """List a folder; `pool` is its name in a job, and `listed` are keys that are shards whatever
    their names. Raises PoolError where there is no shard, and where its files cannot be taken as
    they lie there."""
    where = f"pools.{pool}: " if pool else ""
    everything = files.list_objects()
    keys = [entry.key for entry in everything]
    markers = set(keys) & set(_OUR_MARKERS)
    if markers == {MAKING_MARKER}:
        raise PoolError(
            f"{where}the making of {files.uri} was cut off, so rows are missing."
            " Run `distill run`; it makes the rest."
        )
    _refuse_tables(files, keys, where)
    visible = [entry for entry in everything if not is_hidden(entry.key)]
    side_files = _side_files(files, [entry.key for entry in visible]).difference(listed)
    shards = [entry for entry in visible if entry.key not in side_files]
    if not shards:
        raise _no_shards(files, pool, side_files)
    for entry in shards:
        _require_utf8(files, entry.key, where)
    hidden = len(everything) - len(visible) - len(markers)
    return Listing(shards, hidden, sorted(side_files))


def _side_files(files: Storage, keys: Sequence[str]) -> set[str]:
    if len(keys) == 1 and files.url(keys[0]) == files.uri:
        return set()  # one file, which the job names itself
    saved = {key.removesuffix(_SAVED_STATE) for key in keys if _name(key) == _SAVED_STATE}
    found = set()
    for key in keys:
        name = _name(key)
        is_cache = _CACHED.fullmatch(name) and key.removesuffix(name) in saved
        if is_cache or _SIDE_FILES.fullmatch(name):
            found.add(key)
    return found


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _no_shards(files: Storage, pool: str, side_files: set[str]) -> PoolError:
    found = f" but {', '.join(sorted(side_files)[:3])}" if side_files else ""
    if not pool:
        return PoolError(f"no file lies at {files.uri}{found}. Check the path.")
    return PoolError(
        f"pools.{pool}.path: no file lies at {files.uri}{found}."
        " Check the path, or say in `made_by` what makes it."
    )


def _require_utf8(files: Storage, key: str, where: str) -> None:
    """Refuse a name that can stand neither in an inventory nor in a message."""
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        raise PoolError(
            f"{where}the name of {os.fsencode(key)!r} under {files.uri} is no UTF-8."
            " Rename the file, or move it out of the folder."
        ) from None


def _refuse_tables(files: Storage, keys: Sequence[str], where: str) -> None:
    for uri, key in [*_log_keys(files.uri, keys), *_log_keys_above(files, keys)]:
        kind = next(kind for kind, log in _TABLE_LOGS.items() if log.search(key))
        raise PoolError(
            f"{where}{uri} is a table of {kind}: its log ({key.rpartition('/')[0]}/) says which of its"
            " rows are live, and distill does not read it. Write the live rows out as plain Parquet"
            " and name that folder, or yield them from a function that `made_by` names."
        )


def _log_keys(uri: str, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    for key in keys:
        if any(log.search(key) for log in _TABLE_LOGS.values()):
            yield uri, key


def _log_keys_above(files: Storage, keys: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield the log of a table of which the folder is a part: one file, a partition or its data."""
    uri = files.uri
    is_part = len(keys) == 1 and files.url(keys[0]) == uri
    while is_part or "=" in _name(uri) or _name(uri) == "data":
        is_part = False
        uri = uri.rpartition("/")[0]
        if not uri or uri.endswith("/"):
            return  # the root of a disk, or of a store
        table = open_storage(uri)
        for name in _LOG_FOLDERS:
            try:
                found = [f"{name}/{entry.key}" for entry in table.folder(name).walk()]
            except StorageError:
                continue  # who may read the pool need not be allowed to list what is above it
            yield from _log_keys(uri, found)
