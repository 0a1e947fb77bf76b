"""A store whose lines damage what is read first, as a remote one without TLS may."""

from __future__ import annotations


def read_through_noise(read):
    """Return a `Storage.read` by which damaged bytes come, unless the reader can tell them from the
    right ones and so has them read again."""

    def noisy(store, key, is_right=None):
        content = read(store, key)
        damaged = content[:-1] + bytes([content[-1] ^ 1])
        is_seen = is_right is not None and not is_right(damaged)
        return content if is_seen else damaged

    return noisy
