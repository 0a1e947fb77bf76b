from __future__ import annotations

import re
import unicodedata

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from distill.models.networks.ngram_bag import NgramBag
from distill.models.record import HeadPlan, NetworkPlan
from distill.pools.ngrams import ngram_places
from tests.labelers.asking import as_features

SPEC = NgramBag(kind="ngram_bag", buckets=1000, ngrams=3, most=7)
WHOLE = 1 << 64


def mixed(value):
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 % WHOLE
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB % WHOLE
    return value ^ (value >> 31)


def by_letters(text):
    """Words as they were before marks belonged to them."""
    return [word for word in re.split(r"[\W_]+", text.lower()) if word]


def by_hand(text):
    """Words sign by sign: one begins with a letter or digit, and goes on with marks and joiners."""
    words = [""]
    for sign in unicodedata.normalize("NFC", text):
        kind = unicodedata.category(sign)[0]
        goes_on = words[-1] and (kind == "M" or sign in "\u200c\u200d")
        if kind in "LN" or goes_on:
            words[-1] += sign
        elif words[-1]:
            words.append("")
    return [word.lower() for word in words if word]


def plainly(text, spec):
    """One text slowly: the places of its n-grams, by the word that they begin with."""
    words = by_hand(text) if spec.words == "unicode" else by_letters(text)
    places = []
    for start in range(len(words)):
        state = 0
        for n in range(min(spec.ngrams, len(words) - start)):
            word = xxhash.xxh3_64_intdigest(words[start + n].encode())
            state = mixed((state * 0x9E3779B97F4A7C15 + word) % WHOLE if n else word)
            places.append(1 + state % spec.buckets)
    return (places + [0] * spec.most)[: spec.most]


SIGNS = "ab cß,.Ä1_-\nकीिन्தமிழ்กำ่كِتا\u200c\u200d\u0301e❤\ufe0f"
TEXTS = st.text(st.sampled_from(SIGNS), max_size=30)


@given(st.lists(TEXTS, max_size=8), st.integers(1, 4), st.sampled_from(["unicode", "letters"]))
def test_places_differ_from_a_plain_loop_over_words(texts, longest, words):
    if words == "letters":  # Python counts other signs as words than letters and digits
        texts = ["".join(sign for sign in text if sign.isascii()) for text in texts]
    spec = SPEC.model_copy(update={"ngrams": longest, "words": words})
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


def places(text, **more):
    """Of the words of one text."""
    spec = NgramBag(kind="ngram_bag", buckets=1 << 20, ngrams=1, most=16, **more)
    return [int(place) for place in ngram_places(as_features([text]), spec)[0] if place]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी", 1),
        ("நன்றி தமிழ்", 2),
        ("ภาษาไทย น้ำ", 2),
        ("كِتابٌ جديد", 2),
        ("می\u200cخواهم", 1),
        ("e\u0301te\u0301", 1),
        ("❤\ufe0f 👨\u200d👩 ok", 1),
        ("\u0301", 0),
    ],
)
def test_marks_split_words_or_are_words(text, words):
    assert len(places(text)) == words


@pytest.mark.parametrize(
    ("one", "other"), [("की", "का"), ("तमिल", "तामिल"), ("น้ำ", "นา"), ("دَم", "دُم")]
)
def test_words_that_differ_in_a_vowel_are_one(one, other):
    assert places(one) != places(other)


def test_one_word_in_two_spellings_is_two():
    assert places("e\u0301te\u0301") == places("\u00e9t\u00e9") == places("\u00c9T\u00c9")


def test_a_student_from_before_reads_other_words_than_it_learned():
    assert len(places("हिन्दी", words="letters")) == 3
    plan = NetworkPlan(16, NgramBag(kind="ngram_bag"), {"main": HeadPlan(2)})
    plain = plan.to_plain()
    assert NetworkPlan.from_plain(plain).model.words == "unicode"
    del plain["model"]["words"]
    assert NetworkPlan.from_plain(plain).model.words == "letters"
