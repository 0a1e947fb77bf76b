"""Where training goes on after a kill: weights, those of the best epoch, optimiser and position, in
safetensors and one sealed JSON written last.

The newest checkpoint whose parts are whole is taken; a torn one is passed over.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass, field
from typing import Any, Protocol

import safetensors.torch
import torch
from torch import Tensor, nn

from distill.core.errors import ContractError, StorageError
from distill.core.schema import seal, unseal
from distill.models.network import apart
from distill.stages.train.table_rows import find_tables
from distill.storage.base import HasSha256, Storage

# checkpoints of one training: the newest, and one more in case it is torn
KEPT = 2

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Position:
    """How far a training is: global steps taken, and the losses of the epochs so far."""

    step: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    # of the epoch under way, a row a term (`CombinedLoss`); empty at its start
    sums: list[list[float]] = field(default_factory=list)
    # the weights of the best epoch so far, where a measure says which that is
    best: dict[str, Tensor] = field(default_factory=dict, compare=False)


class Resumable(Protocol):
    """What of an optimiser a checkpoint needs, as torch's have it."""

    def state_dict(self) -> dict[str, Any]:
        """Return `state`, by the number of each parameter, and `param_groups`."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        """Go on from that state, after `step` steps."""


def save_checkpoint(
    folder: Storage, position: Position, order: str, network: nn.Module, optimizer: Resumable
) -> None:
    """Keep the state after `position.step` steps through rows in that order (`Sampler.digest`)."""
    tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
    tensors |= {f"best.{name}": value for name, value in position.best.items()}
    for number, state in optimizer.state_dict()["state"].items():
        for name, value in state.items():
            tensors[f"optimizer.{number}.{name}"] = torch.as_tensor(value)
    content = safetensors.torch.save(apart(tensors))
    digest = hashlib.sha256(content).hexdigest()
    # padded, so that a listing is in the order of steps
    key = f"step_{position.step:09d}"
    # named by its digest: the same step, taken again, overwrites no tensors that a JSON names
    folder.put(f"{key}.{digest[:8]}.safetensors", content)
    body = {
        "step": position.step,
        "history": position.history,
        "sums": position.sums,
        "order": order,
        "parameters": _parameters(network),
        "sha256": digest,
    }
    # last: a checkpoint without it does not exist
    folder.put(f"{key}.json", seal(body))
    _delete_old(folder)


def newest_checkpoint(folder: Storage, order: str) -> str | None:
    """Return the key of the newest checkpoint whose parts are whole, and that took rows in that
    order. Other trouble than a torn checkpoint is raised.

    Those of another order are deleted: an older distill made them, and none can go on from them."""
    keys = [entry.key for entry in folder.list_objects() if entry.key.endswith(".json")]
    # keys are listed in order, so the newest is the last
    for key in reversed(keys):
        try:
            body = _read_body(folder, key)
            if body.get("order") != order:
                log.warning(
                    "%s took rows in another order: it is deleted, and the training goes on"
                    " without it",
                    key,
                )
                _delete(folder, key)
                continue
            sha256 = body["sha256"]
            _read_tensors(folder, key, sha256)
        except _TornError as error:
            log.warning("a torn checkpoint is passed over: %s", error)
        else:
            return key
    return None


def load_checkpoint(
    folder: Storage, key: str, network: nn.Module, optimizer: Resumable
) -> Position:
    """Put one checkpoint's state into `network` and `optimizer`. Raises StorageError, and
    ContractError where it is of another network."""
    body = _read_body(folder, key)
    _require_same_parameters(body.get("parameters"), network, folder.url(key))
    tensors = _read_tensors(folder, key, body["sha256"])
    weights = _below(tensors, "network.")
    network.load_state_dict(weights)
    state = _below(tensors, "optimizer.")
    step = body["step"]
    _load_optimizer(optimizer, step, state)
    return Position(
        body["step"],
        body["history"],
        # older checkpoints have none
        body.get("sums", []),
        _below(tensors, "best."),
    )


def _parameters(network: nn.Module) -> list[list[Any]]:
    """Name and shape of each that is trained, in the network's order."""
    by_rows = find_tables(network)
    return [
        [name, list(each.shape)]
        for name, each in network.named_parameters()
        if each.requires_grad or name in by_rows
    ]


def _require_same_parameters(
    stored: list[list[Any]] | None, network: nn.Module, where: str
) -> None:
    """Refuse a checkpoint of other parameters."""
    # the optimiser's state is by their position. Older checkpoints do not say theirs.
    own = _parameters(network)
    if stored is None or stored == own:
        return
    # a class may have changed under the same `revision`, which is all that is known of it
    other = [name for name, shape in stored if [name, shape] not in own]
    raise ContractError(
        f"{where} was taken of a network that trained other parameters:"
        f" {other or 'some are new, or in another order'}. Its class changed under the same"
        " `revision`: restore the file, or change the revision, and it is trained anew."
    )


def _delete_old(folder: Storage) -> None:
    """Delete all but the newest checkpoints."""
    # all parts of one begin with its step
    steps = {entry.key: entry.key.partition(".")[0] for entry in folder.list_objects()}
    # by step and not by object: tensors without a JSON are of a checkpoint that was torn
    old = sorted(set(steps.values()))[:-KEPT]
    for key, step in steps.items():
        if step in old:
            folder.delete(key)


def _delete(folder: Storage, key: str) -> None:
    parts = key.partition(".")
    step = parts[0]
    for entry in folder.list_objects():
        if entry.key.partition(".")[0] == step:
            folder.delete(entry.key)


class _TornError(StorageError):
    """A part is missing, or is not what was written."""


def _read_body(folder: Storage, key: str) -> dict[str, Any]:
    content = folder.read(key)
    try:
        where = folder.url(key)
        return unseal(content, where)
    except StorageError as error:
        raise _TornError(str(error)) from None


def _read_tensors(folder: Storage, key: str, digest: str) -> dict[str, Tensor]:
    name = f"{key.removesuffix('.json')}.{digest[:8]}.safetensors"
    is_pinned = HasSha256(digest)
    content = folder.read_or_none(name, is_pinned)
    if content is None or not is_pinned(content):
        raise _TornError(f"{folder.url(name)} is missing or damaged")
    return safetensors.torch.load(content)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with `prefix`, without it."""
    named = tensors.items()
    return {name.removeprefix(prefix): value for name, value in named if name.startswith(prefix)}


def _load_optimizer(optimizer: Resumable, step: int, tensors: dict[str, Tensor]) -> None:
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        number, _, part = name.partition(".")
        state.setdefault(int(number), {})[part] = value
    # settings such as the rate are the job's, not the checkpoint's
    plain = optimizer.state_dict()
    groups = plain["param_groups"]
    optimizer.load_state_dict({"step": step, "state": state, "param_groups": groups})
