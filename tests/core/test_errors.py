from __future__ import annotations

import pickle

import pytest

from distill.core.errors import LabelerError, MissingExtraError
from distill.storage.base import ObjectMissingError


@pytest.mark.parametrize(
    "error",
    [
        MissingExtraError("skops", "sklearn", "a labeler"),
        ObjectMissingError("s3://b/k"),
        LabelerError("it raised"),
    ],
)
def test_an_error_that_travels_from_a_worker_arrives_as_another(error):
    arrived = pickle.loads(pickle.dumps(error))
    assert (type(arrived), str(arrived)) == (type(error), str(error))
