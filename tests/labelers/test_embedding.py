from __future__ import annotations

import numpy as np
import pytest

from distill.core.errors import LabelerError
from tests.labelers.asking import answers, as_features, embedding, sentence_library
from tests.tiny_models import TEXTS


def test_embeddings_differ_from_the_librarys(encoder_model):
    library = sentence_library(encoder_model)
    np.testing.assert_allclose(
        answers(embedding(encoder_model, width=16), as_features(TEXTS), 16),
        library.encode(TEXTS),
        atol=1e-5,
    )
    scaled = answers(embedding(encoder_model, width=16, normalize=True), as_features(TEXTS), 16)
    np.testing.assert_allclose(scaled, library.encode(TEXTS, normalize_embeddings=True), atol=1e-5)


def test_a_wrong_width_is_found_out_after_a_day(encoder_model):
    with pytest.raises(
        LabelerError, match=r"width = 8, but the model answers 16 numbers a row\. Write width = 16"
    ):
        embedding(encoder_model, width=8)
