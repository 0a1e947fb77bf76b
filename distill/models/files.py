"""A model that somebody else trained, as files: where it lies, which it is, and how it comes to the machine that needs it.

It is known by the sha256 of what is in it, wherever it lies. The driver takes that once (`identify_model`); it is remembered by names,
sizes and times, since a large model takes minutes to read. A labeler's machine brings it near (`local_model`): a path is used where it is,
everything else is fetched once a machine, under a lock, and not once an actor. Files that were swapped in between are refused.

Only formats that hold no code are ever opened: safetensors, JSON, tokenizers' text, and skops files by their declared types.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from filelock import FileLock

from distill.errors import JobError, MissingExtraError
from distill.job.paths import HUB, is_hub
from distill.schema import digest
from distill.storage import Entry, is_hidden, is_remote, open_storage

CACHE = "DISTILL_CACHE"
"""Environment variable: the folder of fetched models; by default `~/.cache/distill`."""
_UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack", ".py")
_CHUNK_BYTES = 1 << 22


@dataclass(frozen=True)
class ModelFiles:
    """One model: where it lies (a hub's at the commit that was found), and the digest of its files."""

    uri: str
    sha256: str


def identify_model(uri: str, pinned: str | None, where: str) -> ModelFiles:
    """Which model lies at `uri`; `where` is the key that says so. Raises JobError where there is none, or another than `pinned`."""
    if is_hub(uri):
        uri = _at_commit(uri)
    found = _digest_of(uri, where)
    if pinned is not None and found != pinned:
        raise JobError(
            f"{where}: the model at {uri} has sha256 {found}, and {pinned} is pinned. Restore it, or pin the one that is there."
        )
    return ModelFiles(uri, found)


def local_model(files: ModelFiles) -> Path:
    """The model on this machine: a file or folder. Raises JobError where it is not the one that was identified."""
    found = _digest_of(files.uri, "the labeler's model")
    if found != files.sha256:
        raise JobError(
            f"the model at {files.uri} changed while it was in use: sha256 {files.sha256} before, {found} now. Restore it, and run again."
        )
    return _fetched(files.uri)


def _digest_of(uri: str, where: str) -> str:
    """sha256 of a model's files: of one file its own, of a folder's over their names and digests."""
    path = _fetched(uri)
    files = _files_below(path)
    if not files:
        raise JobError(f"{where} = {uri!r}: no model lies there. Check the path.")
    known = _cache("digests") / digest(
        [[str(path), name, status.st_size, status.st_mtime_ns] for name, status in files.items()]
    )
    if known.is_file() and len(said := known.read_text("ascii")) == 64:
        return said
    each = {name: _sha256(path / name if name else path) for name in files}
    found = each[""] if "" in each else digest(sorted(each.items()))
    _write(known, found)
    return found


def _files_below(path: Path) -> dict[str, os.stat_result]:
    """What a model is, by name: no hidden files, no prose, no checkpoints, and nothing that runs when it is opened. A file is itself, named ""."""
    if path.is_file():
        return {"": path.stat()}
    names = sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())
    return {name: (path / name).stat() for name in names if _is_kept(name)}


def _is_kept(name: str) -> bool:
    of_training = "checkpoints" in name.split("/")[:-1]
    return not is_hidden(name) and not of_training and not name.lower().endswith((".md", *_UNSAFE))


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()


def _fetched(uri: str) -> Path:
    """The model's path on this machine, fetched first where it is elsewhere."""
    if is_hub(uri):
        return _once(digest(uri), lambda folder: _fetch_from_hub(uri, folder))
    if not is_remote(uri):
        return Path(uri)
    entries = [entry for entry in open_storage(uri).list_objects() if _is_kept(entry.key)]
    listed = digest([uri, *([entry.key, entry.size_bytes, entry.token] for entry in entries)])
    return _once(listed, lambda folder: _fetch_objects(uri, entries, folder))


def _once(name: str, fetch: Callable[[Path], None]) -> Path:
    """What `fetch` puts into a folder, done once a machine: whoever comes second waits for the first."""
    folder = _cache("models") / name
    if folder.is_dir():
        return folder
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            part = folder.with_name(f"{name}.{uuid.uuid4().hex}")
            part.mkdir()
            try:
                fetch(part)
                part.rename(folder)
            finally:
                shutil.rmtree(part, ignore_errors=True)
    return folder


def _fetch_objects(uri: str, entries: list[Entry], folder: Path) -> None:
    storage = open_storage(uri)
    for entry in entries:
        target = folder / entry.key
        target.parent.mkdir(parents=True, exist_ok=True)
        with storage.open(entry.key) as source, target.open("wb") as kept:
            shutil.copyfileobj(source, kept, _CHUNK_BYTES)


def _fetch_from_hub(uri: str, folder: Path) -> None:
    name, _, revision = uri.removeprefix(HUB).partition("@")
    unsafe = [f"*{ending}" for ending in _UNSAFE]
    _hub().snapshot_download(name, revision=revision, local_dir=folder, ignore_patterns=unsafe)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _at_commit(uri: str) -> str:
    """The same model at the commit that its revision names now: a branch must not move between two actors."""
    name, _, revision = uri.removeprefix(HUB).partition("@")
    return f"{HUB}{name}@{_hub().HfApi().model_info(name, revision=revision).sha}"


def _hub() -> ModuleType:
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise MissingExtraError("huggingface_hub", "text", "a model of the Hugging Face hub") from None


def _cache(kind: str) -> Path:
    folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "distill") / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    part.write_text(text, "ascii")
    part.replace(file)
