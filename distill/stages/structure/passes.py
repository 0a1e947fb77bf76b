"""What is stored of a structure between its passes, so that a killed fit goes on after its last
whole one.

    <folder>/passes/<n>.json                    the state after n passes, its arrays by sha256
    <folder>/passes/<sha256>.safetensors        the arrays

The JSON is put where none is, last, and so makes a pass exist. Arrays lie apart since stores ignore
the condition of objects over 1 MiB; their key is their content, so writers of the same do not
meet, and of two drivers that differ in the last bits both go on with the first one's.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass

import safetensors.numpy

from distill.core.errors import StorageError
from distill.core.schema import seal, unseal
from distill.labelers.structure.base import State
from distill.models.record import weights_bytes
from distill.plan.structure_steps import PASSES
from distill.storage.base import HasSha256, Storage

log = logging.getLogger(__name__)

_RECORD = ".json"


@dataclass(frozen=True)
class Pass:
    """One whole pass: the state after it, and how many rows it could use."""

    state: State
    rows: int


def last_pass(folder: Storage) -> Pass | None:
    """Read the last pass that is whole; None where there is none."""
    passes = folder.folder(PASSES)
    records = [each.key for each in passes.list_objects() if each.key.endswith(_RECORD)]
    for key in reversed(records):
        try:
            return _read(passes, key)
        except StorageError as error:
            log.warning("%s The pass before it is taken.", error)
    return None


def keep_pass(folder: Storage, done: Pass) -> Pass:
    """Store a pass; return what is stored in its place: the first writer wins."""
    state = done.state
    passes = folder.folder(PASSES)
    content = weights_bytes(state.arrays)
    sha256 = hashlib.sha256(content).hexdigest()
    key = f"{state.passes:06d}{_RECORD}"
    # before the record, which says that they are there
    passes.put(_arrays_key(sha256), content)
    record = seal({"arrays": sha256, "plain": dict(state.plain), "rows": done.rows})
    if passes.put_if_absent(key, record):
        return done
    try:
        return _read(passes, key)
    except StorageError as error:
        log.warning("%s What was just found is gone on with.", error)
        return done


def _read(passes: Storage, key: str) -> Pass:
    record = unseal(passes.read(key), passes.url(key))
    sha256 = record["arrays"]
    is_pinned = HasSha256(sha256)
    content = passes.read(_arrays_key(sha256), is_pinned)
    if not is_pinned(content):
        raise StorageError(
            f"{passes.url(_arrays_key(sha256))} is damaged: its sha256 is not the one that {key}"
            " pins. Delete the folder and run again."
        )
    state = State(safetensors.numpy.load(content), record["plain"])
    return Pass(state, record["rows"])


def _arrays_key(sha256: str) -> str:
    return f"{sha256[:16]}.safetensors"
