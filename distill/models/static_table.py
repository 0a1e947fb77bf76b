"""A table of token vectors in a folder: found, and read without torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import safetensors

from distill.core.errors import JobError
from distill.models.encoder_files import require_safetensors
from distill.models.files import local_model
from distill.models.text_files import TextFiles, read_text_files, require_text_extra

if TYPE_CHECKING:
    from distill.models.networks.static import StaticNetwork

Vectors = npt.NDArray[np.float32]

_FILES = ("*.safetensors", "0_StaticEmbedding/*.safetensors", "weights/*.safetensors")
"""Where a table lies: of model2vec's, Hugging Face's, sentence-transformers' and wordllama's
folders."""
_NAMES = (
    "embeddings",
    "embedding.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "embed_tokens.weight",
    "wte.weight",
)
"""What a table is called, or how its name ends: of model2vec, of wordllama, of encoders."""


@dataclass(frozen=True)
class TokenTable:
    """A vector a token, a weight a token, and the tokenizer."""

    vectors: Vectors
    """(V, H)."""
    weights: Vectors
    """(V,)."""
    files: TextFiles


def require_static_files(table: StaticNetwork, where: str) -> None:
    """Refuse a folder that holds no table of token vectors; `where` is the network's key. Raises
    JobError."""
    require_text_extra(f'{where}.kind = "static"')
    folder = local_model(table.files)
    _find_table(folder, where)
    read_text_files(folder)


def read_token_table(folder: Path, where: str) -> TokenTable:
    """Read the table of a folder. Raises JobError where there is none, or one of fewer vectors than
    its tokenizer has tokens."""
    require_text_extra(f'{where}.kind = "static"')
    file, name = _find_table(folder, where)
    files = read_text_files(folder)
    with safetensors.safe_open(file, framework="numpy") as opened:
        names = set(opened.keys())
        vectors = opened.get_tensor(name).astype(np.float32)
        if "mapping" in names:  # of model2vec, where tokens share vectors
            vectors = vectors[opened.get_tensor("mapping")]
        weights = np.ones(len(vectors), np.float32)
        if "weights" in names:
            weights = opened.get_tensor("weights").astype(np.float32)
    tokens = _token_count(files)
    if len(vectors) < tokens:
        raise JobError(
            f"{where}.model: {file} has {len(vectors):,} vectors, but the tokenizer in {folder} has"
            f" {tokens:,} tokens. Name the tokenizer's own table."
        )
    # rows behind the last token, as encoders have for the sake of even shapes, are no token's
    return TokenTable(vectors[:tokens], weights[:tokens], files)


def _find_table(folder: Path, where: str) -> tuple[Path, str]:
    """The file and the name of the one table that a folder has."""
    if folder.is_file():
        raise JobError(
            f"{where}.model: {folder} is one file, where a folder is due that has the tokenizer"
            " too. Put both into one."
        )
    found = list(_tables(folder))
    if not found:
        if not any(folder.glob("*/*.safetensors")):
            require_safetensors(folder, where)
        raise JobError(
            f"{where}.model: {folder} has no table of token vectors: no matrix called"
            f" {', '.join(_NAMES)}. Name a folder of model2vec, of wordllama or of an encoder."
        )
    return found[0]


def _tables(folder: Path) -> Iterator[tuple[Path, str]]:
    for pattern in _FILES:
        for file in sorted(folder.glob(pattern)):
            with safetensors.safe_open(file, framework="numpy") as opened:
                for name in sorted(opened.keys()):
                    is_matrix = len(opened.get_slice(name).get_shape()) == 2
                    if is_matrix and name.endswith(_NAMES):
                        yield file, name


def _token_count(files: TextFiles) -> int:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_str(files.tokenizer)
    numbers = tokenizer.get_vocab().values()
    return 1 + max(numbers)
