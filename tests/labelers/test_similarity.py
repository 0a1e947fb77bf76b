from __future__ import annotations

import json

import numpy as np

from distill.labelers.similarity import Similarity
from tests.labelers.asking import answers, as_features, build, sentence_library
from tests.tiny_models import TEXTS

CLASSES = ["sport", "money", "film"]
DESCRIBED = ["a team wins a game", "the market rises", "a very good film"]


def similarity(folder, **more):
    table = {
        "kind": "similarity",
        "model": "m",
        "classes": CLASSES,
        "descriptions": DESCRIBED,
        **more,
    }
    return build(Similarity.model_validate_json(json.dumps(table)), folder)


def test_similarity_differs_from_the_librarys(encoder_model):
    library = sentence_library(encoder_model)
    due = library.similarity(library.encode(TEXTS), library.encode(DESCRIBED)).numpy()
    made = answers(similarity(encoder_model, temperature=0.5), as_features(TEXTS), 3)
    np.testing.assert_allclose(0.5 * made, due, atol=1e-4)
    assert np.ptp(due, axis=0).min() > 0.05, "a model that says the same of each text shows nothing"


def test_a_class_is_another_than_the_mean_of_its_templates(encoder_model):
    library = sentence_library(encoder_model)
    templates = ["this text is about {}", "{}"]
    units = [
        library.encode([t.replace("{}", each) for each in DESCRIBED], normalize_embeddings=True)
        for t in templates
    ]
    mean = (units[0] + units[1]) / 2
    due = library.similarity(library.encode(TEXTS), mean).numpy()
    labeler = similarity(encoder_model, templates=templates, temperature=1.0)
    np.testing.assert_allclose(answers(labeler, as_features(TEXTS), 3), due, atol=1e-4)
