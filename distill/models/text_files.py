"""What reading text needs of a model's files: its tokenizer and its configuration. Both are text,
which runs no code, and together they are small enough to be kept within a student's own weights
(`to_bytes`): a student can be loaded where the model that it began as is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from distill.core.errors import JobError, MissingExtraError
from distill.models.files import ModelFiles, local_model

UNLIMITED = 1 << 30
"""Tokens of a text where a model knows no limit."""
_TOKENIZERS = ("tokenizer.json", "0_StaticEmbedding/tokenizer.json", "tokenizers/*.json")
"""Where a tokenizer lies: of Hugging Face's, model2vec's and sentence-transformers' folders, and of
wordllama's."""
_VOCABULARIES = ("vocab*", "*.model", "merges.txt")
"""Files that older tokenizers keep their words in."""
_POSITIONS = ("max_position_embeddings", "n_positions", "max_seq_len")
_BEHIND_PADDING = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer")
"""Architectures whose positions begin behind that of padding."""


@dataclass(frozen=True, eq=False)
class TextFiles:
    """A tokenizer, as its library writes it, and what `config.json` and `tokenizer_config.json`
    say."""

    tokenizer: str
    config: Mapping[str, Any] = field(default_factory=dict)
    tokenizer_config: Mapping[str, Any] = field(default_factory=dict)

    @property
    def most_tokens(self) -> int:
        """How many tokens of a text the model can take."""
        limits = [UNLIMITED]
        for key in _POSITIONS:
            positions = self.config.get(key)
            if isinstance(positions, int) and positions > 0:
                limits.append(positions - self._first_position)
        longest = self.tokenizer_config.get("model_max_length")
        # a tokenizer that knows no limit says 10³⁰
        if isinstance(longest, int | float) and 0 < longest < UNLIMITED:
            limits.append(int(longest))
        return min(limits)

    @property
    def _first_position(self) -> int:
        if self.config.get("model_type") not in _BEHIND_PADDING:
            return 0
        return int(self.config.get("pad_token_id") or 0) + 1

    def to_bytes(self) -> bytes:
        """Return all of it as JSON."""
        plain = {
            "config": self.config,
            "tokenizer": self.tokenizer,
            "tokenizer_config": self.tokenizer_config,
        }
        return json.dumps(plain, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, content: bytes) -> TextFiles:
        """Return what `to_bytes` was made of."""
        plain = json.loads(content)
        return cls(plain["tokenizer"], plain["config"], plain["tokenizer_config"])


@lru_cache(maxsize=8)
def text_files_of(files: ModelFiles) -> TextFiles:
    """Read the text files of an identified model, which is fetched where it lies elsewhere. Raises
    JobError."""
    return read_text_files(local_model(files))


def read_text_files(folder: Path) -> TextFiles:
    """Read the text files of a model's folder. Raises JobError where it has no tokenizer."""
    config = _json_of(folder / "config.json")
    tokenizer_config = _json_of(folder / "tokenizer_config.json")
    found = next(_tokenizer_files(folder), None)
    if found is None:
        return TextFiles(_converted_tokenizer(folder), config, tokenizer_config)
    return TextFiles(found.read_text("utf-8"), config, tokenizer_config)


def require_text_extra(purpose: str) -> None:
    """Refuse to read text by tokens where the libraries for it are not installed. Raises
    MissingExtraError."""
    for library in ("tokenizers", "transformers"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "text", purpose)


def _tokenizer_files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        return
    for pattern in _TOKENIZERS:
        yield from sorted(folder.glob(pattern))


def _converted_tokenizer(folder: Path) -> str:
    """The tokenizer of a folder that has only its older files, such as `vocab.txt`."""
    require_text_extra(f"the tokenizer in {folder}")
    import transformers

    try:
        # transformers 5 makes a tokenizer of no words where there are none
        if not any(file.is_file() for each in _VOCABULARIES for file in folder.glob(each)):
            raise OSError(f"none of {', '.join(_VOCABULARIES)} is there")
        loaded = transformers.AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        return str(loaded.backend_tokenizer.to_str())
    except (OSError, ValueError, KeyError, AttributeError, ImportError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise JobError(
            f"{folder} has no tokenizer.json, and nothing that makes one: {first_line}. Save the"
            " model's tokenizer beside it, by tokenizer.save_pretrained."
        ) from None


def _json_of(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        content = json.loads(file.read_text("utf-8"))
    except ValueError:
        raise JobError(f"{file} is no JSON. Save the model anew.") from None
    return content if isinstance(content, dict) else {}
