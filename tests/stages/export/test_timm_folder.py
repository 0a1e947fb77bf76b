"""A student on a network of timm's, exported: timm alone, torch alone and ONNX Runtime alone answer
as distill does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import torch

from distill.core.errors import ExportError
from distill.labelers.network import NetworkLabeler
from distill.models.network import build_network
from distill.models.networks.timm import TimmNetwork
from distill.models.record import HeadPlan, ModelRecord, NetworkPlan
from distill.spec.outputs import Outputs
from distill.spec.pools import ImageFeatures
from distill.stages.export.timm_folder import timm_files
from tests.alone import run_alone
from tests.making import label_by_worker, train_here
from tests.resolved import export_students, find_student
from tests.stages.export.test_export_students import without_distill
from tests.tiny import tiny_job

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "image", column = "x", shape = [14, 14, 3], encoded = false }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    training = { epochs = 2, batch_rows = 16 }
    [students.small.model]
    kind = "timm"
    name = "vit_tiny_patch16_224"
    shape = [3, 14, 14]
    options = { patch_size = 7, embed_dim = 32, depth = 2, num_heads = 2 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "kl", temperature = 2 }
"""
MINE = """
class Labeler:
    revision = "1"
    classes = ("dark", "red", "bright")
    def label(self, features):
        return features.reshape(len(features), -1, 3).mean(axis=1) / 64 - 2
"""
WITHOUT = """
import json, torch
from safetensors.torch import load_file, save_file
images = load_file("images.safetensors")["x"]
"""
BY_TIMM = (
    WITHOUT
    + """
import timm
from timm.data import create_transform, resolve_model_data_config
from PIL import Image
whole = timm.create_model("local-dir:timm", pretrained=True).eval()
config = json.load(open("timm/config.json"))
named = timm.create_model(
    config["architecture"], num_classes=3, checkpoint_path="timm/model.safetensors", **config["model_args"]
).eval()
transform = create_transform(**resolve_model_data_config(whole), is_training=False)
x = torch.stack([transform(Image.fromarray(each)) for each in images.numpy()])
with torch.inference_mode():
    save_file({"whole": whole(x), "named": named(x)}, "answers.safetensors")
print(json.dumps(whole.pretrained_cfg["label_names"]))
"""
)
BY_ONNX = (
    WITHOUT
    + """
import onnxruntime
rows = images.permute(0, 3, 1, 2).float().flatten(1) / 255
(main,) = onnxruntime.InferenceSession("model.onnx").run(None, {"features": rows.numpy()})
save_file({"main": torch.from_numpy(main)}, "answers.safetensors")
"""
)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    return export_one(tmp_path_factory.mktemp("timm"))


def export_one(folder):
    """Its job, the export, images, and what distill answers."""
    images = np.random.default_rng(0).integers(0, 256, (64, 14, 14, 3), np.uint8)
    (folder / "rows").mkdir()
    column = pa.array([each.tobytes() for each in images], pa.binary(14 * 14 * 3))
    pq.write_table(pa.table({"x": column}), folder / "rows" / "a.parquet")
    (folder / "mine.py").write_text(MINE)
    job = tiny_job(folder, JOB)
    label_by_worker(job, "teacher")
    train_here(job)
    (made,) = export_students(job, None, ())
    where, record = find_student(job, job.variants[0])
    due = NetworkLabeler.load(where.uri, record).label(images)
    safetensors.numpy.save_file({"x": images}, Path(made.uri) / "images.safetensors")
    return job, Path(made.uri), images, due


def alone(folder, code):
    printed = run_alone(code, folder)
    return printed, safetensors.numpy.load_file(folder / "answers.safetensors")


def test_timm_alone_answers_otherwise(exported):
    _, folder, _, due = exported
    printed, answers = alone(folder, BY_TIMM)
    assert json.loads(printed.splitlines()[-1]) == ["dark", "red", "bright"]
    np.testing.assert_allclose(answers["whole"], due, atol=1e-5)
    np.testing.assert_allclose(answers["named"], due, atol=1e-5)
    assert np.ptp(due, axis=0).min() > 0.01


def test_onnx_runtime_alone_answers_otherwise(exported):
    job, folder, _, due = exported
    export_students(job, None, (), onnx=True)
    _, answers = alone(folder, BY_ONNX)
    np.testing.assert_allclose(answers["main"], due, atol=1e-5)


def test_torch_and_timm_alone_answer_otherwise(exported):
    _, folder, images, due = exported
    rows = images.transpose(0, 3, 1, 2).reshape(64, -1).astype(np.float32) / 255
    said = without_distill(folder, rows)
    np.testing.assert_allclose(said["main"], due, atol=1e-5)


@pytest.mark.parametrize(
    "name",
    ["resnet18", "mobilenetv3_small_050", "efficientnet_lite0", "convnext_atto", "regnetx_002"],
)
def test_an_architecture_is_saved_otherwise_than_timm_does(name, tmp_path):
    """Those with BatchNorm too: they are answered by here, whoever trains them."""
    import timm

    shape = (1, 32, 32)
    model = TimmNetwork(kind="timm", name=name, shape=shape)
    plan = NetworkPlan(1024, model, {"main": HeadPlan(4), "size": HeadPlan(1)})
    network = build_network(plan).eval()
    heads = {"main": Outputs("logits", ("a", "b", "c", "d"), True), "size": Outputs("value")}
    record = ModelRecord(
        name="small", digest="0", form="network", in_features=1024, heads=heads,
        widths={"main": 4, "size": 1}, sha256="0", parameters=1, plan=plan.to_plain(),
    )  # fmt: skip
    features = ImageFeatures(kind="image", column="x", shape=(32, 32, 1))
    rows = torch.rand(3, 1024)
    files = timm_files(record, network, features, rows)
    assert set(files) == {
        f"timm/{head}/{file}" for head in heads for file in ("model.safetensors", "config.json")
    }
    for key, content in files.items():
        (tmp_path / key).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / key).write_bytes(content)
    for head in heads:
        loaded = timm.create_model(f"local-dir:{tmp_path}/timm/{head}", pretrained=True).eval()
        config = loaded.pretrained_cfg
        normal = (rows.reshape(-1, *shape) - config["mean"][0]) / config["std"][0]
        torch.testing.assert_close(loaded(normal), network(rows)[head], atol=1e-5, rtol=1e-5)


def test_a_classifier_of_another_kind_is_saved_wrongly():
    model = TimmNetwork(kind="timm", name="deit_tiny_distilled_patch16_224", shape=(3, 32, 32))
    plan = NetworkPlan(3072, model, {"main": HeadPlan(4)})
    network = build_network(plan).eval()
    record = ModelRecord(
        name="small", digest="0", form="network", in_features=3072,
        heads={"main": Outputs("logits", ("a", "b", "c", "d"), True)}, widths={"main": 4},
        sha256="0", parameters=1, plan=plan.to_plain(),
    )  # fmt: skip
    features = ImageFeatures(kind="image", column="x", shape=(32, 32, 3))
    with pytest.raises(ExportError, match="classifier of its own kind"):
        timm_files(record, network, features, torch.rand(3, 3072))
