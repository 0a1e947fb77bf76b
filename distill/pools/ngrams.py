"""Text as numbers for students that run at CPU speed: its words, and runs of them, as places in a table of fixed size.

    words      runs of letters and digits, in lower case
    n-gram     n words in a row; its place is 1 + h mod buckets, with h mixed from the words' XXH3-64 (seed 0); place 0 stands for nothing

No vocabulary is kept, so nothing has to be fitted, shipped or agreed on: a word that training never saw has a place too (Weinberger et al. 2009;
as in fastText, Joulin et al. 2017). Two n-grams may share a place; with 2¹⁶ buckets a document's 200 n-grams seldom do.

Distinct words are hashed once a batch and n-grams are mixed by numpy: half the time of scikit-learn's HashingVectorizer (20,000 docstrings of
540 letters on one core: 21 to 29 µs each against 56). A change of what is below changes every stored student, so tests pin some places.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from distill.pools.hashing import GOLDEN, Hashes, mixed
from distill.spec.models import Ngrams

Places = npt.NDArray[np.int32]

_BETWEEN = r"[^\p{L}\p{N}]+"
_ODD = np.uint64(GOLDEN)


def ngram_places(texts: npt.NDArray[np.generic], spec: Ngrams) -> Places:
    """Texts (B,) of str → (B, most) places: each text's first n-grams, in the order in which they
    begin, then zeros."""
    words, row = _words(texts)
    grams, valid = _grams(words, row, spec.ngrams)
    places = (grams % np.uint64(spec.buckets)).astype(np.int32) + 1
    # the n-grams of a text stand one after another; each one's number within its text says its
    # column
    row_of = np.repeat(row, spec.ngrams)[valid]
    first = np.searchsorted(row_of, np.arange(len(texts)))
    column = np.arange(len(row_of)) - first[row_of]
    kept = column < spec.most
    made = np.zeros((len(texts), spec.most), np.int32)
    made[row_of[kept], column[kept]] = places[valid][kept]
    return made


def _words(texts: npt.NDArray[np.generic]) -> tuple[Hashes, npt.NDArray[np.int64]]:
    """Hash of every word, and the text that it stands in."""
    lists = pc.split_pattern_regex(pc.utf8_lower(pa.array(texts, pa.large_string())), _BETWEEN)
    row, words = pc.list_parent_indices(lists).to_numpy(), pc.list_flatten(lists)
    there = pc.greater(pc.binary_length(words), 0)
    distinct = pc.filter(words, there).dictionary_encode()
    hashes = np.array(
        [
            xxhash.xxh3_64_intdigest(word)
            for word in distinct.dictionary.cast(pa.large_binary()).to_pylist()
        ],
        np.uint64,
    )
    return hashes[distinct.indices.to_numpy()], row[there.to_numpy(zero_copy_only=False)]


def _grams(
    words: Hashes, row: npt.NDArray[np.int64], longest: int
) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """Of n-grams that begin at word w, n = 1 … longest: the hash at w · longest + n − 1, and
    whether its words are of one text."""
    grams, valid = np.zeros((len(words), longest), np.uint64), np.zeros((len(words), longest), bool)
    grams[:, 0], valid[:, 0] = mixed(words), True
    for more in range(1, longest):
        grams[:-more, more] = mixed(grams[:-more, more - 1] * _ODD + words[more:])
        valid[:-more, more] = row[:-more] == row[more:]
    return grams.ravel(), valid.ravel()
