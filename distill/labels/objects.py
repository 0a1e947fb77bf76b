"""What lies in a label set's folders, compared with its entries.

Listings are read page by page and never kept whole. An object of another name is not ours.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.labels.manifest import Integers, Manifest, parsed_code
from distill.storage.base import ObjectMeta, Storage

_LISTED_AT_ONCE = 2_000
_COMMIT = re.compile(r"(\d{6,}-\d{6,})\.(\d+)\.json")
_ATTEMPT = re.compile(r"(\d{6,}-\d{6,})/([0-9a-f]{32})\.[a-z]+")


@dataclass(frozen=True)
class FoundAttempts:
    """What a listing of data or rejects has of some entries, and beside them."""

    found: npt.NDArray[np.bool_]  # which entries' own attempts lie there
    others: frozenset[int]  # codes of fragments of which an attempt lies there that no entry names


@dataclass(frozen=True)
class _Listed:
    """One object, and what its name says."""

    meta: ObjectMeta
    fragment: str
    detail: str  # of a commit its generation, of data or rejects the attempt


def newer_commits(folder: Storage, entries: Manifest) -> Iterator[tuple[str, int]]:
    """Find the fragment and generation of commits in `folder` that `entries` do not have."""
    generations = entries.column("generation")
    for page in _pages(folder, _COMMIT):
        codes = _codes(page)
        positions = entries.positions(codes)
        for listed, position in zip(page, positions.tolist(), strict=True):
            generation = int(listed.detail)
            # a later generation is a mend that no segment has yet
            if position < 0 or generations[position] < generation:
                yield listed.fragment, generation


def found_attempts(
    folder: Storage, entries: Manifest, sizes: Integers | None = None
) -> FoundAttempts:
    """Find which entries' attempts lie in `folder`, in the size of `sizes` if given, and of which
    fragments others lie there."""
    found = np.zeros(len(entries), np.bool_)
    others = set()
    attempts = entries.digests("attempt")
    for page in _pages(folder, _ATTEMPT):
        codes = _codes(page)
        positions = entries.positions(codes)
        page_sizes = np.array([listed.meta.size_bytes for listed in page])
        known = positions >= 0
        positions = positions[known]
        equal = attempts[positions] == _attempts(page)[known]
        same = equal.all(axis=1)
        others.update(codes[~known].tolist())
        others.update(codes[known][~same].tolist())
        if sizes is not None:
            same &= sizes[positions] == page_sizes[known]
        places = positions[same]
        found[places] = True
    return FoundAttempts(found, frozenset(others))


def list_other_attempts(folder: Storage, entries: Manifest) -> Iterator[ObjectMeta]:
    """Find attempts in `folder` at fragments that are committed under another attempt."""
    attempts = entries.digests("attempt")
    for page in _pages(folder, _ATTEMPT):
        codes = _codes(page)
        positions = entries.positions(codes)
        for listed, position in zip(page, positions.tolist(), strict=True):
            if position >= 0 and attempts[position].tobytes().hex() != listed.detail:
                yield listed.meta


def _pages(folder: Storage, name: re.Pattern[str]) -> Iterator[list[_Listed]]:
    """List objects of that name, some thousand at a time."""
    ours = _matching(folder, name)
    while page := list(itertools.islice(ours, _LISTED_AT_ONCE)):
        yield page


def _matching(folder: Storage, name: re.Pattern[str]) -> Iterator[_Listed]:
    for meta in folder.walk():
        match = name.fullmatch(meta.key)
        if match:
            yield _Listed(meta, match[1], match[2])


def _codes(page: list[_Listed]) -> Integers:
    return np.array([parsed_code(listed.fragment) for listed in page], np.int64)


def _attempts(page: list[_Listed]) -> npt.NDArray[np.uint8]:
    """The attempts' ids: (objects, 16)."""
    digits = "".join(listed.detail for listed in page)
    packed = bytes.fromhex(digits)
    attempts = np.frombuffer(packed, np.uint8)
    return attempts.reshape(len(page), -1)
