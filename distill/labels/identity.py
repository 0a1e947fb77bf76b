"""Where a label set lies, and what makes it this one."""

from __future__ import annotations

from distill.core.schema import digest
from distill.labels.contract import Contract
from distill.pools.inventory import Inventory
from distill.storage.base import Storage


def label_set_folder(root: Storage, name: str, version: int, pool: str) -> Storage:
    """Return the folder of a label set: `labels/<name>/v<N>/<pool>` below the root."""
    return root.folder("labels", name, f"v{version}", pool)


def label_set_digest(contract: Contract, inventory: Inventory, fragment_rows: int) -> str:
    """Return the identity of a label set, in hex: contract, inventory and fragment_rows.

    Nothing of students, evaluation or budget enters it: none of them may orphan labels."""
    return digest([contract.digest, inventory.digest, fragment_rows])
