"""Labelers by sentence-transformers: embeddings, and zero-shot by their cosine to the embeddings of descriptions of classes.

With u(x) the unit embedding of a text and v(c) that of a class, the unit mean over templates of the units of its description:

    logit(c | x) = u(x) · v(c) / temperature                     Radford et al. 2021, eq. in fig. 3 and section 3.1.4 (ensembled prompts)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch

from distill.core.errors import LabelerError
from distill.labelers.base import Inputs, Matrix
from distill.labelers.runtime import Runtime, computing
from distill.labelers.transformer import as_texts
from distill.labelers.validation import require_width
from distill.spec.ready import Embedding, Ready, Similarity

_OWN, _KNOWN = (
    "sentence_transformers.",
    {
        "Transformer",
        "Pooling",
        "Normalize",
        "Dense",
        "StaticEmbedding",
    },
)
_ROWS_AT_ONCE = 128


class Encoder:
    """Text → embeddings (rows, width); the library sorts by length and puts back in order."""

    def __init__(self, place: Runtime) -> None:
        from sentence_transformers import SentenceTransformer

        _refuse_code(place)
        self.place = place
        self.model: Any = SentenceTransformer(
            str(place.model),
            device=place.device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )

    @property
    def width(self) -> int:
        # renamed in sentence-transformers 6, which warns of the old name
        asked = (
            getattr(self.model, "get_embedding_dimension", None)
            or self.model.get_sentence_embedding_dimension
        )
        return int(asked())

    def embeddings(self, texts: list[str], *, normalize: bool) -> Matrix:
        with computing(self.place.device, self.place.precision):
            made = self.model.encode(
                texts,
                batch_size=_ROWS_AT_ONCE,
                normalize_embeddings=normalize,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return cast("Matrix", np.asarray(made, np.float32))


class EmbeddingLabeler:
    """The embeddings themselves, as values."""

    def __init__(self, spec: Ready, place: Runtime) -> None:
        assert isinstance(spec, Embedding)
        self.encoder, self.normalize = Encoder(place), spec.normalize
        require_width(spec.kind, spec.width, self.encoder.width)

    def label(self, features: Inputs) -> Matrix:
        """(rows, width)."""
        return self.encoder.embeddings(as_texts(features), normalize=self.normalize)


class SimilarityLabeler:
    """Cosine to every class."""

    def __init__(self, spec: Ready, place: Runtime) -> None:
        assert isinstance(spec, Similarity)
        self.encoder, self.temperature = Encoder(place), spec.temperature
        said = spec.descriptions or spec.classes
        texts = [template.replace("{}", each) for each in said for template in spec.templates]
        units = (
            self.encoder.embeddings(texts, normalize=True)
            .reshape(len(said), len(spec.templates), -1)
            .mean(axis=1)
        )
        self.classes = units / np.linalg.norm(units, axis=1, keepdims=True)

    def label(self, features: Inputs) -> Matrix:
        """(rows, classes) logits."""
        made: Matrix = (
            self.encoder.embeddings(as_texts(features), normalize=True)
            @ self.classes.T
            / self.temperature
        )
        return made


def _refuse_code(place: Runtime) -> None:
    """A folder names the classes of its modules; only the library's own are made. Raises
    LabelerError."""
    listed = place.model / "modules.json"
    if not listed.is_file():
        raise LabelerError(
            f"{place.model} has no modules.json, so it is no sentence-transformers model. Save it"
            " by SentenceTransformer.save."
        )
    modules = json.loads(listed.read_text("utf-8"))
    foreign = [each["type"] for each in modules if not _is_known(str(each["type"]))]
    pickled = [
        folder for folder in (place.model / each["path"] for each in modules) if _is_pickled(folder)
    ]
    if pickled:
        raise LabelerError(
            f"{pickled[0]} has weights in a format that can run code, and none in safetensors. Save"
            " the model anew."
        )
    if foreign:
        raise LabelerError(
            f"{listed} names code that is not the library's own: {foreign}. distill does not"
            " run it."
        )


def _is_known(module: str) -> bool:
    return module.startswith(_OWN) and module.rpartition(".")[2] in _KNOWN


def _is_pickled(folder: Path) -> bool:
    return any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors"))
