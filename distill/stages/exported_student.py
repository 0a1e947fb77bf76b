"""A student as `distill export` left it, read back: its network, what it sees, and the columns that
its heads are written to.

A network of the user's own needs its source. What lies in an export is never run: the user names a
copy of one's own, which must be the very text that the export was made with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from distill.core.errors import PoolError
from distill.core.schema import canonical
from distill.core.source import read_source
from distill.labelers.export_folder import read_export
from distill.labelers.network import network_of_tensors
from distill.models.custom_source import Code
from distill.models.network import MultiHead
from distill.models.record import ModelRecord
from distill.spec.outputs import Outputs
from distill.spec.pools import Features
from distill.storage.base import Storage

_FEATURES: TypeAdapter[Features] = TypeAdapter(Features)


@dataclass(frozen=True)
class ExportedStudent:
    """A student that is ready to predict."""

    record: ModelRecord
    features: Features
    private: Sequence[str]  # columns that are never read
    network: MultiHead
    # of the pool that it was taught on, where that says how its files are written
    format: str | None = None
    # what that pool's private columns leave the reader as, as plain rules
    mask: Mapping[str, Any] = field(default_factory=dict)


def load_student(folder: Storage, own: Sequence[Path]) -> ExportedStudent:
    """Load the export in `folder`; `own` are the user's copies of its own networks' sources.

    Raises PoolError where it is no export, is damaged, or lacks a source."""
    export = read_export(folder)
    if export is None:
        raise PoolError(
            f"{folder.uri} is no export: it has no model.json."
            " Give the folder that `distill export` names."
        )
    body = export.body
    record = export.record
    _require_distinct_columns(record, folder.uri)
    tensors = export.tensors()
    content = body["features"]
    plain = canonical(content)
    features = _FEATURES.validate_json(plain)
    sources = body.get("sources", {})
    code = _own_code(folder, sources, own)
    network = network_of_tensors(record, tensors, code)
    dropped = {name: {"kind": "drop"} for name in body["private"]}
    mask = dropped | body.get("mask", {})
    format = body.get("format")
    return ExportedStudent(record, features, body["private"], network, format, mask)


def column_names(head: str, outputs: Outputs) -> tuple[str, ...]:
    """Return the columns of a head: what it predicts and, of exclusive classes, how probably."""
    predicted = f"predicted_{head}"
    if outputs.kind == "logits" and outputs.exclusive:
        probability = f"{predicted}_probability"
        return (predicted, probability)
    return (predicted,)


def _require_distinct_columns(record: ModelRecord, where: str) -> None:
    """Refuse heads whose columns would have one name. Raises PoolError."""
    head_of: dict[str, str] = {}
    for head, outputs in record.heads.items():
        for name in column_names(head, outputs):
            other = head_of.setdefault(name, head)
            if other != head:
                raise PoolError(
                    f"{where}: the heads {other!r} and {head!r} would both have a column {name!r}."
                    " Rename one in the job, train and export again."
                )


def _own_code(
    folder: Storage, needed: Mapping[str, Mapping[str, str]], own: Sequence[Path]
) -> Code:
    """Return the sources that the export asks for, from the user's own copies. Raises PoolError
    where one is missing or another."""
    if own and not needed:
        raise PoolError(
            f"--source {own[0]}: the student at {folder.uri} has no network of its author's own."
            " Leave it out."
        )
    # resolved, so that a link into the export is not taken for a copy
    path = Path(folder.uri)
    export = path.resolve()
    for file in own:
        if file.resolve().is_relative_to(export):
            raise PoolError(
                f"--source {file}: lies in the export, whose code is never run."
                " Name your own copy of it."
            )
    given = {}
    for file in own:
        source = read_source(file, "--source")
        given[source.sha256] = source
    for each in needed.values():
        if each["sha256"] not in given:
            found = f" The given ones have {', '.join(given)}." if given else ""
            raise PoolError(
                f"{folder.url(each['file'])}: the student has a network of its author's own, and"
                " code that lies in an export is never run. Name your own copy of that file, whose"
                f" sha256 is {each['sha256']}: --source FILE.{found}"
            )
    return {key: given[each["sha256"]] for key, each in needed.items()}
