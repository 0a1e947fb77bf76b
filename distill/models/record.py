"""What is stored of a trained model: `weights.safetensors` and, written last, `done.json`, which pins
the weights' sha256.

Fits and students are stored alike: `fits/<name>/<digest>/…` and `students/<name>/<digest>/…`.
Torch-free, so that a finished job is recognised without loading it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors.numpy
from pydantic import ValidationError

from distill.core.errors import ContractError, StorageError
from distill.core.schema import canonical, seal, unseal
from distill.core.source import PythonFile
from distill.labels.files import hidden_bytes, shown_bytes
from distill.models.custom_source import (
    TRUNK,
    Code,
    custom_models,
    head_key,
    networks_of,
    revision_of,
)
from distill.models.networks.custom import CustomModel
from distill.spec.networks import Network, NetworkInput, NetworkSize
from distill.spec.outputs import Outputs
from distill.storage.base import HasSha256, Storage

DONE = "done.json"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class HeadPlan:
    """One head: numbers in a row of its outputs, and its own network if it has one."""

    width: int
    model: Network | None = None


@dataclass(frozen=True)
class NetworkPlan:
    """Everything needed to build a network again."""

    in_features: int
    model: Network
    heads: Mapping[str, HeadPlan]
    code: Code = field(default_factory=dict)
    """Sources of the user's own networks. They travel to workers, and only their digests are kept.
    """

    @property
    def networks(self) -> dict[str, Network]:
        """The trunk and the heads' own networks, by their keys."""
        return networks_of(self.model, self.heads)

    @property
    def own(self) -> dict[str, CustomModel]:
        """Those networks whose class is in a file of the user's own, by their keys."""
        return custom_models(self.model, self.heads)

    @cached_property
    def weights(self) -> int:
        """Numbers that it learns, heads included, without those of classes of the user's own.
        Raises JobError for a model that cannot be built."""
        total = sum(size.weights for size in self._sizes.values() if size is not None)
        for name, head in self.heads.items():
            key = TRUNK if head.model is None else head_key(name)
            size = self._sizes[key]
            if size is not None:
                total += size.width * head.width
        return total

    @property
    def frozen(self) -> int:
        """Numbers that it has and does not learn."""
        return sum(size.frozen for size in self._sizes.values() if size is not None)

    @cached_property
    def _sizes(self) -> dict[str, NetworkSize | None]:
        """Of each network that a head sees, by its key."""
        is_seen = any(head.model is None for head in self.heads.values())
        return {
            key: network.built_size(self.in_features)
            for key, network in self.networks.items()
            if is_seen or key != TRUNK
        }

    def input_of(self, key: str) -> NetworkInput:
        """What the network under `key` is built for."""
        code = self.code.get(key)
        return NetworkInput(self.in_features, key, code)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON; of code its revisions and digests."""
        plain = {
            "in_features": self.in_features,
            "model": self.model.model_dump(mode="json"),
            "heads": {name: _plain_head(head) for name, head in self.heads.items()},
        }
        code = {key: _plain_code(model, self.code[key], key) for key, model in self.own.items()}
        return {**plain, "code": code} if code else plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], code: Code | None = None) -> NetworkPlan:
        """Return the plan that `to_plain` made these values of; the code is given apart. Raises
        ContractError for a network whose kind is not known here."""
        heads = {name: _head(head) for name, head in plain["heads"].items()}
        return cls(plain["in_features"], _network(plain["model"]), heads, code or {})


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """`done.json` of one trained model."""

    name: str
    digest: str
    form: str
    """`network`, `eszsl` or `structure`: which labeler reads the weights."""
    in_features: int
    heads: Mapping[str, Outputs]
    widths: Mapping[str, int]
    sha256: str
    """Of the weights as they are stored; of encrypted ones from before of the plain weights, which
    few votes would tell."""
    parameters: int
    """Numbers of all its parameters, frozen ones too."""
    head_parameters: Mapping[str, int] = field(default_factory=dict)
    """Of the part of a network that answers one head."""
    plan: Mapping[str, Any] | None = None
    """For networks: `NetworkPlan.to_plain()`. Of a structure the plain values beside its arrays."""
    taught_by: Mapping[str, str] = field(default_factory=dict)
    """Label set or target → the digest that was pinned."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """For people: rows, steps, seconds, chosen constants, losses."""


@dataclass(frozen=True)
class Trained:
    """A finished model, and whether this run trained it."""

    name: str
    record: ModelRecord
    now: bool


def read_record(folder: Storage) -> ModelRecord | None:
    """Read the record of the model in `folder`; None before it is done. Raises StorageError where
    it is damaged."""
    content = folder.read_or_none(DONE)
    if content is None:
        return None
    body = unseal(content, folder.url(DONE))
    return record_from_plain(body)


def read_trained(folder: Storage, name: str) -> Trained | None:
    """Return the model in `folder` as one that was there before this run; None before it is done.
    Raises StorageError where its record is damaged."""
    record = read_record(folder)
    return None if record is None else Trained(name, record, now=False)


def record_from_plain(body: Mapping[str, Any]) -> ModelRecord:
    """Return the record that `asdict` made these values of."""
    heads = {
        name: Outputs(head["kind"], tuple(head["classes"]), head["exclusive"])
        for name, head in body["heads"].items()
    }
    return ModelRecord(**{**body, "heads": heads})


def write_record(
    folder: Storage, record: ModelRecord, weights: bytes, secret: str = ""
) -> ModelRecord:
    """Store a trained model: weights first, encrypted where `secret` says where a key lies, then the
    record that makes it exist. Return what is stored: the first writer wins."""
    if secret:
        weights = hidden_bytes(weights, secret)
        record = replace(record, sha256=hashlib.sha256(weights).hexdigest())
    # in this order: who finds done.json finds the weights that it pins
    key = _weights_key(record)
    folder.put(key, weights)
    sealed = seal(asdict(record))
    folder.put_if_absent(DONE, sealed)
    # two drivers may have trained it at once: both go on with what the first one stored
    stored = read_record(folder)
    assert stored is not None
    return stored


def weights_bytes(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Return numpy's arrays as safetensors."""
    # safetensors writes memory as it lies, without a look at strides: a transposed array would come
    # back scrambled
    in_rows = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return safetensors.numpy.save(in_rows)


