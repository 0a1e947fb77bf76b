"""What teachers answered about one fragment, kept so that it is asked and paid for once.

    votes/<fit>/<digest>/answers/<label set>/<fragment>.json

Votes and noise live in one process's memory. The noisy answers of a whole fragment are written here
by conditional put before anything is made of them: that object is the only way by which anything of
the votes leaves the process. So

- a process killed before the put has told nobody anything, and its noise is gone: asking again is
  the first time, paid by the claim of the ledger that was there before;
- one killed after it is gone over by a retry that reads the object and asks no teacher;
- of two that work on one fragment (another driver's part, a zombie) the first put wins, and the
  other throws its own answers away unseen and goes on with the winner's;
- mending writes the data anew from it. Where it is gone by then, asking again would spend again,
  and is refused.

It also has the cost that the votes themselves imply, summed over the fragment: a number of private
data, which is why it does not lie with the labels.
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from distill.core.dp.renyi import Double, as_plain, from_plain
from distill.core.failpoints import reach
from distill.core.schema import seal, unseal
from distill.storage.base import Storage

Codes = npt.NDArray[np.int32]

UNREADABLE = -1
UNSURE = -2
EXHAUSTED = -3
"""Codes of a row without an answer: it cannot be read; the teachers agree too little; the
fragment's share of answers is used up."""

ANSWERS = "answers"
MOST_ROWS = 200_000
"""Of a fragment, so that its answers stay below what a store writes conditionally."""


@dataclass(frozen=True)
class VoteAnswers:
    """The answers about the rows of a fragment that are asked about: its first ones."""

    codes: Codes
    """(rows,): the class, or why there is none."""
    curve: Double
    """(A,): what they cost by the votes."""

    def to_bytes(self) -> bytes:
        """Seal it into one object."""
        packed = zlib.compress(self.codes.astype("<i4").tobytes())
        body = {"codes": base64.b64encode(packed).decode(), "curve": as_plain(self.curve)}
        return seal(body)

    @classmethod
    def from_bytes(cls, content: bytes, where: str) -> VoteAnswers:
        """Read sealed answers. Raises StorageError where they are damaged."""
        body = unseal(content, where)
        packed = base64.b64decode(body["codes"])
        codes = np.frombuffer(zlib.decompress(packed), "<i4").astype(np.int32)
        return cls(codes, from_plain(body["curve"]))


def journal_name(label_set: str) -> str:
    """Return the name of the folder of a label set's answers, by its digest."""
    return label_set[:16]


class AnswerJournal:
    """The answers about one label set's fragments."""

    def __init__(self, account: Storage, label_set: str) -> None:
        self.folder = account.folder(ANSWERS, journal_name(label_set))

    def read(self, fragment: str) -> VoteAnswers | None:
        """Read what was answered about a fragment; None before it is asked about."""
        key = f"{fragment}.json"
        content = self.folder.read_or_none(key)
        return None if content is None else VoteAnswers.from_bytes(content, self.folder.url(key))

    def keep(self, fragment: str, answers: VoteAnswers) -> VoteAnswers:
        """Write answers down, and return those that are: the first ones about the fragment."""
        reach("pate.before_answers")
        self.folder.put_if_absent(f"{fragment}.json", answers.to_bytes())
        reach("pate.after_answers")
        stored = self.read(fragment)
        assert stored is not None
        return stored

    def spent_by_votes(self) -> list[Double]:
        """Return the cost of each fragment by its votes."""
        found = []
        for entry in self.folder.list_objects():
            content = self.folder.read(entry.key)
            answers = VoteAnswers.from_bytes(content, self.folder.url(entry.key))
            found.append(answers.curve)
        return found
