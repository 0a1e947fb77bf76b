"""What a file of skops says of its estimator, read without scikit-learn: a job is loaded where it
is not installed, and in no time.

Nothing of the file is made: `schema.json` in it is plain text, and arrays of numbers or text beside
it are read without pickles.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_Node = Mapping[str, Any]
_SCHEMA = "schema.json"


def stored_classes(file: Path) -> tuple[str, ...]:
    """Return `classes_` of the estimator in a file, as text; empty of one that has none, or that
    keeps them where only its own code finds them."""
    try:
        with zipfile.ZipFile(file) as archive:
            text = archive.read(_SCHEMA)
            schema = json.loads(text)
            return _classes(schema, archive)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, AttributeError):
        return ()  # whoever opens the file as an estimator says what is wrong with it


def _classes(estimator: _Node, archive: zipfile.ZipFile) -> tuple[str, ...]:
    outer = estimator["content"]
    attributes: _Node = outer["content"]
    if "classes_" in attributes:
        return tuple(str(each) for each in _array(attributes["classes_"], archive))
    if "best_estimator_" in attributes:  # of a search
        best = attributes["best_estimator_"]
        return _classes(best, archive)
    if "steps" in attributes:  # of a pipeline: pairs of a name and an estimator
        _, last = attributes["steps"]["content"][-1]["content"]
        return _classes(last, archive)
    return ()


def _array(node: _Node, archive: zipfile.ZipFile) -> list[Any]:
    if node["type"] == "json":
        return [json.loads(item["content"]) for item in node["content"]]
    content = io.BytesIO(archive.read(node["file"]))
    array = np.load(content, allow_pickle=False)
    return list(array)
