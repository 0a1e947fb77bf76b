"""What the labels mean. A label set is read only by who expects exactly this.

The digest covers the meaning. `contract.json` is written by conditional put, so it stays small:
class names beyond 64 KiB lie beside it in an object that is named by their digest,
`classes-<sha256>.json`, written before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from distill.core.errors import ContractError, StorageError
from distill.core.schema import canonical, digest, seal, unseal, without_usual
from distill.storage.base import Storage

CONTRACT = "contract.json"
_INLINE_CLASSES_BYTES = 1 << 16
_SHOWN_CHARACTERS = 120  # of a value in a message
# fields that came later, and what they say of sets from before
_USUAL: Mapping[str, Any] = {
    "answers": "logits",
    "calibration": 1.0,
    "disagreement": False,
    "reveal": None,
    "encrypted": False,
    "views": 0,
    "view_seed": 0,
    "view_augment": "",
}


@dataclass(frozen=True, kw_only=True)
class Revealed:
    """What of a labeler's answers is stored, where that is less than all (`labels.reveal`)."""

    top_1: bool = False  # the best class alone
    clip: float | None = None  # how far a logit may lie below the row's largest
    round: float | None = None  # of what outputs are multiples


@dataclass(frozen=True, kw_only=True)
class Contract:
    """The meaning of one label set's rows."""

    labeler: str  # kind and name, such as `fitted:large`
    revision: str  # sha256 of the weights, or the revision that a custom labeler states
    preprocessing: str  # digest of the features a row is decoded to
    kind: Literal["logits", "value"]
    classes: tuple[str, ...]  # names in order; empty for values
    exclusive: bool
    width: int  # numbers in a row of outputs: classes, or the value's width
    encoding: Literal["dense", "topk", "value"]
    dtype: str  # of a stored number: float32 or float16, or for `topk` float16 or uint8
    k: int  # logits that are stored of a row; 0 unless `topk`
    temperatures: tuple[float, ...]  # at which `topk` stores the log-normaliser
    batch_rows: int
    precision: str
    # how far an output may lie from this labeler's next answer, as a share of the largest in its
    # row: what canaries allow. Recorded, and not part of the digest.
    tolerance: float = field(compare=False)
    # as what the labeler gave its outputs; what is stored are logits
    answers: Literal["logits", "probabilities"] = "logits"
    # the labeler's logits were divided by this temperature, found on labelled rows
    calibration: float = 1.0
    disagreement: bool = False  # whether a column says how far the members of an ensemble disagree
    views: int = 0  # how often a row's image was altered and labelled, beside the row as it is
    view_seed: int = 0  # what the alterations are drawn from, with the view, the shard and the row
    view_augment: str = ""  # the alterations, `augment` of the job as canonical JSON
    keys: tuple[str, ...] = ()  # columns of the pool that stand beside the labels
    format: Literal["arrow", "parquet"] = "arrow"  # of the data files
    reveal: Revealed | None = None  # what of the answers is stored; None: all
    # whether data files and rejects are encrypted. Each names the key that it needs.
    encrypted: bool = False
    # where the key lies that encrypts what is written. Neither stored nor part of the digest.
    key: str = field(default="", compare=False)
    # the key of the digests in commits of an encrypted set, itself encrypted (`columns_digest`).
    # Recorded, and no part of the digest.
    digest_key: str = field(default="", compare=False, repr=False)
    # numbers in a row that the labeler saw when the set was begun; 0 where that is not known.
    # Recorded, and no part of the digest, since it is the pool's: rows of another width are
    # refused when they are labelled.
    in_features: int = field(default=0, compare=False)
    # library versions when the set was begun; not part of the digest
    versions: Mapping[str, str] = field(default_factory=dict, compare=False)

    @property
    def meaning(self) -> dict[str, Any]:
        """All that decides what labels say, as plain values: neither versions nor tolerance."""
        plain = asdict(self)
        # recorded beside it: an upgrade of a library must not orphan a billion labels
        for name in ("versions", "tolerance", "in_features", "key", "digest_key"):
            del plain[name]
        if self.reveal is not None:
            plain["reveal"] = without_usual(plain["reveal"], vars(Revealed()))
        plain["classes"] = list(self.classes)
        # 1 and 1.0 are the same temperature, and would have two digests
        plain["temperatures"] = [float(value) for value in self.temperatures]
        plain["keys"] = list(self.keys)
        return without_usual(plain, _USUAL)

    @cached_property
    def digest(self) -> str:
        """sha256 of the meaning."""
        return digest(self.meaning)

    def put(self, folder: Storage, *, fragment_rows: int, label_set: str) -> bool:
        """Write `contract.json`: the meaning, and over which fragments the set is cut. False where
        another one is there."""
        meaning = self.meaning
        # Stores ignore the condition of large objects (`CONDITIONAL_LIMIT_BYTES`).
        if len(canonical(meaning["classes"])) > _INLINE_CLASSES_BYTES:
            meaning["classes"] = _put_classes(folder, meaning["classes"])
        body = {
            "contract": meaning,
            "versions": dict(self.versions),
            "tolerance": self.tolerance,
            "in_features": self.in_features,
            "fragment_rows": fragment_rows,
            "label_set": label_set,
        }
        if self.digest_key:
            body["digest_key"] = self.digest_key
        sealed = seal(body)
        return folder.put_if_absent(CONTRACT, sealed)

    @classmethod
    def from_body(cls, body: Mapping[str, Any], folder: Storage) -> Contract:
        """Read the contract of an unsealed `contract.json` in `folder`. Raises StorageError where
        its class names are lost or damaged."""
        fields = body["contract"]
        meaning = dict(fields)
        if isinstance(meaning["classes"], dict):
            meaning["classes"] = _read_classes(folder, meaning["classes"]["sha256"])
        for name in ("classes", "temperatures", "keys"):
            meaning[name] = tuple(meaning[name])
        for name in ("versions", "tolerance", "in_features"):
            meaning[name] = body[name]
        if "reveal" in meaning:
            meaning["reveal"] = Revealed(**meaning["reveal"])
        meaning["digest_key"] = body.get("digest_key", "")
        return cls(**meaning)

    def require(self, other: Contract, name: str, version: int) -> None:
        """Refuse a stored contract `other` that is not this one. Raises ContractError that names
        each difference."""
        differences = _differences(other.meaning, self.meaning)
        if differences:
            raise ContractError(
                f"labels.{name}: what is stored as version {version} was written under another"
                f" contract ({'; '.join(differences)}). Undo the change, or set"
                f" labels.{name}.version = {version + 1} to label anew; version {version} stays."
            )


