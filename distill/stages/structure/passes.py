"""What is stored of a structure between its passes, so that a killed fit goes on after its last
whole one.

    <folder>/passes/<n>.json                    plain values after n passes, and the arrays' sha256
    <folder>/passes/<sha256>.safetensors        the arrays

The JSON is put where none is, last, and so makes a pass exist. Arrays lie apart since stores ignore
the condition of objects over 1 MiB; their key is their content, so writers of the same do not
meet, and of two drivers that differ in the last bits both go on with the first one's.
"""

from __future__ import annotations

import hashlib
import logging

import safetensors.numpy

from distill.core.errors import StorageError
from distill.core.schema import seal, unseal
from distill.labelers.structure.base import State
from distill.storage.base import Storage

log = logging.getLogger(__name__)

_RECORD = ".json"


def last_pass(folder: Storage) -> State | None:
    """Read the state after the last pass that is whole; None where there is none."""
    passes = folder.folder("passes")
    records = [each.key for each in passes.list_objects() if each.key.endswith(_RECORD)]
    for key in reversed(records):
        try:
            return _read(passes, key)
        except StorageError as error:
            log.warning("%s The pass before it is taken.", error)
    return None


def keep_pass(folder: Storage, state: State) -> State:
    """Store the state after a pass; return what is stored of that pass: the first writer wins."""
    passes = folder.folder("passes")
    content = safetensors.numpy.save(dict(state.arrays))
    sha256 = hashlib.sha256(content).hexdigest()
    # by number of passes, in as many digits as sort
    key = f"{state.passes:06d}{_RECORD}"
    passes.put(_arrays_key(sha256), content)
    record = seal({"arrays": sha256, "plain": dict(state.plain)})
    if passes.put_if_absent(key, record):
        return state
    return _read(passes, key)


def _read(passes: Storage, key: str) -> State:
    record = unseal(passes.read(key), passes.url(key))
    sha256 = record["arrays"]
    content = passes.read(_arrays_key(sha256))
    if hashlib.sha256(content).hexdigest() != sha256:
        raise StorageError(
            f"{passes.url(_arrays_key(sha256))} is damaged: its sha256 is not the one that {key}"
            " pins. Delete the folder and run again."
        )
    return State(safetensors.numpy.load(content), record["plain"])


def _arrays_key(sha256: str) -> str:
    return f"{sha256[:16]}.safetensors"
