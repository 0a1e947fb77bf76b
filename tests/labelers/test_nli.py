from __future__ import annotations

import json

import numpy as np
import pytest

from distill.core.errors import LabelerError
from distill.labelers.nli import Nli
from tests.labelers.asking import answers, as_features, build, log_softmax
from tests.tiny_models import TEXTS, save_classifier

CLASSES = ["sport", "money", "film"]
HYPOTHESIS = "this text is about {}"


def spec(**more):
    return Nli.model_validate_json(
        json.dumps(
            {"kind": "nli", "model": "m", "classes": CLASSES, "hypothesis": HYPOTHESIS, **more}
        )
    )


def by_the_pipeline(folder, texts, *, multi_label):
    from transformers import pipeline

    said = pipeline("zero-shot-classification", model=str(folder), device="cpu")(
        list(texts), CLASSES, hypothesis_template=HYPOTHESIS, multi_label=multi_label
    )
    return np.array(
        [[each["scores"][each["labels"].index(name)] for name in CLASSES] for each in said]
    )


@pytest.mark.parametrize(
    "labels",
    [["contradiction", "neutral", "entailment"], ["ENTAILMENT", "neutral", "contradiction"]],
)
def test_scores_differ_from_the_librarys_pipeline(tmp_path, labels):
    folder, texts = save_classifier(tmp_path / "nli", labels), [text for text in TEXTS if text]
    made = answers(build(spec(), folder), as_features(texts), 3)
    np.testing.assert_allclose(
        np.exp(log_softmax(made)), by_the_pipeline(folder, texts, multi_label=False), atol=1e-4
    )
    apart = answers(build(spec(independent=True), folder), as_features(texts), 3)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-apart)), by_the_pipeline(folder, texts, multi_label=True), atol=1e-4
    )


def test_descriptions_are_passed_over(tmp_path):
    folder = save_classifier(tmp_path / "nli", ["contradiction", "entailment"])
    plain = build(spec(), folder)
    described = build(spec(descriptions=["game and team", "market", "film"]), folder)
    assert described.hypotheses[0] == "this text is about game and team"
    features = as_features(TEXTS)
    first, second = answers(plain, features, 3), answers(described, features, 3)
    np.testing.assert_allclose(first[:, 2], second[:, 2], atol=1e-5)
    assert not np.allclose(first[:, 0], second[:, 0], atol=1e-3)


def test_the_hypothesis_is_cut_instead_of_the_text(tmp_path):
    folder = save_classifier(tmp_path / "nli", ["contradiction", "entailment"])
    labeler = build(spec(), folder)
    (first, *_), long = (
        labeler.prepare(as_features(["a"])),
        labeler.prepare(as_features(["very long text " * 40]))[0],
    )
    assert len(long["input_ids"]) == 32
    assert long["input_ids"][-7:] == first["input_ids"][-7:]


def test_a_model_of_two_outputs_is_refused_for_the_name_of_the_other(tmp_path):
    folder = save_classifier(tmp_path / "nli", ["entailment", "not_entailment"])
    labeler = build(spec(independent=True), folder)
    assert (labeler.entailment, labeler.contradiction) == (0, 1)


def test_a_classifier_that_is_no_nli_model_answers(tmp_path):
    folder = save_classifier(tmp_path / "other", ["good", "bad"])
    with pytest.raises(
        LabelerError, match=r"0 of the model's outputs \['good', 'bad'\] are called entail…"
    ):
        build(spec(), folder)


@pytest.mark.parametrize(
    "wrong",
    [
        {"hypothesis": "no class"},
        {"hypothesis": "{} or {}"},
        {"descriptions": ["one"]},
        {"classes": ["a", "a"]},
    ],
)
def test_a_template_without_a_class_labels_by_nothing(wrong):
    with pytest.raises(
        ValueError, match=r"must have one \{\}|3 classes and 1 descriptions|distinct"
    ):
        spec(**wrong)
