from __future__ import annotations

import numpy as np
import pytest
import safetensors.numpy

from distill.core.errors import JobError
from distill.core.source import PythonFile
from distill.labelers.eszsl.labeler import EszslLabeler
from distill.labelers.network import NetworkLabeler
from distill.labelers.recipe import Recipe
from distill.labelers.registry import build_labeler
from distill.models.record import ModelRecord, write_record
from distill.spec.outputs import Outputs
from distill.storage.open import open_storage
from tests.making import keep_network

HEADS = {"main": Outputs("logits", ("a", "b")), "size": Outputs("value")}


def test_a_recipe_builds_the_labeler_of_another_form(tmp_path):
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    source = PythonFile(
        "mine.py", "class Mine:\n    def label(self, features):\n        return features * 2\n"
    )
    np.testing.assert_array_equal(
        build_labeler(Recipe(form="custom", source=source, name="Mine")).label(x), x * 2
    )

    record, _ = keep_network(tmp_path / "network", HEADS, 4)
    network = build_labeler(Recipe(form="network", folder=str(tmp_path / "network"), record=record))
    assert isinstance(network, NetworkLabeler)
    assert network.label(x).shape == (5, 2)

    eszsl = build_labeler(
        Recipe(form="eszsl", folder=str(tmp_path / "eszsl"), record=keep_eszsl(tmp_path / "eszsl"))
    )
    assert isinstance(eszsl, EszslLabeler)
    np.testing.assert_allclose(eszsl.label(x), x @ np.ones((4, 2)) + 1 + [0, -3], atol=1e-5)


def keep_eszsl(folder):
    import hashlib

    weights = {"weight": np.ones((5, 2), np.float32), "bias": np.array([0, -3], np.float32)}
    content = safetensors.numpy.save(weights)
    record = ModelRecord(
        name="zero_shot",
        digest="d",
        form="eszsl",
        in_features=4,
        heads={"main": HEADS["main"]},
        widths={"main": 2},
        sha256=hashlib.sha256(content).hexdigest(),
        parameters=12,
    )
    return write_record(open_storage(str(folder)), record, content)


def test_a_class_that_the_users_file_lacks_fails_far_away():
    with pytest.raises(JobError, match=r"mine\.py has no 'Labeler'; it has \['Mine'\]"):
        build_labeler(
            Recipe(form="custom", source=PythonFile("mine.py", "class Mine: ..."), name="Labeler")
        )
