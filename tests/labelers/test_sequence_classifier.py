from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from distill.core.errors import LabelerError
from distill.labelers import transformer
from distill.labelers.sequence_classifier import SequenceClassifier
from tests.labelers.asking import answers, as_features, build
from tests.tiny_models import TEXTS, WORDS, save_classifier, save_tokenizer

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


def change_weights(folder, change):
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda weights: weights.pop("classifier.weight"), r"lacks .*\['classifier\.weight'\]"),
        (
            lambda weights: weights.pop("bert.encoder.layer.1.output.dense.bias"),
            r"lacks .*layer\.1\.output\.dense\.bias",
        ),
        (
            lambda weights: weights.update({"classifier.weight": torch.zeros(2, 16)}),
            r"other shapes: \['classifier\.weight of \[2, 16\], not \[3, 16\]'\]",
        ),
    ],
)
def test_weights_that_the_file_lacks_are_drawn_at_random(tmp_path, change, named):
    folder = save_classifier(tmp_path / "part", LABELS)
    change_weights(folder, change)
    with pytest.raises(LabelerError, match=named):
        build(spec(classes=LABELS), folder)


@pytest.mark.parametrize(
    ("problem_type", "independent"),
    [
        ("multi_label_classification", False),
        ("single_label_classification", True),
        ("regression", False),
    ],
)
def test_a_model_contradicts_its_job_in_silence(tmp_path, problem_type, independent):
    folder = save_classifier(tmp_path / "model", LABELS, problem_type=problem_type)
    with pytest.raises(LabelerError, match=rf"independent = .*problem_type is '{problem_type}'"):
        build(spec(classes=LABELS, independent=independent), folder)
    if problem_type != "regression":
        build(spec(classes=LABELS, independent=not independent), folder)


def without(folder, key):
    """The tokenizer's file without a key."""
    file = folder / "tokenizer_config.json"
    config = json.loads(file.read_text("utf-8"))
    del config[key]
    file.write_text(json.dumps(config), "utf-8")


def save_decoder(folder, **more):
    from transformers import GPT2Config, GPT2ForSequenceClassification

    names = dict(enumerate(LABELS))
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=len(WORDS) + 4,
        n_embd=16,
        n_layer=1,
        n_head=2,
        n_positions=32,
        initializer_range=0.6,
        id2label=names,
        label2id={name: number for number, name in names.items()},
        **more,
    )
    GPT2ForSequenceClassification(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


@pytest.mark.parametrize("pads", [True, False])
def test_a_decoder_labels_one_text_at_a_time_or_its_padding(tmp_path, pads):
    folder = save_decoder(tmp_path / "decoder", bos_token_id=3, eos_token_id=3)
    if not pads:
        without(folder, "pad_token")
    texts = [text for text in TEXTS if text]
    made = answers(build(spec(classes=LABELS), folder), as_features(texts), 3)
    np.testing.assert_allclose(made, by_the_library(folder, texts), atol=1e-5)


@pytest.mark.parametrize("save", [save_classifier, save_decoder])
def test_a_text_longer_than_the_models_positions_raises(tmp_path, save):
    if save is save_classifier:
        folder = save(tmp_path / "short", LABELS)
    else:
        folder = save(tmp_path / "short", bos_token_id=3, eos_token_id=3)
    without(folder, "model_max_length")
    labeler = build(spec(classes=LABELS), folder)
    assert labeler.model.max_tokens == 32
    assert np.isfinite(answers(labeler, as_features(["a good film " * 40, "bad"]), 3)).all()


def test_roberta_counts_positions_from_behind_its_padding(tmp_path):
    from transformers import RobertaConfig, RobertaForSequenceClassification

    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = RobertaConfig(vocab_size=30, max_position_embeddings=20, intermediate_size=16, **size)
    assert transformer.position_limit(RobertaForSequenceClassification(config)) == 18
