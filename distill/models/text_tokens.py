"""Texts cut into a model's tokens, in one of two ways:

    encoder   with the marks that the model begins and ends a text by. Of a longer text its head and
              its tail are kept (Sun et al. 2019, who found that better than either alone), or its
              head, as other libraries cut
    static    no marks, and no tokens that stand for what is unknown; a longer text is cut as
              model2vec cuts it, first to so many letters, so that what is exported reads the same

The tokenizer's own cutting and padding are turned off: both are decided here, and padding is -1,
which no token is. So a mask is `ids >= 0`, whatever a model pads by.

Shapes: B texts, L tokens of the longest.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from distill.core.schema import digest
from distill.models.files import ModelFiles
from distill.models.text_files import TextFiles, require_text_extra, text_files_of

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

TokenIds = npt.NDArray[np.int32]
"""The tokens of one text."""
LongTexts = Literal["head_tail", "head"]
Reading = Literal["encoder", "static"]


@dataclass(frozen=True)
class ModelTokens:
    """How one model's texts become tokens (`spec.networks.TextTokens`)."""

    source: ModelFiles | TextFiles
    """The model's files, or what a trained network kept of them."""
    max_tokens: int
    """What the job asks for."""
    reading: Reading = "encoder"
    long_texts: LongTexts = "head_tail"

    @property
    def files(self) -> TextFiles:
        """The model's tokenizer and configuration. Raises JobError."""
        source = self.source
        return text_files_of(source) if isinstance(source, ModelFiles) else source

    @property
    def digest(self) -> str:
        """As `TextTokens` says."""
        return digest([self.files.tokenizer, self.most, self.reading, self.long_texts])

    @property
    def most(self) -> int:
        """Tokens of a text, marks included: what the job asks for, and no more than the model can
        take."""
        # a table of token vectors has no positions
        if self.reading == "static":
            return self.max_tokens
        return min(self.max_tokens, self.files.most_tokens)

    @property
    def unread(self) -> int | None:
        """The token that is left out, as it stands for what is unknown; None where none is."""
        return _ready(self.source).unknown if self.reading == "static" else None

    def encode(self, texts: Sequence[str]) -> list[TokenIds]:
        """Return the tokens of each text."""
        encoded, _ = self.encode_counted(texts)
        return encoded

    def encode_counted(self, texts: Sequence[str]) -> tuple[list[TokenIds], int]:
        """Return the tokens of each text, and how many texts were longer than is read of them."""
        ready = _ready(self.source)
        if self.reading == "static":
            return ready.static_tokens(texts, self.most)
        return ready.encoder_tokens(texts, self.most, self.long_texts)


def padded(encoded: Sequence[TokenIds], width: int | None = None) -> TokenIds:
    """Return texts of different lengths as one array (B, L), behind their tokens -1. `width` is L;
    by default the longest's length, at least 1."""
    lengths = np.fromiter((len(ids) for ids in encoded), np.int64, len(encoded))
    if width is None:
        width = max(1, int(lengths.max(initial=0)))
    table = np.full((len(encoded), width), -1, np.int32)
    if len(encoded):
        # row by row in one assignment: the mask's order is that of the tokens end to end
        is_token = np.arange(width) < lengths[:, None]
        table[is_token] = np.concatenate(encoded)
    return table


@dataclass(frozen=True, eq=False)
class _Ready:
    """A tokenizer that neither cuts nor pads."""

    tokenizer: Tokenizer

    @cached_property
    def marks(self) -> tuple[int, int]:
        """How many tokens of its own it puts before and behind a text."""
        mask = self.tokenizer.encode("a").special_tokens_mask
        text = [number for number, is_mark in enumerate(mask) if not is_mark]
        if not text:
            return len(mask), 0
        return text[0], len(mask) - 1 - text[-1]

    @cached_property
    def unknown(self) -> int | None:
        """The token that stands for what is unknown, if there is one."""
        name = getattr(self.tokenizer.model, "unk_token", None)
        return None if name is None else self.tokenizer.token_to_id(name)

    @cached_property
    def usual_letters(self) -> int:
        """Letters of a token, at the median of all that it knows."""
        lengths = [len(token) for token in self.tokenizer.get_vocab()]
        return int(statistics.median(lengths))

    def encoder_tokens(
        self, texts: Sequence[str], most: int, long_texts: LongTexts
    ) -> tuple[list[TokenIds], int]:
        """Return tokens with marks, of longer texts `most`, and how many of those there are."""
        found = []
        too_long = 0
        for encoding in self._encodings(texts, marks=True):
            ids = np.array(encoding.ids, np.int32)
            if len(ids) > most:
                too_long += 1
                ids = self._cut(ids, most, long_texts)
            found.append(ids)
        return found, too_long

    def _cut(self, ids: TokenIds, most: int, long_texts: LongTexts) -> TokenIds:
        """The text's first and last tokens, between its marks."""
        before, behind = self.marks
        room = max(0, most - before - behind)
        tail = room // 2 if long_texts == "head_tail" else 0
        head = before + room - tail
        rest = len(ids) - behind - tail
        return np.concatenate([ids[:head], ids[rest:]])[:most]

    def static_tokens(self, texts: Sequence[str], most: int) -> tuple[list[TokenIds], int]:
        """Return the first `most` tokens without marks, the unknown ones left out of them, and how
        many texts were longer."""
        letters = most * self.usual_letters
        found = []
        too_long = 0
        read = [text[:letters] for text in texts]
        for text, encoding in zip(texts, self._encodings(read, marks=False), strict=True):
            all_ids = encoding.ids
            too_long += len(text) > letters or len(all_ids) > most
            ids = np.array(all_ids[:most], np.int32)
            found.append(ids if self.unknown is None else ids[ids != self.unknown])
        return found, too_long

    def _encodings(self, texts: Sequence[str], *, marks: bool) -> list[Encoding]:
        encoded: list[Encoding] = self.tokenizer.encode_batch_fast(
            list(texts), add_special_tokens=marks
        )
        return encoded


@lru_cache(maxsize=8)
def _ready(source: ModelFiles | TextFiles) -> _Ready:
    require_text_extra("a network that reads tokens")
    from tokenizers import Tokenizer

    files = text_files_of(source) if isinstance(source, ModelFiles) else source
    tokenizer = Tokenizer.from_str(files.tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return _Ready(tokenizer)
