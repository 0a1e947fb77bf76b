from __future__ import annotations

import copy
import functools
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from distill import run
from distill.core.errors import ExportError, JobError, MissingExtraError
from distill.models.network import MultiHead, build_network
from distill.models.networks.cnn import Cnn
from distill.models.networks.linear import Linear
from distill.models.networks.mlp import Mlp
from distill.models.networks.ngram_bag import NgramBag
from distill.models.networks.rnn import Rnn
from distill.models.record import HeadPlan, ModelRecord, NetworkPlan
from distill.spec.outputs import Outputs
from distill.stages.export import onnx_file
from tests.command import REPOSITORY, distill
from tests.resolved import export_students
from tests.stages.export.conftest import BAG, MODELS

WIDTH = 4
KINDS = {
    "linear": Linear(kind="linear"),
    "mlp": Mlp(kind="mlp", hidden=(8, 6), dropout=0.2),
    "cnn": Cnn(kind="cnn", shape=(1, 4, 4), channels=(3, 5), hidden=6, dropout=0.2),
    "rnn": Rnn(kind="rnn", shape=(4, 4), hidden=5, layers=2, dropout=0.2),
    "ngram_bag": NgramBag(kind="ngram_bag", buckets=30, hidden=5, most=16, dropout=0.2),
}


def a_student(model, own=None, heads=("main", "size"), seed=0) -> tuple[ModelRecord, MultiHead]:
    """A network of several heads, the last with a network of its own if `own` is one; and what is
    told of it."""
    plans = {name: HeadPlan(3) for name in heads} | {heads[-1]: HeadPlan(1, own)}
    network = build_network(NetworkPlan(16, model, plans), seed).eval()
    record = ModelRecord(
        name="small", digest="d1", form="network", in_features=16, heads={name: Outputs("value") for name in heads},
        widths={}, sha256="s1", parameters=1,
    )  # fmt: skip
    return record, network


def rows_of(network, rows, seed=0):
    draw = np.random.default_rng(seed)
    if network.ngrams is None:
        return torch.from_numpy(draw.normal(size=(rows, 16)).astype(np.float32))
    places = draw.integers(1, 31, size=(rows, 16)) * (
        np.arange(16) < draw.integers(0, 17, size=(rows, 1))
    )
    places[0] = 0  # a text without n-grams
    return torch.from_numpy(places.astype(np.int32))


def answered(content, rows):
    session = onnxruntime.InferenceSession(content)
    return dict(
        zip(
            [each.name for each in session.get_outputs()],
            session.run(None, {"features": rows}),
            strict=True,
        )
    )


@functools.cache
def translated(kind, own=False) -> tuple[ModelRecord, MultiHead, bytes]:
    """A student, and its file; each is translated once. Nobody changes the network."""
    record, network = a_student(KINDS[kind], KINDS[kind] if own else None)
    content = onnx_file.onnx_file("students.small", record, network, rows_of(network, 5))
    return record, network, content


@pytest.mark.parametrize(("kind", "own"), [("mlp", False), *((kind, True) for kind in KINDS)])
def test_onnx_runtime_answers_otherwise_than_torch(kind, own):
    """The trunk is of this kind, and where it is `own` the second head too."""
    _, network, content = translated(kind, own)
    for rows in (1, 2, 3, 64):
        batch = rows_of(network, rows, seed=rows)
        said = answered(content, batch.numpy())
        with torch.inference_mode():
            due = network(batch)
        assert list(said) == list(due)
        for head, values in due.items():
            np.testing.assert_allclose(said[head], values, rtol=1e-5, atol=1e-6)


def test_a_text_without_ngrams_is_not_zeros_within():
    record, network = a_student(KINDS["ngram_bag"])
    with torch.no_grad():
        network.trunk[0].weight[0] = (
            7.0  # what stands for nothing must not be counted, whatever it holds
        )
    said = answered(
        onnx_file.translate(record, network, rows_of(network, 2)), np.zeros((1, 16), np.int32)
    )
    np.testing.assert_allclose(said["main"][0], network.heads["head_main"].bias.detach())


