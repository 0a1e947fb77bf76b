"""Text → embeddings by a sentence-transformers model, whose folder runs no code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from distill.core.errors import LabelerError
from distill.labelers.base import Matrix
from distill.labelers.runtime import Runtime, computing
from distill.labelers.transformer import TEXT_LIBRARIES, UNLIMITED, position_limit, require_whole

# by the names that are imported, and those that are installed
ENCODER_LIBRARIES = {"sentence_transformers": "sentence-transformers", **TEXT_LIBRARIES}
_LIBRARY = "sentence_transformers."
# classes of the library's modules that only compute
_KNOWN = {"Transformer", "Pooling", "Normalize", "Dense", "StaticEmbedding"}
_ROWS_AT_ONCE = 128


class Encoder:
    """Text → embeddings (rows, width); the library sorts by length and puts back in order."""

    def __init__(self, runtime: Runtime) -> None:
        import torch
        from sentence_transformers import SentenceTransformer

        folder = runtime.local_model()
        _refuse_code(folder)
        self.runtime = runtime
        # all files are here: nothing is asked of the hub, and no code of the folder is run
        self.model: Any = SentenceTransformer(
            str(folder),
            device=runtime.device,
            local_files_only=True,
            trust_remote_code=False,
            model_kwargs={"use_safetensors": True, "dtype": torch.float32},
        )
        for number, path in enumerate(_module_paths(folder)):
            module = self.model[number]
            _require_whole_module(module, path)
        limit = position_limit(self.model)
        longest = self.model.max_seq_length
        if limit < UNLIMITED and (longest is None or longest > limit):
            self.model.max_seq_length = limit

    @property
    def width(self) -> int:
        """Numbers of an embedding."""
        # renamed in sentence-transformers 6, which warns of the old name
        get_width = getattr(self.model, "get_embedding_dimension", None)
        if get_width is None:
            get_width = self.model.get_sentence_embedding_dimension
        return int(get_width())

    def embeddings(self, texts: list[str], *, normalize: bool) -> Matrix:
        """Embed texts: (rows, width) float32, each scaled to length 1 with `normalize`."""
        with computing(self.runtime.device, self.runtime.precision):
            embeddings = self.model.encode(
                texts,
                batch_size=_ROWS_AT_ONCE,
                normalize_embeddings=normalize,
                show_progress_bar=False,
                convert_to_numpy=True,
            )
        return np.asarray(embeddings, np.float32)


def _refuse_code(folder: Path) -> None:
    """Refuse a folder whose model would run code. Raises LabelerError."""
    # it names the classes of its modules, and only the library's own are made
    listed = folder / "modules.json"
    if not listed.is_file():
        raise LabelerError(
            f"{folder} has no modules.json, so it is no sentence-transformers model."
            " Save it by SentenceTransformer.save."
        )
    text = listed.read_text("utf-8")
    modules = json.loads(text)
    # weights first: a pickle runs code when it is opened, whatever class opens it
    for module in modules:
        path = module["path"]
        weights = folder / path
        if _is_pickled(weights):
            raise LabelerError(
                f"{weights} has weights in a format that can run code, and none in safetensors."
                " Save the model anew."
            )
    foreign = [module["type"] for module in modules if not _is_known(str(module["type"]))]
    if foreign:
        raise LabelerError(
            f"{listed} names code that is not the library's own: {foreign}."
            " distill does not run it."
        )


def _module_paths(folder: Path) -> list[Path]:
    """Where each of the model's modules lies, in their order."""
    modules = json.loads((folder / "modules.json").read_text("utf-8"))
    return [folder / module["path"] for module in modules]


def _require_whole_module(module: Any, path: Path) -> None:
    """Refuse a module of transformers whose weights the library would draw. Raises LabelerError."""
    network = getattr(module, "auto_model", None)
    if network is None:  # others are refused by the library itself
        return
    # once more, since sentence-transformers keeps what was found of the loading to itself
    _, loading = type(network).from_pretrained(
        path,
        config=network.config,
        local_files_only=True,
        use_safetensors=True,
        output_loading_info=True,
        ignore_mismatched_sizes=True,
    )
    require_whole(loading, path)


def _is_known(name: str) -> bool:
    return name.startswith(_LIBRARY) and name.rpartition(".")[2] in _KNOWN


def _is_pickled(folder: Path) -> bool:
    return any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors"))
