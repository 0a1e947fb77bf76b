"""One fragment labelled by noisy votes: teachers are asked about the rows that are allowed, unless
that was done before; what they answered is kept first, and becomes labels then.

An answered row has the logits of one class: that of the answer, so that its probability is 1 up to
rounding. Every other row is rejected with its reason. Neither a count nor a noisy count is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain

import numpy as np
import pyarrow as pa

from distill.core.dp.renyi import no_cost
from distill.core.dp.secret_noise import SecretNoise
from distill.core.errors import ContractError
from distill.labelers.noisy_answers import Answering
from distill.labels.commit import WriteIntent
from distill.labels.contract import Contract
from distill.labels.encoding import encode
from distill.labels.files import with_keys
from distill.labels.vote_answers import (
    EXHAUSTED,
    UNREADABLE,
    UNSURE,
    AnswerJournal,
    Codes,
    VoteAnswers,
)
from distill.pools.formats.base import Rejected
from distill.stages.label.asked_rows import AskedRows, Quota
from distill.stages.label.deadly_rows import DeadlyRows
from distill.stages.label.inference import InferenceLoop
from distill.stages.label.row_reader import RowChunk
from distill.storage.open import open_storage

# how far the answer's logit is above all others: e⁻³⁰ is what a probability of 0 is elsewhere
SURE = 30.0
_REASONS = {
    # of a row that could not be read when it was asked about, and can now
    UNREADABLE: ("unasked", "it could not be read when the teachers were asked"),
    UNSURE: ("unsure", "the teachers agree too little on it, under noise"),
    EXHAUSTED: ("budget", "not asked: the answers that the privacy budget allows here are given"),
}
_NOT_ASKED = ("budget", "not asked: the privacy budget is not enough for it")


@dataclass
class _Seen:
    """What is kept of a fragment's rows once they were read."""

    keys: list[pa.Table] = field(default_factory=list)
    # first row of each chunk, and why rows of it cannot be read
    rejected: list[tuple[int, Rejected]] = field(default_factory=list)
    rows: int = 0

    def take(self, chunk: RowChunk) -> None:
        """Keep keys and rejects of a chunk."""
        self.keys.append(chunk.keys)
        # the mapping itself: rows on which a process dies are added while they are asked about
        self.rejected.append((self.rows, chunk.rows.rejected))
        values = chunk.rows.values
        self.rows += len(values)

    @property
    def unreadable(self) -> Rejected:
        """Why rows of the fragment cannot be read."""
        return {
            first + row: reason
            for first, rejected in self.rejected
            for row, reason in rejected.items()
        }


@dataclass(frozen=True)
class NoisyFragments:
    """Labels fragments by the noisy votes of one label set."""

    asked: AskedRows
    contract: Contract
    inference: InferenceLoop

    def label(
        self, intent: WriteIntent, chunks: Iterator[RowChunk], deadly: DeadlyRows | None
    ) -> tuple[pa.Table, Rejected]:
        """Return keys and labels of all rows of a fragment, and which have none. Raises
        ContractError where it was answered before and the answers are gone; RowFailure."""
        seen = _Seen()
        quota = self.asked.quota(intent)
        answers = self._answers(intent, quota, chunks, seen, deadly)
        for chunk in chunks:
            seen.take(chunk)
        return self._labels(answers.codes, seen)

    def _answers(
        self,
        intent: WriteIntent,
        quota: Quota,
        chunks: Iterator[RowChunk],
        seen: _Seen,
        deadly: DeadlyRows | None,
    ) -> VoteAnswers:
        if not quota.asked:
            return VoteAnswers(np.empty(0, np.int32), no_cost())
        journal = AnswerJournal(open_storage(self.asked.account), self.asked.label_set)
        stored = journal.read(intent.fragment)
        if stored is not None:
            return stored
        if intent.generation:
            raise ContractError(
                f"what teachers answered about fragment {intent.fragment} is gone from"
                f" {journal.folder.uri}, and asking again would spend privacy again. Restore it"
                " from a copy."
            )
        answers = self._ask(quota, _first(chunks, quota.asked, seen), deadly)
        return journal.keep(intent.fragment, answers)

    def _ask(
        self, quota: Quota, chunks: Iterator[RowChunk], deadly: DeadlyRows | None
    ) -> VoteAnswers:
        """Ask about the first rows of a fragment, batch by batch."""
        answering = Answering(self.asked.allowance.vote, SecretNoise())
        codes = []
        curve = no_cost()
        left = quota.answered
        with closing(self.inference.predict(chunks, deadly)) as predicted:
            for batch, predictions in chain.from_iterable(predicted):
                most = max(0, quota.asked - batch.first_row)
                votes = predictions.outputs[:most].astype(np.float64)
                readable = np.ones(len(votes), bool)
                readable[[row for row in batch.rejected if row < len(votes)]] = False
                answers = answering.answers(votes[readable], left)
                own = np.full(len(votes), UNREADABLE, np.int32)
                own[readable] = answers.codes
                codes.append(own)
                curve = curve + answers.curve
                left -= int((answers.codes >= 0).sum())
        return VoteAnswers(np.concatenate(codes), curve)

    def _labels(self, codes: Codes, seen: _Seen) -> tuple[pa.Table, Rejected]:
        rejected = dict.fromkeys(range(len(codes), seen.rows), _NOT_ASKED)
        for code, reason in _REASONS.items():
            rejected |= dict.fromkeys(np.flatnonzero(codes == code).tolist(), reason)
        rejected |= seen.unreadable
        all_codes = np.full(seen.rows, UNREADABLE, np.int32)
        all_codes[: len(codes)] = codes
        all_codes[list(rejected)] = UNREADABLE
        step = self.contract.batch_rows
        starts = range(0, seen.rows, step)
        parts = [self._encoded(all_codes[start : start + step]) for start in starts]
        labels = pa.concat_tables(parts).combine_chunks()
        keys = pa.concat_tables(seen.keys).combine_chunks()
        return with_keys(labels, keys, self.contract), rejected

    def _encoded(self, codes: Codes) -> pa.Table:
        """Labels of some rows by the classes that they were answered with."""
        labelled = codes >= 0
        logits = np.zeros((len(codes), self.contract.width), np.float32)
        answered = np.flatnonzero(labelled)
        logits[answered, codes[answered]] = SURE
        return encode(logits, labelled, self.contract, None)


def _first(chunks: Iterator[RowChunk], rows: int, seen: _Seen) -> Iterator[RowChunk]:
    """Yield chunks up to so many rows; the others stay to be read."""
    while seen.rows < rows:
        chunk = next(chunks, None)
        if chunk is None:
            return
        seen.take(chunk)
        yield chunk
