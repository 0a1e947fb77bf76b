from __future__ import annotations

import json

import numpy as np
import pytest

from distill.core.errors import LabelerError
from distill.labelers.runtime import Runtime
from distill.labelers.sentences import EmbeddingLabeler, SimilarityLabeler
from distill.spec.ready import Embedding, Similarity
from tests.labelers.asking import answers, as_features
from tests.tiny_models import TEXTS, save_encoder, save_word_vectors

CLASSES = ["sport", "money", "film"]
DESCRIBED = ["a team wins a game", "the market rises", "a very good film"]


@pytest.fixture(scope="module", params=[save_encoder, save_word_vectors])
def model(tmp_path_factory, request):
    return request.param(tmp_path_factory.mktemp("encoder") / "model")


def the_library(folder):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu")


def similarity(folder, **more):
    told = {
        "kind": "similarity",
        "model": "m",
        "classes": CLASSES,
        "descriptions": DESCRIBED,
        **more,
    }
    return SimilarityLabeler(Similarity.model_validate_json(json.dumps(told)), Runtime(folder))


def embedding(folder, **more):
    return EmbeddingLabeler(
        Embedding.model_validate_json(json.dumps({"kind": "embedding", "model": "m", **more})),
        Runtime(folder),
    )


def test_similarity_differs_from_the_librarys(model):
    library = the_library(model)
    due = library.similarity(library.encode(TEXTS), library.encode(DESCRIBED)).numpy()
    made = answers(similarity(model, temperature=0.5), as_features(TEXTS), 3)
    np.testing.assert_allclose(0.5 * made, due, atol=1e-4)
    assert np.ptp(due, axis=0).min() > 0.05, "a model that says the same of each text shows nothing"


def test_a_class_is_another_than_the_mean_of_its_templates(model):
    library, templates = the_library(model), ["this text is about {}", "{}"]
    units = [
        library.encode([t.replace("{}", each) for each in DESCRIBED], normalize_embeddings=True)
        for t in templates
    ]
    mean = (units[0] + units[1]) / 2
    due = library.similarity(library.encode(TEXTS), mean).numpy()
    made = answers(similarity(model, templates=templates, temperature=1.0), as_features(TEXTS), 3)
    np.testing.assert_allclose(made, due, atol=1e-4)


def test_embeddings_differ_from_the_librarys(model):
    library = the_library(model)
    np.testing.assert_allclose(
        answers(embedding(model, width=16), as_features(TEXTS), 16),
        library.encode(TEXTS),
        atol=1e-5,
    )
    scaled = answers(embedding(model, width=16, normalize=True), as_features(TEXTS), 16)
    np.testing.assert_allclose(scaled, library.encode(TEXTS, normalize_embeddings=True), atol=1e-5)


def test_a_wrong_width_is_found_out_after_a_day(model):
    with pytest.raises(
        LabelerError, match=r"width = 8, but the model answers 16 numbers a row\. Write width = 16"
    ):
        embedding(model, width=8)


def test_a_model_runs_code_that_its_folder_names(tmp_path):
    folder = save_encoder(tmp_path / "model")
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    modules[-1]["type"] = "evil.Module"
    (folder / "modules.json").write_text(json.dumps(modules), "utf-8")
    with pytest.raises(LabelerError, match=r"not the library's own: \['evil\.Module'\]"):
        embedding(folder, width=16)
    (folder / modules[-1]["path"]).mkdir(exist_ok=True)
    (folder / modules[-1]["path"] / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(LabelerError, match=r"a format that can run code"):
        embedding(folder, width=16)
    with pytest.raises(LabelerError, match=r"has no modules\.json"):
        embedding(tmp_path, width=16)
