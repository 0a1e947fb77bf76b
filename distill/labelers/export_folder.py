"""What `distill export` wrote, read back: the student's own files, or one of the folders that other
libraries load, whose `model.json` says what distill calls each tensor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from distill.core.errors import PoolError
from distill.core.schema import digest, unseal
from distill.models.encoder_module import FILES, as_bytes
from distill.models.record import ModelRecord, record_from_plain
from distill.models.text_files import TextFiles
from distill.storage.base import HasSha256, Storage

MODEL = "model.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class ExportFolder:
    """One export: what it says of itself, and its weights."""

    folder: Storage
    body: Mapping[str, Any]
    record: ModelRecord

    @property
    def sha256(self) -> str:
        """Which model it is: by its weights, of another library's folder by that form of them."""
        form = self.body.get("form")
        if form is None:
            return self.record.sha256
        files = {file: named["sha256"] for file, named in form["files"].items()}
        return digest([self.record.sha256, files, form["text"]])

    def tensors(self) -> dict[str, Tensor]:
        """Read the weights, by distill's names. Raises PoolError where they are damaged."""
        form = self.body.get("form")
        if form is None:
            content = self._read(WEIGHTS, self.record.sha256)
            return safetensors.torch.load(content)
        found: dict[str, Tensor] = {}
        for file, named in form["files"].items():
            tensors = safetensors.torch.load(self._read(file, named["sha256"]))
            found |= {ours: tensors[name] for name, ours in named["ours"].items()}
        for name, (what, shape) in form["made"].items():
            found[name] = (
                torch.eye(shape[0]) if what == "eye" else torch.full(shape, what == "ones")
            )
            found[name] = found[name].float()
        found[f"trunk.{FILES}"] = as_bytes(self._text_files(form))
        return found

    def _text_files(self, form: Mapping[str, Any]) -> TextFiles:
        """The text files that were written beside, which the network reads text by."""
        ((file, sha256),) = form["text"].items()
        tokenizer = self._read(file, sha256).decode()
        return TextFiles(tokenizer, form["config"], form["tokenizer_config"])

    def _read(self, key: str, sha256: str) -> bytes:
        is_pinned = HasSha256(sha256)
        content = self.folder.read(key, is_pinned)
        if not is_pinned(content):
            message = f"{self.folder.url(key)} is damaged: not what {MODEL} pins. Export it again."
            raise PoolError(message)
        return content


def read_export(folder: Storage) -> ExportFolder | None:
    """Read what an export says of itself; None without one. Raises StorageError if damaged."""
    content = folder.read_or_none(MODEL)
    if content is None:
        return None
    where = folder.url(MODEL)
    body = unseal(content, where)
    return ExportFolder(folder, body, record_from_plain(body["record"]))
