from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from distill.core.errors import LabelerError
from distill.labelers import transformer
from distill.labelers.sequence_classifier import SequenceClassifier
from tests.labelers.asking import answers, as_features, build
from tests.tiny_models import TEXTS, save_classifier

LABELS = ["good", "bad", "neither"]


def spec(**more):
    return SequenceClassifier.model_validate_json(
        json.dumps({"kind": "sequence_classifier", "model": "m", **more})
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("classifier"), LABELS)


def by_the_library(folder, texts):
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer, network = (
        AutoTokenizer.from_pretrained(folder),
        AutoModelForSequenceClassification.from_pretrained(folder),
    )
    with torch.inference_mode():
        return np.concatenate(
            [
                network(**tokenizer(text, return_tensors="pt", truncation=True)).logits.numpy()
                for text in texts
            ]
        )


def test_answers_differ_from_the_librarys_or_stand_beside_other_texts(model, monkeypatch):
    monkeypatch.setattr(transformer, "_TOKENS_AT_ONCE", 12)  # several batches, of different lengths
    labeler = build(spec(classes=LABELS), model)
    made = answers(labeler, as_features(TEXTS), 3)
    np.testing.assert_allclose(made, by_the_library(model, TEXTS), atol=1e-5)
    assert np.ptp(made, axis=0).min() > 0.05, (
        "a model that says the same of each text shows nothing"
    )


def test_a_text_longer_than_the_model_raises_or_is_cut_elsewhere(model):
    long = "the team wins " * 40
    labeler = build(spec(classes=LABELS), model)
    np.testing.assert_allclose(
        answers(labeler, as_features([long, "a"]), 3), by_the_library(model, [long, "a"]), atol=1e-5
    )
    short = build(spec(classes=LABELS, max_tokens=5), model)
    np.testing.assert_allclose(
        answers(short, as_features([long]), 3), by_the_library(model, ["the team wins"]), atol=1e-5
    )


def test_classes_in_another_order_label_silently(model):
    with pytest.raises(
        LabelerError, match=r"the same in another order: \['good', 'bad', 'neither'\]"
    ):
        build(spec(classes=["bad", "good", "neither"]), model)
    with pytest.raises(LabelerError, match=r"width = 1, but the model answers 3 numbers"):
        build(spec(), model)


def test_a_regression_answers_its_numbers(tmp_path):
    folder = save_classifier(tmp_path / "regression", ["score"], problem_type="regression")
    labeler = build(spec(width=1), folder)
    np.testing.assert_allclose(
        answers(labeler, as_features(TEXTS), 1), by_the_library(folder, TEXTS), atol=1e-5
    )


def test_half_precision_is_ignored_or_leaks_into_the_answer(model):
    whole = build(spec(classes=LABELS), model).model
    half = build(spec(classes=LABELS), model, precision="bfloat16").model
    first, second = (each.logits(each.tokens(TEXTS)) for each in (whole, half))
    assert second.dtype == np.float32
    assert not np.array_equal(first, second)
    np.testing.assert_allclose(first, second, atol=0.15)


def test_pickled_weights_are_opened(model, tmp_path):
    from transformers import AutoModelForSequenceClassification

    folder = save_classifier(tmp_path / "pickled", LABELS)
    network = AutoModelForSequenceClassification.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(LabelerError, match=r"no \*\.safetensors file"):
        build(spec(classes=LABELS), folder)
