"""A network of timm's as a labeler: what timm alone answers, and by the right names."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from distill.core.errors import JobError, LabelerError
from distill.labelers.runtime import Runtime
from distill.labelers.timm import TimmClassifier
from distill.spec.pools import ImageFeatures
from tests.labelers.asking import answers, build
from tests.late import Late
from tests.tiny import tiny_job

TIMM = Late("timm")

NAMES = ["bag", "coat", "shoe"]
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
MEAN, STD = (0.3, 0.4, 0.5), (0.2, 0.25, 0.3)


def spec(**keys):
    return TimmClassifier.model_validate_json(json.dumps({"kind": "timm", "model": "m", **keys}))


def save(folder, name="resnet10t", *, labels=NAMES, **pretrained):
    """A model as timm saves it, and its own answers."""
    torch.manual_seed(0)
    body = TIMM.create_model(name, num_classes=3).eval()
    # else a network of drawn weights says much the same of each image
    body.get_classifier().weight.data.normal_(0, 1)
    folder.mkdir(exist_ok=True)
    config = {
        "architecture": name,
        "num_classes": 3,
        "pretrained_cfg": {"mean": MEAN, "std": STD, "input_size": [3, 32, 32], **pretrained},
    }
    if labels:
        config["label_names"] = labels
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(body.state_dict(), folder / "model.safetensors")
    return body


def normal(images, mean=MEAN, std=STD):
    rows = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return (rows - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timm") / "model"
    return folder, save(folder)


def test_answers_differ_from_timms(model):
    folder, body = model
    made = answers(build(spec(), folder), IMAGES, 3)
    with torch.inference_mode():
        due = body(normal(IMAGES)).numpy()
    np.testing.assert_allclose(made, due, atol=1e-5)
    assert np.ptp(due, axis=0).min() > 0.05


def test_a_model_that_timm_saved_with_its_arguments_cannot_be_opened(tmp_path):
    body = save(tmp_path / "saved")
    arguments = {"num_classes": 3, "in_chans": 3}
    TIMM.models.save_for_hf(body, tmp_path / "saved", model_args=arguments, safe_serialization=True)
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["model_args"]["num_classes"] == 3
    labeler = build(spec(gives="embedding", width=512), tmp_path / "saved")
    assert answers(labeler, IMAGES, 512).shape == (5, 512)


def test_an_embedding_is_something_else_than_the_classifier_sees(model):
    folder, body = model
    labeler = build(spec(gives="embedding", width=512), folder)
    made = answers(labeler, IMAGES, 512)
    with torch.inference_mode():
        due = body.get_classifier()(torch.from_numpy(made)).numpy()
        np.testing.assert_allclose(due, body(normal(IMAGES)).numpy(), atol=1e-5)
    with pytest.raises(LabelerError, match="Write width = 512"):
        build(spec(gives="embedding", width=3), folder)


def test_mean_and_deviation_of_the_table_are_not_used(model):
    folder, body = model
    made = answers(build(spec(mean=[0.5], std=[0.5, 0.4, 0.3]), folder), IMAGES, 3)
    with torch.inference_mode():
        due = body(normal(IMAGES, (0.5, 0.5, 0.5), (0.5, 0.4, 0.3))).numpy()
    np.testing.assert_allclose(made, due, atol=1e-5)


def test_classes_are_guessed(model, tmp_path):
    folder, _ = model
    assert spec().own_classes(str(folder), "model") == tuple(NAMES)
    with pytest.raises(LabelerError, match=r"same in another order: \['bag', 'coat', 'shoe'\]"):
        build(spec(classes=["coat", "bag", "shoe"]), folder)
    save(tmp_path / "plain", labels=None)
    assert spec().own_classes(str(tmp_path / "plain"), "model") == ("0", "1", "2")
    build(spec(classes=["x", "y", "z"]), tmp_path / "plain")
    with pytest.raises(LabelerError, match="2 classes, but the model's classifier has 3"):
        build(spec(classes=["x", "y"]), tmp_path / "plain")
    save(tmp_path / "odd", labels=["a", "b"])
    with pytest.raises(LabelerError, match="names 2 classes, but its classifier has 3"):
        build(spec(), tmp_path / "odd")


def test_a_single_file_is_no_model(model, tmp_path):
    folder, _ = model
    file = tmp_path / "one.safetensors"
    file.write_bytes((folder / "model.safetensors").read_bytes())
    single = build(spec(name="resnet10t", classes=NAMES, mean=MEAN, std=STD), file)
    np.testing.assert_array_equal(
        answers(single, IMAGES, 3), answers(build(spec(), folder), IMAGES, 3)
    )
    with pytest.raises(LabelerError, match="says its architecture"):
        build(spec(classes=NAMES), file)


def test_weights_of_another_architecture_are_drawn(tmp_path):
    save(tmp_path / "model")
    weights = safetensors.torch.load_file(tmp_path / "model" / "model.safetensors")
    del weights["bn1.running_mean"]
    safetensors.torch.save_file(weights, tmp_path / "model" / "model.safetensors")
    with pytest.raises(JobError, match="lacks"):
        build(spec(), tmp_path / "model")
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    with pytest.raises(JobError, match="not opened"):
        build(spec(), tmp_path / "model")


def test_the_contract_is_the_same_whatever_its_weights_or_its_mean_say(model, tmp_path):
    from distill.models.files import identify_model

    folder, _ = model
    before = identify_model(str(folder), None, "model")
    config = json.loads((folder / "config.json").read_text())
    save(tmp_path / "model")
    same = identify_model(str(tmp_path / "model"), None, "model")
    assert spec().contract_revision(same) == spec(model="n").contract_revision(before)
    config["pretrained_cfg"]["mean"] = [0.1, 0.1, 0.1]
    (tmp_path / "model" / "config.json").write_text(json.dumps(config))
    other = identify_model(str(tmp_path / "model"), None, "model")
    revisions = {
        spec().contract_revision(other),
        spec().contract_revision(same),
        spec(mean=[0.1]).contract_revision(same),
        spec(gives="embedding", width=512).contract_revision(same),
    }
    assert len(revisions) == 4


def test_an_image_that_the_network_cannot_take_is_found_by_a_worker(tmp_path):
    save(tmp_path / "model", fixed_input_size=True)
    found = spec().misread(
        ImageFeatures(kind="image", column="x", shape=(28, 28, 1)), str(tmp_path / "model")
    )
    assert list(found) == [
        "sees 3 channels, not 1; give the images as many",
        "sees images of 32 × 32 alone, not 28 × 28; give the pool that shape",
    ]
    right = ImageFeatures(kind="image", column="x", shape=(32, 32, 3))
    assert not list(spec().misread(right, str(tmp_path / "model")))


JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = FEATURES
    [labels.teacher]
    labeler = { kind = "timm", model = "model" }
    over = ["rows"]
"""


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ('{ kind = "text", column = "x" }', "it reads images, but pools.rows has features of kind"),
        ('{ kind = "vector", columns = ["x"] }', "it reads images, but pools.rows has features"),
        (
            '{ kind = "image", column = "x", shape = [32, 32, 1] }',
            "labels.teacher.labeler.model: over pools.rows: sees 3 channels, not 1",
        ),
    ],
)
def test_a_pool_of_something_else_is_labelled(tmp_path, features, told):
    save(tmp_path / "model")
    (tmp_path / "rows").mkdir()
    with pytest.raises(JobError, match=told):
        tiny_job(tmp_path, JOB.replace("FEATURES", features))


def test_a_classifier_and_its_embedding_take_two_passes(model):
    folder, _ = model
    first = build(spec(), folder)
    wide = spec(gives="embedding", width=512)
    other = wide.build_companion(first, Runtime())
    images = IMAGES[:3]
    logits = first.label(images)
    seen = other.label(images)
    assert first.maps.passes == 1
    np.testing.assert_allclose(seen, build(wide, folder).label(images), atol=1e-5)
    np.testing.assert_allclose(logits, build(spec(), folder).label(images), atol=1e-5)
    with pytest.raises(LabelerError, match="512"):
        spec(gives="embedding", width=3).build_companion(first, Runtime())
