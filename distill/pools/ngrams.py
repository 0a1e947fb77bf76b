"""Text as numbers for students that run at CPU speed: its words, and runs of them, as indices of a
table of fixed size.

    words      runs of letters and digits with the marks that belong to them (vowels of Hindi, Tamil,
               Thai and Arabic, accents), composed (NFC) and in lower case; joiners within a word
               stay. Of a student from before, `words = "letters"`: marks divide words
    n-gram     n words in a row; its index is 1 + h mod buckets, with h mixed from the words'
               XXH3-64 (seed 0); index 0 stands for nothing

No vocabulary is kept, so nothing has to be fitted, shipped or agreed on: a word that training never
saw has an index too (Weinberger et al. 2009; as in fastText, Joulin et al. 2017). Two n-grams may
share an index; with 2¹⁶ buckets a document's 200 n-grams seldom do.

A change of what is below changes every stored student, so tests pin some indices.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from distill.pools.hashing import GOLDEN, Hashes, mixed
from distill.spec.networks import Ngrams, Words

Places = npt.NDArray[np.int32]
Numbers = npt.NDArray[np.int64]

_BETWEEN_LETTERS = r"[^\p{L}\p{N}]+"
_IN_A_WORD = r"\p{M}\x{200c}\x{200d}"
_BETWEEN = rf"[^\p{{L}}\p{{N}}{_IN_A_WORD}]+"
# marks that follow no letter: what makes a picture of a sign is no word
_MARKS_ALONE = rf"(^|[^\p{{L}}\p{{N}}{_IN_A_WORD}])[{_IN_A_WORD}]+"
_ODD = np.uint64(GOLDEN)


def ngram_places(texts: npt.NDArray[np.generic], spec: Ngrams) -> Places:
    """Return the table indices (B, most) of texts (B,) of str: each text's first n-grams, in the
    order in which they begin, then zeros."""
    words, text_of_word = _words(texts, spec.words)
    hashes, valid = _grams(words, text_of_word, spec.ngrams)
    places = (hashes % np.uint64(spec.buckets)).astype(np.int32) + 1
    places = places[valid]
    # the n-grams of a text stand one after another; each one's number within its text says its
    # column
    row = np.repeat(text_of_word, spec.ngrams)[valid]
    first = np.searchsorted(row, np.arange(len(texts)))
    column = np.arange(len(row)) - first[row]
    fits = column < spec.most
    table = np.zeros((len(texts), spec.most), np.int32)
    table[row[fits], column[fits]] = places[fits]
    return table


def _words(texts: npt.NDArray[np.generic], kind: Words) -> tuple[Hashes, Numbers]:
    """The hash of every word, and the number of its text."""
    lists = _split(pa.array(texts, pa.large_string()), kind)
    words = pc.list_flatten(lists)
    parents = pc.list_parent_indices(lists)
    text_of_word = parents.to_numpy()
    # a text that begins or ends between words is split into an empty one there
    lengths = pc.binary_length(words)
    there = pc.greater(lengths, 0)
    # each distinct word is hashed once a batch, and n-grams are mixed by numpy: half the time of
    # scikit-learn's HashingVectorizer (20,000 docstrings of 540 letters on one core: 21 to 29 µs
    # each against 56)
    distinct = pc.filter(words, there).dictionary_encode()
    spelled = distinct.dictionary.cast(pa.large_binary()).to_pylist()
    hashes = np.array([xxhash.xxh3_64_intdigest(word) for word in spelled], np.uint64)
    mask = there.to_numpy(zero_copy_only=False)
    return hashes[distinct.indices.to_numpy()], text_of_word[mask]


def _split(texts: pa.Array, kind: Words) -> pa.Array:
    """The words of each text, and empty ones where it begins or ends between words."""
    if kind == "letters":
        lowered = pc.utf8_lower(texts)
        return pc.split_pattern_regex(lowered, _BETWEEN_LETTERS)
    # ASCII has no marks, and nothing to compose
    if not pc.all(pc.string_is_ascii(texts), min_count=0).as_py():
        composed = pc.utf8_normalize(texts, "NFC")
        texts = pc.replace_substring_regex(composed, _MARKS_ALONE, r"\1")
    lowered = pc.utf8_lower(texts)
    return pc.split_pattern_regex(lowered, _BETWEEN)


def _grams(
    words: Hashes, text_of_word: Numbers, longest: int
) -> tuple[Hashes, npt.NDArray[np.bool_]]:
    """The n-grams that begin at word w, n = 1 … longest: the hash at w · longest + n − 1, and
    whether its words are of one text."""
    hashes = np.zeros((len(words), longest), np.uint64)
    valid = np.zeros((len(words), longest), np.bool_)
    hashes[:, 0] = mixed(words)
    valid[:, 0] = True
    for more in range(1, longest):
        shorter = hashes[:-more, more - 1]
        longer = shorter * _ODD + words[more:]
        hashes[:-more, more] = mixed(longer)
        same_text = text_of_word[:-more] == text_of_word[more:]
        valid[:-more, more] = same_text
    return hashes.ravel(), valid.ravel()
