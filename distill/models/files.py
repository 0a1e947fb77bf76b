"""A model that somebody else trained, as files: where it lies, which it is, and how it comes to the
machine that needs it.

It is known by the sha256 of what is in it, wherever it lies. The driver takes that once
(`identify_model`); it is remembered by names, sizes and times, since a large model takes minutes to
read. A labeler's machine brings it near (`local_model`): a path is used where it is, everything
else is fetched once a machine, under a lock, and not once an actor. Files that were swapped in
between are refused.

Only formats that hold no code are ever opened: safetensors, JSON, tokenizers' text, and skops files
by their declared types.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from filelock import FileLock

from distill.core.errors import JobError, MissingExtraError, StorageError
from distill.core.schema import digest
from distill.models.record import METRICS
from distill.spec.uris import CACHE, HUB, is_hub
from distill.storage.base import ObjectMeta, is_hidden
from distill.storage.open import is_remote, open_storage

_UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack", ".py")
_CHUNK_BYTES = 1 << 22
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ModelFiles:
    """One model: where it lies (a hub's at the commit that was found), and the digest of its files."""

    uri: str
    sha256: str


def identify_model(uri: str, pinned: str | None, where: str) -> ModelFiles:
    """Which model lies at `uri`; `where` is the key that says so. Raises JobError where there is
    none.

    One that is `pinned` is believed, so that labels can be read where the model is not; whoever
    opens it holds it against the pin.
    """
    if is_hub(uri):
        uri = _at_commit(uri)
    return ModelFiles(uri, pinned or _found(uri, where)[1])


def local_model(files: ModelFiles) -> Path:
    """The model on this machine: a file or folder. Raises JobError where it is not the one that was
    identified."""
    path, found = _found(files.uri, "the labeler's model")
    if found != files.sha256:
        raise JobError(
            f"the model at {files.uri} has sha256 {found}, where {files.sha256} is due: it changed,"
            " or another one is pinned. Restore it, or pin it."
        )
    return path


def _found(uri: str, where: str) -> tuple[Path, str]:
    """A model's path on this machine and its sha256: of one file its own, of a folder's over their
    names and digests."""
    path = _fetched(uri)
    files = _files_below(path)
    if not files:
        raise JobError(
            f"{where} = {uri!r}: no model lies there, on this machine. Put it where every machine"
            " reads it, or correct the path."
        )
    known = _cache("digests") / digest(
        [[str(path), name, status.st_size, status.st_mtime_ns] for name, status in files.items()]
    )
    with FileLock(
        f"{known}.lock"
    ):  # one actor of a machine reads it; the others wait for what it finds
        if not known.is_file():
            each = {name: _sha256(path / name if name else path) for name in files}
            _write(known, each[""] if "" in each else digest(sorted(each.items())))
        return path, known.read_text("ascii")


def _files_below(path: Path) -> dict[str, os.stat_result]:
    """What a model is, by name: no hidden files, no prose, no checkpoints, no metrics, and nothing
    that runs when it is opened. A file is itself, named ""."""
    if path.is_file():
        return {"": path.stat()}
    names = sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())
    return {name: (path / name).stat() for name in names if _is_kept(name)}


def _is_kept(name: str) -> bool:
    of_training = "checkpoints" in name.split("/")[:-1] or name == METRICS
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
    entries = _listed(uri)
    listed = digest([uri, *([entry.key, entry.size_bytes, entry.token] for entry in entries)])
    folder = _once(listed, lambda folder: _fetch_objects(uri, entries, folder))
    is_file = [entry.key for entry in entries] == [uri.rpartition("/")[2]]
    return folder / entries[0].key if is_file else folder


def _listed(uri: str) -> list[ObjectMeta]:
    return [entry for entry in open_storage(uri).list_objects() if _is_kept(entry.key)]


def _once(name: str, fetch: Callable[[Path], None]) -> Path:
    """What `fetch` puts into a folder, done once a machine: whoever comes second waits for the
    first."""
    folder = _cache("models") / name
    if folder.is_dir():
        return folder
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            part = folder.with_name(f"{name}.part")
            shutil.rmtree(part, ignore_errors=True)  # of a fetch that was killed
            part.mkdir()
            fetch(part)
            part.rename(folder)
    return folder


def _fetch_objects(uri: str, entries: list[ObjectMeta], folder: Path) -> None:
    storage = open_storage(uri)
    for entry in entries:
        target = folder / entry.key
        if not target.resolve().is_relative_to(folder.resolve()):
            raise StorageError(
                f"{storage.url(entry.key)} would be written outside the model's folder. Rename it."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with storage.open(entry.key) as source, target.open("wb") as kept:
            shutil.copyfileobj(source, kept, _CHUNK_BYTES)
    if _listed(uri) != entries:  # else they would be kept under the name of what was listed
        raise StorageError(
            f"{uri}: the model was replaced while it was fetched. Run the same command again."
        )


def _fetch_from_hub(uri: str, folder: Path) -> None:
    name, _, revision = uri.removeprefix(HUB).partition("@")
    unsafe = [f"*{ending}" for ending in _UNSAFE]
    with _told_of_hub(uri):
        _hub().snapshot_download(name, revision=revision, local_dir=folder, ignore_patterns=unsafe)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _at_commit(uri: str) -> str:
    """The same model at the commit that its revision names now: a branch must not move between two
    actors."""
    name, _, revision = uri.removeprefix(HUB).partition("@")
    if _COMMIT.fullmatch(revision):
        return uri
    with _told_of_hub(uri):
        return f"{HUB}{name}@{_hub().HfApi().model_info(name, revision=revision).sha}"


@contextmanager
def _told_of_hub(uri: str) -> Iterator[None]:
    """What the hub refuses, and where it does not answer, in our words."""
    try:
        yield
    except OSError as error:
        said = str(error).strip().partition("\n")[0]
        raise JobError(
            f"{uri} cannot be had of the Hugging Face hub: {said}. Check name and revision,"
            " HF_TOKEN where the model is gated, and the line; a revision that is a commit needs"
            " no line once the model was fetched."
        ) from error


def _hub() -> ModuleType:
    try:
        return import_module("huggingface_hub")
    except ModuleNotFoundError:
        raise MissingExtraError(
            "huggingface_hub", "text", "a model of the Hugging Face hub"
        ) from None


def _cache(kind: str) -> Path:
    folder = Path(os.environ.get(CACHE) or Path.home() / ".cache" / "distill") / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    part.write_text(text, "ascii")
    part.replace(file)
