"""An ONNX file as a labeler: what ONNX Runtime answers of the rows as the table says."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from distill.core.errors import LabelerError
from distill.labelers.onnx import OnnxLabelerTable
from distill.labelers.runtime import Runtime
from distill.models.files import identify_model
from tests.labelers.asking import answers, build

DRAW = np.random.default_rng(0)
IMAGES = DRAW.integers(0, 256, (5, 4, 6, 3), np.uint8)
VECTORS = DRAW.normal(size=(5, 7)).astype(np.float32)
NAMES = ["bag", "coat"]


def spec(**keys):
    return OnnxLabelerTable.model_validate_json(json.dumps({"kind": "onnx", "model": "m", **keys}))


def save(file, shape, *, kind=TensorProto.FLOAT, width=2, extra_input=False):
    """Two outputs, each an affine map of all numbers of a row; returns its weights."""
    numbers = int(np.prod(shape[1:]))
    weights = DRAW.normal(size=(numbers, width)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
        helper.make_node("Neg", ["logits"], ["less"]),
    ]
    inputs = [helper.make_tensor_value_info("x", kind, shape)]
    if extra_input:
        inputs.append(helper.make_tensor_value_info("y", kind, shape))
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [shape[0], width])
        for name in ("logits", "less")
    ]
    graph = helper.make_graph(
        nodes, "tiny", inputs, outputs, [numpy_helper.from_array(weights, "weights")]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    file.parent.mkdir(exist_ok=True, parents=True)
    onnx.save(made, file)
    return weights


def test_vectors_are_seen_otherwise(tmp_path):
    weights = save(tmp_path / "m.onnx", ["rows", 7])
    made = answers(build(spec(width=2), tmp_path / "m.onnx"), VECTORS, 2)
    np.testing.assert_allclose(made, VECTORS @ weights, atol=1e-5)
    less = answers(build(spec(width=2, output="less"), tmp_path / "m.onnx"), VECTORS, 2)
    np.testing.assert_allclose(less, -made)


def normal(mean=0.0, std=1.0):
    return ((IMAGES / 255 - mean) / std).astype(np.float32)


@pytest.mark.parametrize(
    ("shape", "keys", "seen"),
    [
        (["rows", 3, 4, 6], {}, normal().transpose(0, 3, 1, 2)),
        (["rows", 4, 6, 3], {"layout": "channels_last"}, normal()),
        (
            ["rows", 3, 4, 6],
            {"mean": [0.1, 0.2, 0.3], "std": [0.5]},
            normal(np.array([0.1, 0.2, 0.3]), 0.5).transpose(0, 3, 1, 2),
        ),
        # as distill's own students see images
        (["rows", 72], {}, normal().transpose(0, 3, 1, 2)),
    ],
)
def test_images_are_seen_otherwise(tmp_path, shape, keys, seen):
    weights = save(tmp_path / "m.onnx", shape)
    made = answers(build(spec(width=2, **keys), tmp_path / "m.onnx"), IMAGES, 2)
    np.testing.assert_allclose(made, seen.reshape(5, -1) @ weights, atol=1e-4)


def test_bytes_are_scaled_for_a_file_that_takes_bytes(tmp_path):
    weights = save(tmp_path / "m.onnx", ["rows", 3, 4, 6], kind=TensorProto.UINT8)
    made = answers(build(spec(width=2), tmp_path / "m.onnx"), IMAGES, 2)
    due = IMAGES.transpose(0, 3, 1, 2).reshape(5, -1).astype(np.float32) @ weights
    np.testing.assert_allclose(made, due, rtol=1e-5)


def test_a_file_of_a_fixed_batch_takes_no_other_number_of_rows(tmp_path):
    weights = save(tmp_path / "m.onnx", [3, 7])
    made = answers(build(spec(width=2), tmp_path / "m.onnx"), VECTORS, 2)
    np.testing.assert_allclose(made, VECTORS @ weights, atol=1e-5)


def test_a_folder_of_hugging_faces_exporter_has_no_classes_or_mean(tmp_path):
    folder = tmp_path / "model"
    weights = save(folder / "model.onnx", ["rows", 3, 4, 6])
    (folder / "config.json").write_text(json.dumps({"id2label": {"1": "coat", "0": "bag"}}))
    processor = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.5] * 3}
    processor |= {"image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    assert spec().own_classes(str(folder), "model") == ("bag", "coat")
    assert spec(width=2).own_classes(str(folder), "model") == ()
    made = answers(build(spec(), folder), IMAGES, 2)
    seen = normal(0.5, 0.25).transpose(0, 3, 1, 2).reshape(5, -1)
    np.testing.assert_allclose(made, seen @ weights, atol=1e-4)
    with pytest.raises(LabelerError, match="the same in another order"):
        build(spec(classes=["coat", "bag"]), folder)
    grey = build(spec(), folder)
    with pytest.raises(LabelerError, match="of 3 channels, and images have 1"):
        grey.prepare(IMAGES[..., :1])


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"output": "x"}, r"output = 'x'; it has \['logits', 'less'\]"),
        ({"providers": ["TPU"]}, r"providers = \['TPU'\], but this ONNX Runtime has \["),
    ],
)
def test_a_name_that_the_file_lacks_is_taken(tmp_path, keys, told):
    save(tmp_path / "m.onnx", ["rows", 7])
    with pytest.raises(LabelerError, match=told):
        build(spec(width=2, **keys), tmp_path / "m.onnx")


def test_a_file_of_something_else_is_opened(tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"something else")
    with pytest.raises(LabelerError, match="is no model that ONNX Runtime opens"):
        build(spec(), tmp_path / "m.onnx")
    save(tmp_path / "two.onnx", ["rows", 7], extra_input=True)
    with pytest.raises(LabelerError, match="where one input of numbers is due"):
        build(spec(), tmp_path / "two.onnx")


def test_a_single_file_opens_what_lies_beside_it(tmp_path):
    """Its sha256 says nothing of that."""
    save(tmp_path / "plain.onnx", ["rows", 700])
    made = onnx.load(tmp_path / "plain.onnx")
    onnx.save(
        made, tmp_path / "m.onnx", save_as_external_data=True, location="weights", size_threshold=0
    )
    with pytest.raises(LabelerError, match="is no model that ONNX Runtime opens"):
        build(spec(width=2), tmp_path / "m.onnx")


def test_providers_are_part_of_what_labels_mean():
    plain = spec().contract_revision(None)
    assert spec(providers=["CPUExecutionProvider"]).contract_revision(None) == plain
    assert spec(mean=[0.5]).contract_revision(None) != plain
    with pytest.raises(ValueError, match="neither classes nor width"):
        spec(made_by="a.py:b")


def test_two_outputs_of_one_file_are_computed_twice(tmp_path):
    save(tmp_path / "m.onnx", ["rows", 7])
    first = build(spec(width=2), tmp_path / "m.onnx")
    runtime = Runtime(files=identify_model(str(tmp_path / "m.onnx"), None, "the test's model"))
    less = spec(width=2, output="less")
    other = less.build_companion(first, runtime)
    prepared = first.prepare(VECTORS)
    answer = first.label(prepared)
    np.testing.assert_allclose(other.label(prepared), -answer)
    assert first.answers.passes == 1
    assert first.label(first.prepare(VECTORS[:2])).shape == (2, 2), "another batch is another pass"
    assert first.answers.passes == 2
