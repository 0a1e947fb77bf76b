"""A labeler from outside the package: one file, which nothing in distill knows."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from distill.core.plugins import load_plugins
from distill.core.source import read_source
from distill.labelers.base import predict
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_labeler
from distill.plan.load import load_job
from distill.spec.labels import Ensemble, Labels
from tests.making import label_by_worker, stored_outputs
from tests.resolved import label_set, prepare_labels
from tests.tiny import write_job, write_pool

FILE = Path(__file__).parents[1] / "fixtures" / "plugins" / "constant_labeler.py"
TABLE = {"kind": "constant", "classes": ["a", "b"], "logits": [0.5, -1]}
JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.same]
    labeler = { kind = "constant", classes = ["a", "b"], logits = [0.5, -1] }
    over = ["rows"]
"""


@pytest.fixture(autouse=True)
def _loaded():
    load_plugins([read_source(FILE, "plugins")])


def labeler_of(table):
    labels = {"labeler": table, "over": ["rows"]}
    return Labels.model_validate_json(json.dumps(labels)).labeler


def test_a_kind_of_a_plugin_is_unknown_to_the_job_file_or_cannot_be_built():
    kind = labeler_of(TABLE)
    assert kind.class_names == ("a", "b")
    recipe = pickle.loads(pickle.dumps(Recipe(form="ready", ready=kind)))
    features = np.zeros((3, 4), np.float32)
    made = predict(build_labeler(recipe), features, 2)
    np.testing.assert_array_equal(made.outputs, [[0.5, -1]] * 3)


def test_a_kind_of_a_plugin_is_no_member_of_an_ensemble():
    ensemble = labeler_of({"kind": "ensemble", "members": [TABLE, TABLE]})
    assert isinstance(ensemble, Ensemble)
    assert [member.kind for member in ensemble.members] == ["constant", "constant"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"logits": [1]}, "has 2 classes and 1 logits"),
        ({"classes": ["a", "a"]}, "classes must be distinct"),
        ({"temperature": 2}, "Extra inputs are not permitted"),
        ({"kind": "constnat"}, "'constnat' found using 'kind' does not match"),
    ],
)
def test_a_wrong_table_of_a_plugin_is_taken(wrong, said):
    with pytest.raises(ValidationError, match=said):
        labeler_of({**TABLE, **wrong})


def test_another_revision_or_other_keys_go_on_with_the_first_ones_labels():
    kind = labeler_of(TABLE)
    revised = kind.model_copy(update={"revision": "2"})
    other = kind.model_copy(update={"logits": (0.5, 1.0)})
    assert len({each.contract_revision(None) for each in (kind, revised, other)}) == 3


def test_a_plugin_labels_other_rows_than_a_job_names(tmp_path):
    write_pool(tmp_path / "rows", [100, 30])
    job = load_job(write_job(tmp_path, JOB))
    label_by_worker(job, "same")
    labels = label_set(job, "same", "rows")
    contract = labels.contract
    assert contract.labeler == "constant"
    assert contract.revision == prepare_labels(job, "same")[1].revision
    np.testing.assert_array_equal(stored_outputs(labels), [[0.5, -1]] * 130)


def test_a_job_that_names_a_kind_loads_torch_or_a_library_of_its_model():
    loaded = "import sys; import distill.labelers.kinds, distill.job.job; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "transformers", "sentence_transformers", "sklearn", "skops", "ray"}
    assert not heavy & set(modules.stdout.split())
