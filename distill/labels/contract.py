"""What the labels mean. A label set is read only by who expects exactly this.

The digest covers the meaning. Library versions are recorded beside it, here and in each commit, and are no part of it: an upgrade
must not orphan a billion labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from distill.errors import ContractError
from distill.schema import digest, seal


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The meaning of one label set's rows."""

    labeler: str
    """Kind and name, such as `fitted:large`."""
    revision: str
    """sha256 of the weights, or the revision that a custom labeler states."""
    preprocessing: str
    """Digest of the features a row is decoded to."""
    kind: Literal["logits", "value"]
    classes: tuple[str, ...]
    """Names in order; empty for values."""
    exclusive: bool
    width: int
    """Numbers in a row of outputs: classes, or the value's width."""
    encoding: Literal["dense", "topk", "value"]
    dtype: str
    k: int
    """Kept logits a row; 0 unless `topk`."""
    temperatures: tuple[float, ...]
    """At which `topk` keeps the log-normaliser."""
    batch_rows: int
    precision: str
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Library versions when the set was begun; not part of the digest."""

    @property
    def meaning(self) -> dict[str, Any]:
        """All but the versions, as plain values."""
        plain = {
            **asdict(self),
            "classes": list(self.classes),
            "temperatures": [float(value) for value in self.temperatures],
        }
        plain.pop("versions")
        return plain

    @property
    def digest(self) -> str:
        """sha256 of the meaning."""
        return digest(self.meaning)

    def to_bytes(self, *, fragment_rows: int, label_set: str) -> bytes:
        """`contract.json`: the meaning, and over which fragments the set is cut."""
        return seal(
            {
                "contract": self.meaning,
                "versions": dict(self.versions),
                "fragment_rows": fragment_rows,
                "label_set": label_set,
            }
        )

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> Contract:
        """The contract of an unsealed `contract.json`."""
        meaning = body["contract"]
        lists = {"classes": tuple(meaning["classes"]), "temperatures": tuple(meaning["temperatures"])}
        return cls(**{**meaning, **lists}, versions=body["versions"])

    def require(self, other: Contract, name: str, version: int) -> None:
        """Refuse a stored contract `other` that is not this one. Raises ContractError that names each difference."""
        mine, stored = self.meaning, other.meaning
        differing = [
            f"{key}: stored {_short(stored[key])}, now {_short(mine[key])}" for key in mine if mine[key] != stored[key]
        ]
        if differing:
            raise ContractError(
                f"labels.{name}: what is stored as version {version} was written under another contract ({'; '.join(differing)}). "
                f"Undo the change, or set labels.{name}.version = {version + 1} to label anew; version {version} stays."
            )


def _short(value: object) -> str:
    said = repr(value)
    return said if len(said) <= 120 else said[:117] + "…"