@pytest.mark.parametrize("rows", [1, 64])
def test_other_weights_are_believed(rows):
    _, network, content = translated("mlp")
    network = copy.deepcopy(network)
    with torch.no_grad():
        network.heads["head_size"].bias += 1e-3
    with pytest.raises(
        ExportError,
        match=r"students\.small: .* for the head 'size', whose largest answer is .* Nothing was written\.",
    ):
        onnx_file.check_answers("students.small", content, network, rows_of(network, rows))


def test_an_answer_that_is_no_number_is_believed():
    _, network, content = translated("linear", own=True)
    network = copy.deepcopy(network)
    with torch.no_grad():
        network.heads["head_main"].bias[0] = float("nan")
    with pytest.raises(ExportError, match="head 'main'"):
        onnx_file.check_answers("students.small", content, network, rows_of(network, 3))


def test_a_heads_name_is_torchs_name_of_something_within():
    record, network = a_student(
        KINDS["mlp"], heads=("linear", "val_0", "relu", "linear_1", "node-1")
    )
    content = onnx_file.onnx_file("students.small", record, network, rows_of(network, 1))
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    assert list(answered(content, rows_of(network, 2).numpy())) == list(record.heads)


@pytest.mark.parametrize("kind", ["rnn", "ngram_bag"])
def test_the_same_weights_are_other_bytes_or_tell_of_this_machine(kind):
    record, network, content = translated(kind, own=True)
    assert onnx_file.translate(record, network, rows_of(network, 9)) == content
    for told in (b"site-packages", b"network.py", str(REPOSITORY).encode()):
        assert told not in content
    session = onnxruntime.InferenceSession(content)
    found = session.get_modelmeta().custom_metadata_map
    named = {head: list(each.classes) for head, each in record.heads.items()}
    assert json.loads(found.pop("classes")) == named
    assert found == {"student": "d1", "weights_sha256": "s1"}
    (given,) = session.get_inputs()
    assert (given.name, given.shape[1]) == ("features", 16)
    assert isinstance(given.shape[0], str)


def test_what_cannot_be_one_file_is_tried(monkeypatch):
    record, network = a_student(KINDS["linear"], heads=("features", "size"))
    with pytest.raises(JobError, match="a head is called 'features'"):
        onnx_file.onnx_file("students.small", record, network, rows_of(network, 2))
    record, network = a_student(KINDS["linear"])
    monkeypatch.setattr(onnx_file, "_MOST_BYTES", 100)
    with pytest.raises(JobError, match=r"its weights are 272 bytes, but .* has room for 100"):
        onnx_file.onnx_file("students.small", record, network, rows_of(network, 2))


@pytest.mark.parametrize("library", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_extra_is_told_after_work_or_as_an_import_error(library, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        MissingExtraError, match=rf"needs {library}, which .* Run: pip install 'distill\[onnx\]'"
    ):
        run.export_students(None, onnx=True)  # before it looks at the job


def test_an_export_has_no_onnx_or_keeps_one_that_it_was_not_asked_for(taught, tmp_path):
    job = taught(BAG)
    (exported,) = export_students(job, None, (), onnx=True)
    folder = tmp_path / "root" / "students"
    (file,) = folder.rglob("model.onnx")
    assert str(file.parent) == exported.uri.removeprefix("file://")
    assert "onnxruntime.InferenceSession" in (file.parent / "README.md").read_text("utf-8")
    export_students(job, None, ())
    assert not file.exists()
    assert "onnx" not in (file.parent / "README.md").read_text("utf-8").lower()
    ended = distill("export", tmp_path / "job.toml", "small", "--onnx")
    assert ended.code == 0, ended.output
    assert "torchvision" not in ended.output
    assert file.exists()


def test_an_export_that_is_refused_leaves_files(taught, tmp_path, monkeypatch):
    job = taught(MODELS["mlp"])
    translate = onnx_file.translate

    def changed(record, network, seen):
        other = build_network(NetworkPlan.from_plain(record.plan), seed=1).eval()
        return translate(record, other, seen)

    monkeypatch.setattr(onnx_file, "translate", changed)
    with pytest.raises(ExportError, match=r"students\.small: in a batch of 1,"):
        export_students(job, None, (), onnx=True)
    assert not list((tmp_path / "root").rglob("export"))
