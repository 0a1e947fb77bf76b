"""From a recipe to a labeler. Each kind is imported only where it is built, and asked for its
library only where it is named."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Protocol, cast

from distill.core.errors import MissingExtraError
from distill.labelers.base import Labeler
from distill.labelers.calibration import CalibratedLabeler
from distill.labelers.ensemble import EnsembleLabeler
from distill.labelers.recipe import Recipe
from distill.labelers.runtime import Runtime
from distill.models.files import local_model
from distill.spec.ready import Ready, StudentLabeler


class _Adapter(Protocol):
    def __call__(self, spec: Ready, place: Runtime) -> Labeler: ...


_READY: Mapping[str, str] = {
    "sklearn": "estimator:EstimatorLabeler",
    "sequence_classifier": "sequence_classifier:SequenceClassifierLabeler",
    "nli": "nli:NliLabeler",
    "similarity": "sentences:SimilarityLabeler",
    "embedding": "sentences:EmbeddingLabeler",
}
"""Kind of a ready labeler → where in this folder it is made."""
_TEXT = {"transformers": "transformers", "tokenizers": "tokenizers"}
_SENTENCES = {"sentence_transformers": "sentence-transformers", **_TEXT}
_NEEDS: Mapping[str, tuple[Mapping[str, str], str]] = {
    "sklearn": ({"sklearn": "scikit-learn", "skops": "skops"}, "sklearn"),
    "sequence_classifier": (_TEXT, "text"),
    "nli": (_TEXT, "text"),
    "similarity": (_SENTENCES, "text"),
    "embedding": (_SENTENCES, "text"),
}
"""Kind → libraries by their names when imported and when installed, and the extra that has them."""


def build_labeler(recipe: Recipe, device: str = "cpu") -> Labeler:
    """The labeler, calibrated and ready on `device`. Raises what its constructor raises."""
    labeler = _build(recipe, device)
    return labeler if recipe.temperature == 1 else CalibratedLabeler(labeler, recipe.temperature)


def _build(recipe: Recipe, device: str) -> Labeler:
    if recipe.form == "ensemble":
        assert recipe.outputs is not None
        labelers = [build_labeler(member.recipe, device) for member in recipe.members]
        return EnsembleLabeler(recipe.members, labelers, recipe.outputs, recipe.width)
    if recipe.form == "custom":
        assert recipe.source is not None
        made: Labeler = recipe.source.load(recipe.name)()
        return made
    if recipe.form == "ready":
        return _build_ready(recipe, device)
    assert recipe.record is not None
    if recipe.form == "eszsl":
        from distill.labelers.eszsl.labeler import EszslLabeler

        return EszslLabeler.load(recipe.folder, recipe.record)
    from distill.labelers.network import NetworkLabeler

    return NetworkLabeler.load(
        recipe.folder, recipe.record, code=recipe.code, device=device, precision=recipe.precision
    )


def on_one_thread() -> None:
    """Torch on one thread, where it is there: other numbers of threads may change the last bits."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def kind_of(spec: Ready) -> str:
    """Its kind, as the job says it: each has a literal of its own."""
    return str(vars(spec)["kind"])


def require_libraries(kind: str) -> None:
    """Refuse a ready labeler whose library is not installed. Raises MissingExtraError with the line
    that installs it."""
    libraries, extra = _NEEDS.get(kind, ({}, ""))
    for imported, installed in libraries.items():
        if find_spec(imported) is None:
            raise MissingExtraError(installed, extra, f"a labeler of kind {kind!r}")


def libraries_of(recipe: Recipe) -> list[str]:
    """What decides its answers beside torch and numpy, by the names that are installed."""
    kinds = [kind_of(part.ready) for part in recipe.parts() if part.ready]
    return list(
        dict.fromkeys(name for kind in kinds for name in _NEEDS.get(kind, ({}, ""))[0].values())
    )


def require_libraries_of(recipe: Recipe) -> None:
    """`require_libraries`, of every labeler of a recipe."""
    for part in recipe.parts():
        if part.ready:
            require_libraries(kind_of(part.ready))


def _build_ready(recipe: Recipe, device: str) -> Labeler:
    assert recipe.ready is not None
    kind = kind_of(recipe.ready)
    assert recipe.files is not None
    if isinstance(recipe.ready, StudentLabeler):
        from distill.labelers.student import student_labeler

        return student_labeler(recipe.ready, recipe.files, device, recipe.precision, recipe.source)
    require_libraries(kind)
    if kind != "sklearn":
        import_module("torch").set_num_threads(
            1
        )  # what is computed while it is made must not depend on compute.cpus
    module, _, name = _READY[kind].partition(":")
    adapter = cast("_Adapter", getattr(import_module(f"distill.labelers.{module}"), name))
    return adapter(recipe.ready, Runtime(local_model(recipe.files), device, recipe.precision))
