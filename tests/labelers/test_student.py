from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from distill.core.errors import LabelerError
from distill.labelers.runtime import Runtime
from distill.labelers.student import StudentLabeler
from distill.models.files import ModelFiles
from distill.models.networks.mlp import Mlp
from distill.models.record import read_record
from distill.spec.outputs import Outputs
from distill.storage.open import open_storage
from tests.labelers.asking import answers
from tests.labelers.test_base import keep_eszsl
from tests.making import keep_network

HEADS = {"main": Outputs("logits", ("a", "b", "c")), "size": Outputs("value")}
X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture
def kept(tmp_path):
    """A folder with an untrained two-headed network of one hidden layer, and the network."""
    _, network = keep_network(tmp_path / "small", HEADS, 4, model=Mlp(kind="mlp", hidden=(5,)))
    return tmp_path / "small", network


def labeler(folder, **more):
    spec = StudentLabeler.model_validate_json(json.dumps({"kind": "student", "model": "m", **more}))
    record = read_record(open_storage(str(folder)))
    files = ModelFiles(str(folder), record.sha256 if record else "")
    return spec.build(Runtime(files=files))


def test_a_students_head_teaches_something_else(kept):
    folder, network = kept
    due = {name: said.detach().numpy() for name, said in network(torch.from_numpy(X)).items()}
    np.testing.assert_allclose(
        answers(labeler(folder, classes=["a", "b", "c"]), X, 3), due["main"], atol=1e-6
    )
    np.testing.assert_allclose(answers(labeler(folder, head="size"), X, 1), due["size"], atol=1e-6)


def test_a_layer_says_something_else(kept):
    folder, network = kept
    made = answers(labeler(folder, layer="trunk", width=5), X, 5)
    np.testing.assert_allclose(made, network.trunk(torch.from_numpy(X)).detach().numpy(), atol=1e-6)


def test_an_eszsl_model_teaches_too(tmp_path):
    keep_eszsl(tmp_path / "base")
    made = answers(labeler(tmp_path / "base", classes=["a", "b"]), X, 2)
    np.testing.assert_allclose(made, X @ np.ones((4, 2)) + 1 + [0, -3], atol=1e-5)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"classes": ["b", "a", "c"]}, "in another order"),
        ({"classes": ["a", "b", "c"], "independent": True}, r"Set independent = false"),
        ({"head": "other"}, r"no head 'other'\. It has: main, size"),
        ({"width": 2, "head": "size"}, r"width = 2, but the model answers 1"),
        ({"layer": "trunk.9", "width": 5}, r"has no layer 'trunk\.9'\. It has: trunk, trunk\.0"),
    ],
)
def test_a_student_that_is_another_than_the_job_says_labels(kept, told, said):
    with pytest.raises(LabelerError, match=said):
        labeler(kept[0], **told)


def test_a_student_that_was_trained_anew_goes_on_with_the_first_ones_labels(kept):
    spec = StudentLabeler(kind="student", model="m", classes=("a", "b", "c"))
    with pytest.raises(LabelerError, match=r"has sha256 \w+, where 00 is due"):
        spec.build(Runtime(files=ModelFiles(str(kept[0]), "00")))


def test_a_layer_whose_answers_the_next_changes_in_place_says_those(kept):
    made = answers(labeler(kept[0], layer="trunk.0", width=5), X, 5)
    with torch.inference_mode():
        due = kept[1].trunk[0](torch.from_numpy(X))
    assert (due < 0).any()
    np.testing.assert_allclose(made, due, rtol=1e-6)


def test_a_layer_of_another_width_is_found_out_later(kept):
    with pytest.raises(LabelerError, match=r"Write width = 5"):
        labeler(kept[0], layer="trunk", width=4).label(X)


def test_a_folder_without_a_finished_model_labels(tmp_path):
    with pytest.raises(LabelerError, match=r"has no done\.json"):
        labeler(tmp_path)
