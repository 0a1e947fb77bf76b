"""What lies in a label set's folders, held against its lines: listings are read page by page and
never kept whole."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from distill.labels.manifest import Manifest, parsed_code
from distill.storage.base import ObjectMeta, Storage

_AT_ONCE = 2_000
_COMMIT = re.compile(r"(\d{6,}-\d{6,})\.(\d+)\.json")
_ATTEMPT = re.compile(r"(\d{6,}-\d{6,})/([0-9a-f]{32})\.[a-z]+")


def newer_commits(folder: Storage, lines: Manifest) -> Iterator[tuple[str, int]]:
    """Fragment and generation of the commits in `folder` that `lines` do not have."""
    generations = lines.column("generation")
    for listed in _listed(folder, _COMMIT):
        places = lines.places(_codes(listed))
        for (_, said), place in zip(listed, places.tolist(), strict=True):
            if place < 0 or generations[place] < int(said[2]):
                yield said[1], int(said[2])


def found_attempts(
    folder: Storage, lines: Manifest, sizes: npt.NDArray[np.int64] | None = None
) -> npt.NDArray[np.bool_]:
    """Which lines' attempts lie in `folder`, in their size where `sizes` are given."""
    found, attempts = np.zeros(len(lines), np.bool_), lines.digests("attempt")
    for listed in _listed(folder, _ATTEMPT):
        places = lines.places(_codes(listed))
        same = places >= 0
        if same.any():
            names = np.frombuffer(
                b"".join(bytes.fromhex(said[2]) for _, said in listed), np.uint8
            ).reshape(-1, 16)
            same &= (attempts[places] == names).all(axis=1)
        if sizes is not None and same.any():
            same &= sizes[places] == np.array([entry.size_bytes for entry, _ in listed])
        found[places[same]] = True
    return found


def list_other_attempts(folder: Storage, lines: Manifest) -> Iterator[ObjectMeta]:
    """Attempts in `folder` of fragments that are committed under another one."""
    attempts = lines.digests("attempt")
    for listed in _listed(folder, _ATTEMPT):
        for (entry, said), place in zip(listed, lines.places(_codes(listed)).tolist(), strict=True):
            if place >= 0 and attempts[place].tobytes().hex() != said[2]:
                yield entry


def _listed(
    folder: Storage, name: re.Pattern[str]
) -> Iterator[list[tuple[ObjectMeta, re.Match[str]]]]:
    """Objects of that name, some thousand at a time; what is named otherwise is not ours."""
    ours = ((entry, said) for entry in folder.walk() if (said := name.fullmatch(entry.key)))
    while part := list(itertools.islice(ours, _AT_ONCE)):
        yield part


def _codes(listed: list[tuple[ObjectMeta, re.Match[str]]]) -> npt.NDArray[np.int64]:
    return np.array([parsed_code(said[1]) for _, said in listed], np.int64)
