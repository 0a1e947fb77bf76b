"""What the field does by hand with some labelled texts and a model that somebody trained before:
recipes that student_study sets beside students.

    encoder + logistic    the encoder as it is, its embeddings under scikit-learn's logistic regression:
                          SetFit's head
    SetFit                the encoder tuned first on pairs of labelled texts, of one class or of two, by
                          the square of (their cosine - 1 or 0) (Tunstall et al. 2022), then that head.
                          Its own numbers: AdamW at 2e-5, a tenth of the steps to warm up, 16 pairs a
                          step, and 2 a text of each kind, 2,076 pairs of 519 texts: of 52 texts it
                          makes as many by default (20 a text of each kind). In bfloat16 and of 32
                          tokens, as the students
    static + logistic     a table of token vectors, their mean, under the same head: model2vec's quick way
    model2vec             `StaticModelForClassification` with its defaults, which tunes the table under a
                          head: model2vec's own training. None where its `datasets` is not installed
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.models.static_table import read_token_table

PAIRS_OF_A_TEXT, PAIR_BATCH, BODY_RATE, WARMUP = 2, 16, 2e-5, 0.1
LONGEST = 32
"""Tokens of a text, as the students read them."""
Texts = Sequence[str]


@dataclass(frozen=True)
class Given:
    """What a recipe has: labelled texts, those that judge, and a seed."""

    texts: Texts
    topics: Sequence[str]
    judged: Texts
    seed: int


Recipe = Callable[[Path, Given], Sequence[str]]
"""A model's folder and what is given -> the judged texts' topics."""


def encoder_logistic(model: Path, given: Given) -> Sequence[str]:
    """SetFit's head on the encoder as it is."""
    encoder = _sentence_encoder(model)
    return _by_logistic(encoder.encode, given)


def setfit(model: Path, given: Given) -> Sequence[str]:
    """SetFit's head on the encoder that pairs of labelled texts tuned."""
    encoder = _sentence_encoder(model)
    _tune_by_pairs(encoder, given)
    return _by_logistic(encoder.encode, given)


def static_logistic(table: Path, given: Given) -> Sequence[str]:
    """The same head on means of token vectors."""
    static = static_model(table)
    return _by_logistic(static.encode, given)


def model2vec_tuned(table: Path, given: Given) -> Sequence[str] | None:
    """model2vec's own training of a classifier."""
    if importlib.util.find_spec("datasets") is None:
        return None
    from model2vec.train import StaticModelForClassification

    classifier = StaticModelForClassification.from_static_model(model=static_model(table))
    classifier.fit(list(given.texts), list(given.topics))
    return [str(each) for each in classifier.predict(list(given.judged))]


def static_model(folder: Path) -> Any:
    """A table of token vectors and its tokenizer, as model2vec has them."""
    from model2vec import StaticModel
    from tokenizers import Tokenizer

    found = read_token_table(folder, "model")
    tokenizer = Tokenizer.from_str(found.files.tokenizer)
    tokenizer.no_truncation()
    return StaticModel(found.vectors, tokenizer)


def _sentence_encoder(model: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    encoder = SentenceTransformer(str(model), device="cpu")
    encoder.max_seq_length = LONGEST
    return encoder


def _by_logistic(encode: Callable[..., np.ndarray], given: Given) -> Sequence[str]:
    from sklearn.linear_model import LogisticRegression

    head = LogisticRegression(max_iter=1_000)
    head.fit(encode(list(given.texts)), list(given.topics))
    found: np.ndarray = head.predict(encode(list(given.judged)))
    return found.tolist()


def _tune_by_pairs(encoder: Any, given: Given) -> None:
    import torch
    from transformers import get_linear_schedule_with_warmup

    pairs = _pairs(given)
    torch.manual_seed(given.seed)
    steps = -(-len(pairs) // PAIR_BATCH)
    optimizer = torch.optim.AdamW(encoder.parameters(), BODY_RATE)
    schedule = get_linear_schedule_with_warmup(optimizer, round(WARMUP * steps), steps)
    encoder.train()
    for start in range(0, len(pairs), PAIR_BATCH):
        batch = pairs[start : start + PAIR_BATCH]
        with torch.autocast("cpu", torch.bfloat16):  # as the students learn
            one, other = (_embedded(encoder, [pair[side] for pair in batch]) for side in (0, 1))
        due = torch.tensor([pair[2] for pair in batch])
        loss = (torch.cosine_similarity(one.float(), other.float()) - due).square().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    encoder.eval()


def _embedded(encoder: Any, texts: list[str]) -> Any:
    return encoder(encoder.preprocess(texts))["sentence_embedding"]


def _pairs(given: Given) -> list[tuple[str, str, float]]:
    """Of each text some with texts of its topic, and as many with others."""
    draw = np.random.default_rng(given.seed)
    topics = np.array(given.topics)
    pairs = []
    for number, text in enumerate(given.texts):
        is_same = topics == topics[number]
        for alike in (1.0, 0.0):
            others = np.flatnonzero(is_same if alike else ~is_same)
            chosen = draw.choice(others[others != number], PAIRS_OF_A_TEXT)
            pairs += [(text, given.texts[each], alike) for each in chosen]
    return [pairs[place] for place in draw.permutation(len(pairs))]
