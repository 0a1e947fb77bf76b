"""A label set by the path of its folder alone: no job, no torch, no Ray.

    labels = distill.labels.open("runs/labels/teacher/v1/unlabelled")
    for table in labels.decoded(temperature=4):      # a table a fragment, in (shard, row) order
        table["shard"], table["row"], table["index"], table["log_prob"]

Every table begins with `shard` (the file's key below the pool's folder) and `row` (its number in
that file), which address the row of the pool; then the pool's keys; then the labels, null where the
row was rejected. Digests are checked before anything is decoded. FORMAT.md tells the same to
readers without us.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distill.core.errors import ContractError
from distill.labels.columns import DISAGREEMENT, Bool, dense_name, label_schema
from distill.labels.contract import CONTRACT, Contract
from distill.labels.encoding import Columns, SoftLabels, TopKLabels, decode, decode_view
from distill.labels.label_set import LabelSet
from distill.labels.state import read_label_set
from distill.pools.inventory import Inventory, read_inventory
from distill.storage.open import open_storage

_LEVELS = 4  # of `labels/<name>/v<N>/<pool>`, below the root


class StoredLabels:
    """One label set over one pool, read only."""

    def __init__(self, labels: LabelSet, inventory: Inventory) -> None:
        self.contract = labels.contract
        # rows of the pool; `rows` of them are in committed fragments
        self.pool_rows = inventory.rows
        self._labels = labels
        self._inventory = inventory

    def __len__(self) -> int:
        """Committed fragments: how many tables there are."""
        return len(self._labels.entries)

    @property
    def rows(self) -> int:
        """Rows of the tables, labelled or rejected."""
        return self._labels.entries.rows

    @property
    def rejected(self) -> int:
        """Rows without labels among them; their reasons are under `rejects/`."""
        return self._labels.entries.rejected

    @property
    def complete(self) -> bool:
        """Whether every row of the pool is labelled or rejected."""
        return self.rows == self.pool_rows

    @property
    def uri(self) -> str:
        """The folder."""
        return self._labels.folder.uri

    def __iter__(self) -> Iterator[pa.Table]:
        """Read the columns as they are stored, a table a fragment. Raises StorageError for lost or
        damaged data."""
        for entry in self._labels.entries:
            labels = self._labels.read(entry)
            file = self._inventory.shard(entry.shard).key
            # One text a fragment instead of one a row.
            shard = pa.DictionaryArray.from_arrays(np.zeros(entry.rows, np.int32), [file])
            row = pa.array(np.arange(entry.start, entry.start + entry.rows))
            names = ["shard", "row", *labels.column_names]
            yield pa.table([shard, row, *labels.columns], names=names)

    def decoded(self, temperature: float | None = None, *, view: int = 0) -> Iterator[pa.Table]:
        """Read labels as numbers, a table a fragment: fixed-size lists, null where rejected; of a
        set with views those of one `view`, from 1 on, or of the row as it is.

        `topk`: `index` (int64) and `log_prob` (float32) at one of the declared temperatures; it may
        be left out where one is declared. `dense`: `logits`; `value`: `value`, both float32. Of an
        ensemble: `disagreement` too, one float32. Raises ContractError for another temperature,
        StorageError for lost or damaged data."""
        contract = self.contract
        if temperature is None and len(contract.temperatures) == 1:
            temperature = contract.temperatures[0]
        stored = label_schema(contract).names
        for fragment in self:
            soft = _decoded(fragment, contract, view, temperature)
            table = fragment.drop_columns(stored)
            for name, values in _numbers(soft, contract).items():
                lists = _lists(values, soft.labelled)
                table = table.append_column(name, lists)
            if soft.disagreement is not None:
                numbers = pa.array(soft.disagreement, mask=~soft.labelled)
                table = table.append_column(DISAGREEMENT, numbers)
            yield table


def open_labels(path: str | os.PathLike[str], *, partial: bool = False) -> StoredLabels:
    """Open the label set in the folder `labels/<name>/v<N>/<pool>` below a root, a path or a URI.

    Raises ContractError where nothing is labelled there, or where rows are missing and not
    `partial`; StorageError for damage."""
    parts = os.fspath(path).rstrip("/").split("/")
    if len(parts) < _LEVELS or not parts[-2].removeprefix("v").isdigit():
        message = f"{path} is no label set. Give the folder labels/NAME/vN/POOL below a job's root."
        raise ContractError(message)
    name, version, pool = parts[-3:]
    root = open_storage("/".join(parts[:-_LEVELS]) or ".")
    inventory = read_inventory(root, pool, "")
    uri = "/".join(parts)
    folder = open_storage(uri)
    labels = read_label_set(folder, name, int(version.removeprefix("v")), inventory)
    if labels.stored is None or inventory is None:
        gone = CONTRACT if labels.stored is None else f"inventories/{pool}"
        raise ContractError(
            f"{path} is no label set: {gone} is not there. Give the folder labels/NAME/vN/POOL"
            " below a job's root."
        )
    found = StoredLabels(labels, inventory)
    if not found.complete and not partial:
        raise ContractError(
            f"{path} is not complete: {found.rows:,} of {found.pool_rows:,} rows are labelled. Run"
            " `distill label` again, which labels only what is missing, or read what there is with"
            " open(…, partial=True)."
        )
    return found


def _decoded(
    fragment: pa.Table, contract: Contract, view: int, temperature: float | None
) -> SoftLabels:
    if not 0 <= view <= contract.views:
        raise ContractError(
            f"{contract.labeler} answered {contract.views} views of each row, not view {view}."
        )
    if view:
        return decode_view(fragment, contract, view, temperature)
    return decode(fragment, contract, temperature)


def _numbers(soft: SoftLabels, contract: Contract) -> Columns:
    if isinstance(soft, TopKLabels):
        return {"index": soft.index, "log_prob": soft.log_probs}
    name = dense_name(contract)
    return {name: soft.outputs}


def _lists(values: npt.NDArray[np.generic], labelled: Bool) -> pa.Array:
    numbers = values.ravel()
    flat = pa.array(numbers)
    rejected = None if labelled.all() else pa.array(~labelled)
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1], mask=rejected)
