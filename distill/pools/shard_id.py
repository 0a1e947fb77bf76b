"""Whether a file still is the one that was listed. Labels are addressed by file and row, so rows of
another file must never pass for its rows."""

from __future__ import annotations

from distill.core.errors import PoolError
from distill.core.schema import digest
from distill.storage.base import ObjectMeta, ObjectMissingError, Storage


def shard_id(entry: ObjectMeta) -> str:
    """Return the digest of key, size and token: another content has another id."""
    return digest([entry.key, entry.size_bytes, entry.token])[:32]


def require_listed(files: Storage, key: str, listed: str) -> None:
    """Refuse a file that is no longer the one with the id `listed`; called after it was read.

    Raises PoolError."""
    try:
        entry = files.entry(key)
        now = shard_id(entry)
    except ObjectMissingError:
        message = f"{files.url(key)} vanished while it was read. Restore it as it was listed."
        raise PoolError(message) from None
    if now != listed:
        raise PoolError(
            f"{files.url(key)} changed since it was listed,"
            " so its rows are not those that labels are addressed by."
            ' Restore it, or set on_change = "relabel" for its pool, and run again.'
        )