@dataclass(frozen=True)
class StoredContract:
    """What `contract.json` says."""

    contract: Contract
    fragment_rows: int  # the cut: at most so many rows lie in a fragment
    label_set: str  # label-set digest


def read_contract(folder: Storage) -> StoredContract | None:
    """Read the contract of the label set in `folder`; None before the set was begun.

    Raises StorageError where it, or its class names, are lost or damaged."""
    content = folder.read_or_none(CONTRACT)
    if content is None:
        return None
    where = folder.url(CONTRACT)
    body = unseal(content, where)
    contract = Contract.from_body(body, folder)
    return StoredContract(contract, body["fragment_rows"], body["label_set"])


# what a difference of two digests says, which they do not
_DIGEST_MEANS = {
    "revision": "other weights",
    "preprocessing": "other features, or scaled otherwise",
}


def _differences(stored: Mapping[str, Any], mine: Mapping[str, Any]) -> list[str]:
    found = []
    for name in dict.fromkeys([*mine, *stored]):
        before = stored.get(name)
        now = mine.get(name)
        if before != now:
            difference = _difference(name, before, now)
            found.append(difference)
    return found


def _difference(name: str, stored: Any, mine: Any) -> str:
    if name == "classes" and stored and mine:
        change = _class_difference(stored, mine)
        return f"classes: {change}"
    text = f"{name}: stored {_short(stored)}, now {_short(mine)}"
    if name in _DIGEST_MEANS:
        text += f" ({_DIGEST_MEANS[name]})"
    return text


def _class_difference(stored: list[str], mine: list[str]) -> str:
    counts = f"stored {len(stored)}, now {len(mine)}"
    shared = min(len(stored), len(mine))
    if stored[:shared] == mine[:shared]:
        grown = len(mine) > len(stored)
        longer = "now" if grown else "stored"
        names = mine if grown else stored
        more = len(names) - shared
        return f"{counts}; {longer} {more} more, from {names[shared]!r} on"
    first = 0
    while stored[first] == mine[first]:
        first += 1
    same_names = sorted(stored) == sorted(mine)
    how = "the same names in another order" if same_names else counts
    return (
        f"stored {stored[first]!r}, now {mine[first]!r} as number {first},"
        f" the first that differs ({how})"
    )


def _short(value: object) -> str:
    text = repr(value)
    if len(text) <= _SHOWN_CHARACTERS:
        return text
    return text[: _SHOWN_CHARACTERS - 3] + "…"


def _classes_key(sha256: str) -> str:
    return f"classes-{sha256}.json"


def _put_classes(folder: Storage, classes: list[str]) -> dict[str, Any]:
    """Write class names as an object of their own; return what the contract says instead."""
    sha256 = digest(classes)
    key = _classes_key(sha256)
    # what lies under this name has these contents, whoever wrote it
    if folder.read_or_none(key) is None:
        body = {"classes": classes}
        sealed = seal(body)
        folder.put(key, sealed)
    count = len(classes)
    return {"count": count, "sha256": sha256}


def _read_classes(folder: Storage, sha256: str) -> list[str]:
    key = _classes_key(sha256)
    where = folder.url(key)
    content = folder.read_or_none(key)
    if content is None:
        raise StorageError(
            f"{where} is gone, so nobody knows the classes of the labels beside it. Restore it from"
            " a copy."
        )
    body = unseal(content, where)
    classes = body["classes"]
    if digest(classes) != sha256:
        message = f"{where} holds other class names than its name says. Restore it from a copy."
        raise StorageError(message)
    return list(classes)
