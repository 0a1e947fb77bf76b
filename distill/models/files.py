"""A model that somebody else trained, as files: where it lies, which it is, and how it comes to the
machine that needs it.

It is known by the sha256 of what is in it, wherever it lies. The driver takes that once
(`identify_model`). A labeler's machine brings it near (`local_model`): a path is used where it is,
everything else is fetched once a machine. Files that were swapped in between are refused.

Only formats that hold no code are ever opened: safetensors, JSON, tokenizers' text, and skops files
by their declared types.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType

from distill.core.errors import JobError, MissingExtraError, StorageError
from distill.core.schema import digest
from distill.spec.uris import CACHE, HUB, is_hub, is_remote
from distill.storage.base import ObjectMeta, is_hidden
from distill.storage.open import open_storage

# formats that hold code, which runs when they are opened
_UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".h5", ".msgpack", ".py")
_CHUNK_BYTES = 1 << 22
METRICS = "metrics.jsonl"
"""Beside a trained model, of how it was trained: no part of it."""
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class ModelFiles:
    """One model: where it lies (a hub's at the commit that was found), and its files' digest."""

    uri: str
    sha256: str


def identify_model(uri: str, pinned: str | None, where: str) -> ModelFiles:
    """Return which model lies at `uri`; `where` is the key that names it. Raises JobError where
    there is none, and it is not `pinned`."""
    if is_hub(uri):
        uri = _at_commit(uri)
    # believed, so that labels can be read where the model is not; whoever opens it holds it against
    # the pin
    if pinned:
        return ModelFiles(uri, pinned)
    _, sha256 = _near_model(uri, where)
    return ModelFiles(uri, sha256)


def local_model(files: ModelFiles) -> Path:
    """Return the model on this machine, a file or folder, fetched where it is elsewhere. Raises
    JobError where it is not the one that was identified."""
    path, sha256 = _near_model(files.uri, "the labeler's model")
    if sha256 != files.sha256:
        raise JobError(
            f"the model at {files.uri} has sha256 {sha256}, where {files.sha256} is due: it"
            " changed, or another one is pinned. Restore it, or pin it."
        )
    return path


def read_model_file(uri: str, name: str) -> bytes | None:
    """Read one small file of the model folder at `uri`, without fetching its weights; None where it
    has none of that name. Raises JobError where the hub cannot be reached, StorageError."""
    if not is_hub(uri):
        return open_storage(uri).read_or_none(name)
    repository, _, revision = uri.removeprefix(HUB).partition("@")
    hub = _hub()
    # a commit does not change: what is known of it, also that it lacks a file, needs no line
    if _COMMIT.fullmatch(revision):
        cached = hub.try_to_load_from_cache(repository, name, revision=revision)
        if cached is not None:
            return Path(cached).read_bytes() if isinstance(cached, str) else None
    with _hub_errors(uri):
        try:
            file = hub.hf_hub_download(repository, name, revision=revision)
        except hub.errors.LocalEntryNotFoundError:
            raise  # it could not be asked for, which says nothing of whether it is there
        except hub.errors.EntryNotFoundError:
            return None
    return Path(file).read_bytes()


def _near_model(uri: str, where: str) -> tuple[Path, str]:
    """A model's path on this machine and its sha256: of one file its own, of a folder's over their
    names and digests."""
    path = _fetched(uri)
    files = _files_below(path)
    if not files:
        raise JobError(
            f"{where} = {uri!r}: no model lies there, on this machine. Put it where every machine"
            " reads it, or correct the path."
        )
    statuses = [
        [str(path), name, status.st_size, status.st_mtime_ns] for name, status in files.items()
    ]
    # by names, sizes and times: to read a large model takes minutes
    remembered = _cache("digests") / digest(statuses)
    # one actor of a machine reads the model; the others wait for what it finds
    from filelock import FileLock

    with FileLock(f"{remembered}.lock"):
        if not remembered.is_file():
            found = _digest_of(path, files)
            _write(remembered, found)
        return path, remembered.read_text("ascii")


def _files_below(path: Path) -> dict[str, os.stat_result]:
    """A model's files, by name: none that are hidden, prose, checkpoints or metrics, and none that
    run when they are opened. Of a path that is a file: itself, named ""."""
    if path.is_file():
        return {"": path.stat()}
    # sorted, since a file system lists them in any order and the digest is over them in this one
    names = sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file())
    return {name: (path / name).stat() for name in names if _belongs(name)}


def _belongs(name: str) -> bool:
    folders = name.split("/")[:-1]
    of_training = "checkpoints" in folders or name == METRICS
    is_unsafe = name.lower().endswith((".md", *_UNSAFE))
    return not is_hidden(name) and not of_training and not is_unsafe


def _digest_of(path: Path, names: Iterable[str]) -> str:
    # of a path that is a file, the one name is ""
    if path.is_file():
        return _sha256(path)
    each = {name: _sha256(path / name) for name in names}
    in_order = sorted(each.items())
    return digest(in_order)


def _sha256(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            total.update(chunk)
    return total.hexdigest()


def _fetched(uri: str) -> Path:
    """The model's path on this machine, fetched first where it is elsewhere."""
    if is_hub(uri):
        return _fetched_once(digest(uri), lambda folder: _fetch_from_hub(uri, folder))
    if not is_remote(uri):
        return Path(uri)
    objects = _list_model(uri)
    # with their tokens: a model that was replaced in its place is fetched into another folder
    listed = [[each.key, each.size_bytes, each.token] for each in objects]
    name = digest([uri, *listed])
    folder = _fetched_once(name, lambda folder: _fetch_objects(uri, objects, folder))
    is_file = [each.key for each in objects] == [uri.rpartition("/")[2]]
    return folder / objects[0].key if is_file else folder


def _list_model(uri: str) -> list[ObjectMeta]:
    return [each for each in open_storage(uri).list_objects() if _belongs(each.key)]


def _fetched_once(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder that `fetch` fills, filled once a machine: who comes second waits for the
    first."""
    folder = _cache("models") / name
    if folder.is_dir():
        return folder
    from filelock import FileLock

    with FileLock(f"{folder}.lock"):
        # once more: who held the lock may have filled it
        if not folder.is_dir():
            part = folder.with_name(f"{name}.part")
            shutil.rmtree(part, ignore_errors=True)  # of a fetch that was killed
            part.mkdir()
            fetch(part)
            # what has this name is whole: readers above ask for no lock
            part.rename(folder)
    return folder


def _fetch_objects(uri: str, objects: list[ObjectMeta], folder: Path) -> None:
    storage = open_storage(uri)
    for each in objects:
        target = folder / each.key
        # a store takes any key, "../" in it too
        if not target.resolve().is_relative_to(folder.resolve()):
            raise StorageError(
                f"{storage.url(each.key)} would be written outside the model's folder. Rename it."
            )
        target.parent.mkdir(parents=True, exist_ok=True)
        with storage.open(each.key) as source, target.open("wb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK_BYTES)
    # else another model's files would lie under the name of what was listed
    if _list_model(uri) != objects:
        raise StorageError(
            f"{uri}: the model was replaced while it was fetched. Run the same command again."
        )


def _fetch_from_hub(uri: str, folder: Path) -> None:
    name, _, revision = uri.removeprefix(HUB).partition("@")
    unsafe = [f"*{ending}" for ending in _UNSAFE]
    with _hub_errors(uri):
        _hub().snapshot_download(name, revision=revision, local_dir=folder, ignore_patterns=unsafe)
    shutil.rmtree(folder / ".cache", ignore_errors=True)


def _at_commit(uri: str) -> str:
    """The same model at the commit that its revision names now: a branch must not move between two
    actors."""
    name, _, revision = uri.removeprefix(HUB).partition("@")
    if _COMMIT.fullmatch(revision):
        return uri
    with _hub_errors(uri):
        commit = _hub().HfApi().model_info(name, revision=revision).sha
    return f"{HUB}{name}@{commit}"


@contextmanager
def _hub_errors(uri: str) -> Iterator[None]:
    """Say in our words what the hub refuses, and where it cannot be reached."""
    try:
        yield
    except OSError as error:
        first_line, _, _ = str(error).strip().partition("\n")
        raise JobError(
            f"{uri} cannot be had of the Hugging Face hub: {first_line}. Check name and revision,"
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
    base = os.environ.get(CACHE) or Path.home() / ".cache" / "distill"
    folder = Path(base) / kind
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _write(file: Path, text: str) -> None:
    # renamed when it is whole: a reader elsewhere sees all of it, or nothing
    part = file.with_name(f"{file.name}.{uuid.uuid4().hex}")
    part.write_text(text, "ascii")
    part.replace(file)
