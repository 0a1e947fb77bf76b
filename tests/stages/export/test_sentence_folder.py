"""What a folder for sentence-transformers says of a student's outputs."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from distill.models.text_files import TextFiles
from distill.spec.outputs import Outputs
from distill.stages.export.sentence_folder import _config

CLASSIFIER = {
    "hidden_size": 8,
    "_name_or_path": "/home/somebody/model",
    "id2label": {"0": "spam", "1": "ham"},
    "label2id": {"spam": 0, "ham": 1},
    "problem_type": "single_label_classification",
}


@pytest.mark.parametrize(
    ("outputs", "names"),
    [
        (Outputs("value"), None),
        (Outputs("logits", ("größer", "小")), {"0": "größer", "1": "小"}),
    ],
)
def test_the_classes_of_what_a_student_began_as_are_said_to_be_its_own(outputs, names):
    trunk = SimpleNamespace(text_files=TextFiles("", CLASSIFIER), body=object(), pad=0)
    config = json.loads(_config(trunk, outputs))
    assert config.get("id2label") == names
    assert not {"_name_or_path", "problem_type"} & config.keys()
    assert config["hidden_size"] == 8