def read_weights(folder: Storage, record: ModelRecord) -> bytes:
    """Read the weights that the record pins. Raises StorageError where they are not those, JobError
    where they are encrypted and their key is missing."""
    key = _weights_key(record)
    is_pinned = HasSha256(record.sha256)
    content = folder.read_or_none(key, is_pinned)
    if content is None:
        raise StorageError(
            f"{folder.url(key)} is gone, but done.json pins it. Delete the folder and run again."
        )
    is_stored_so = is_pinned(content)
    content = shown_bytes(content, folder.url(key))
    if not is_stored_so and not is_pinned(content):
        raise StorageError(
            f"{folder.url(key)} is damaged: its sha256 is not the one that done.json pins. Delete"
            " the folder and run again."
        )
    return content


def _weights_key(record: ModelRecord) -> str:
    # writers of other weights do not meet, so the record decides whose count
    return f"{record.sha256[:16]}-{WEIGHTS}"


def _plain_head(head: HeadPlan) -> dict[str, Any]:
    model = None if head.model is None else head.model.model_dump(mode="json")
    return {"width": head.width, "model": model}


def _plain_code(model: CustomModel, source: PythonFile, key: str) -> dict[str, str]:
    return {"revision": revision_of(model, source, key), "sha256": source.sha256}


def _head(plain: Mapping[str, Any]) -> HeadPlan:
    model = None if plain["model"] is None else _network(plain["model"])
    return HeadPlan(plain["width"], model)


def _network(plain: Mapping[str, Any]) -> Network:
    try:
        network: Network = Network.model_validate_json(canonical(plain))
    except ValidationError as error:
        first = error.errors()[0]
        raise ContractError(
            f"a stored network {plain} is not one that this process knows: {first['msg']}. Name"
            " the file that has its kind, as it was then, in the job's `plugins`."
        ) from error
    # what was stored before words were a key keeps the words that it learned
    return network.with_words("letters") if network.words_are_unsaid else network
