"""What is kept of a trained model: `weights.safetensors` and, written last, `done.json`, which pins
the weights' sha256.

Fits and students are kept alike: `fits/<name>/<digest>/…` and `students/<name>/<digest>/…`.
Torch-free, so that a finished job is recognised without loading it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pydantic import TypeAdapter

from distill.core.errors import StorageError
from distill.core.schema import canonical, seal, unseal
from distill.models.custom_source import Code, custom_models, revision_of
from distill.spec.models import CustomModel, Network
from distill.spec.outputs import Outputs
from distill.storage.base import Storage

DONE = "done.json"
WEIGHTS = "weights.safetensors"
METRICS = "metrics.jsonl"
"""Beside them, of how it was trained: no part of the model."""
_NETWORK: TypeAdapter[Network] = TypeAdapter(Network)


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
    def own(self) -> dict[str, CustomModel]:
        """The networks of the user's own, by their keys."""
        return custom_models(self.model, self.heads)

    def to_plain(self) -> dict[str, Any]:
        """Plain values for JSON."""
        heads = {
            name: {
                "width": head.width,
                "model": head.model.model_dump(mode="json") if head.model else None,
            }
            for name, head in self.heads.items()
        }
        code = {
            key: {
                "revision": revision_of(model, self.code[key], key),
                "sha256": self.code[key].sha256,
            }
            for key, model in self.own.items()
        }
        plain = {
            "in_features": self.in_features,
            "model": self.model.model_dump(mode="json"),
            "heads": heads,
        }
        return {**plain, "code": code} if code else plain

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any], code: Code | None = None) -> NetworkPlan:
        """The inverse of `to_plain`, which keeps no code."""
        heads = {
            name: HeadPlan(head["width"], _network(head["model"]) if head["model"] else None)
            for name, head in plain["heads"].items()
        }
        return cls(plain["in_features"], _network(plain["model"]), heads, code or {})


@dataclass(frozen=True, kw_only=True)
class ModelRecord:
    """`done.json` of one trained model."""

    name: str
    digest: str
    form: str
    """`network` or `eszsl`: which labeler reads the weights."""
    in_features: int
    heads: Mapping[str, Outputs]
    widths: Mapping[str, int]
    sha256: str
    """Of the weights object."""
    parameters: int
    """Numbers of all its parameters, frozen ones too."""
    head_parameters: Mapping[str, int] = field(default_factory=dict)
    """Of the part of a network that answers one head."""
    plan: Mapping[str, Any] | None = None
    """For networks: `NetworkPlan.to_plain()`."""
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
    """The finished model in `folder`; None before it is done. Raises StorageError where the record
    is damaged."""
    content = folder.read_or_none(DONE)
    if content is None:
        return None
    return record_from_plain(unseal(content, folder.url(DONE)))


def record_from_plain(body: Mapping[str, Any]) -> ModelRecord:
    """The inverse of `asdict`."""
    heads = {
        name: Outputs(head["kind"], tuple(head["classes"]), head["exclusive"])
        for name, head in body["heads"].items()
    }
    return ModelRecord(**{**body, "heads": heads})


def write_record(folder: Storage, record: ModelRecord, weights: bytes) -> ModelRecord:
    """Keep a trained model: weights first, then the record that makes it exist. The first writer
    wins."""
    folder.put(f"{record.sha256[:16]}-{WEIGHTS}", weights)
    folder.put_if_absent(DONE, seal(asdict(record)))
    kept = read_record(folder)
    assert kept is not None
    return kept


def read_weights(folder: Storage, record: ModelRecord) -> bytes:
    """The weights that the record pins. Raises StorageError where they are not those."""
    key = f"{record.sha256[:16]}-{WEIGHTS}"
    content = folder.read_or_none(key)
    if content is None:
        raise StorageError(
            f"{folder.url(key)} is gone, but done.json pins it. Delete the folder and run again."
        )
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise StorageError(
            f"{folder.url(key)} is damaged: its sha256 is not the one that done.json pins. Delete"
            " the folder and run again."
        )
    return content


def _network(plain: Any) -> Network:
    return _NETWORK.validate_json(canonical(plain))
