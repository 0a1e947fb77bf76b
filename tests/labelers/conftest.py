"""Models of sentence-transformers that tests of several labelers share."""

from __future__ import annotations

import pytest

from distill.spec.uris import CACHE
from tests.tiny_models import save_encoder, save_word_vectors


@pytest.fixture(scope="session", params=[save_encoder, save_word_vectors])
def encoder_model(tmp_path_factory, request):
    """The folder of a model, once of each sort."""
    return request.param(tmp_path_factory.mktemp("encoder") / "model")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """Digests of models go to a folder of the tests, not to the user's."""
    monkeypatch.setenv(CACHE, str(tmp_path_factory.getbasetemp() / "cache"))
