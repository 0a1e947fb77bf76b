"""Where a label set lies, and what makes it this one."""

from __future__ import annotations

from distill.core.schema import digest
from distill.labels.contract import Contract
from distill.pools.inventory import Inventory
from distill.storage.base import Storage


def label_set_folder(root: Storage, name: str, version: int, pool: str) -> Storage:
    """Where a label set lies."""
    return root.folder("labels", name, f"v{version}", pool)


def label_set_digest(contract: Contract, inventory: Inventory, fragment_rows: int) -> str:
    """Identity of a label set: contract, inventory and fragment_rows, and nothing else."""
    return digest([contract.digest, inventory.digest, fragment_rows])
