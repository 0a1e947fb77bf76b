from __future__ import annotations

import re

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from distill.models.networks.ngram_bag import NgramBag
from distill.pools.ngrams import ngram_places
from tests.labelers.asking import as_features

SPEC = NgramBag(kind="ngram_bag", buckets=1000, ngrams=3, most=7)
WHOLE = 1 << 64


def mixed(value):
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WHOLE
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WHOLE
    return value ^ (value >> 31)


def plainly(text, spec):
    """One text slowly: the places of its n-grams, by the word that they begin with."""
    words = [word for word in re.split(r"[\W_]+", text.lower()) if word]
    places = []
    for start in range(len(words)):
        state = 0
        for n in range(min(spec.ngrams, len(words) - start)):
            word = xxhash.xxh3_64_intdigest(words[start + n].encode())
            state = mixed((state * 0x9E3779B97F4A7C15 + word) % WHOLE if n else word)
            places.append(1 + state % spec.buckets)
    return (places + [0] * spec.most)[: spec.most]


@given(
    st.lists(st.text(st.sampled_from("ab cß,.Ä1_-\n"), max_size=30), max_size=8), st.integers(1, 4)
)
def test_places_differ_from_a_plain_loop_over_words(texts, longest):
    spec = SPEC.model_copy(update={"ngrams": longest})
    made = ngram_places(as_features(texts), spec)
    assert made.shape == (len(texts), spec.most)
    assert made.dtype == np.int32
    np.testing.assert_array_equal(
        made, np.array([plainly(text, spec) for text in texts]).reshape(-1, spec.most)
    )


def test_a_stored_student_reads_other_words_after_an_upgrade():
    spec = NgramBag(kind="ngram_bag", most=5)
    made = ngram_places(as_features(["Hello world hello", "ÄÖ-x"]), spec)
    assert made.tolist() == [[2002, 37879, 49759, 28476, 2002], [65399, 39122, 24554, 0, 0]]


@pytest.mark.parametrize("texts", [[], [""], ["…", "", "  "]])
def test_a_text_without_words_has_a_place(texts):
    made = ngram_places(as_features(texts), SPEC)
    assert made.shape == (len(texts), SPEC.most)
    assert not made.any()
