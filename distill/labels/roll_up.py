"""Rolling up for many drivers: one of them writes the manifest, alone, and the others read it.

Each driver writes a segment of its own commits now and then, as one that works alone does. What
remains is in commits only, and would be read commit by commit by every driver that begins or ends:
parts × fragments requests. So the first that comes reads them and writes the manifest, in few
segments, while the others wait; they then read those.
"""

from __future__ import annotations

from distill.core.errors import BusyError
from distill.labels.label_set import LabelSet
from distill.labels.lease import await_lease, hold_lease
from distill.labels.part_leases import PARTS
from distill.labels.state import read_state
from distill.labels.writer import LabelWriter
from distill.pools.inventory import Inventory
from distill.storage.base import Storage

_MANIFEST = "manifest.json"


def roll_up(
    folder: Storage, name: str, version: int, inventory: Inventory | None, *, what: str
) -> LabelWriter | None:
    """Write what is committed and in no segment, alone; None where another driver did so."""
    parts = folder.folder(PARTS)
    title = f"{what}: its manifest"
    try:
        with hold_lease(parts, title, _MANIFEST):
            state = read_state(folder, name, version, inventory)
            writer = LabelWriter(state)
            writer.write_manifest()
            writer.tidy_manifest()
            return writer
    except BusyError:
        await_lease(parts, title, _MANIFEST)
        return None


def finish_manifest(labels: LabelSet, inventory: Inventory, what: str) -> LabelWriter:
    """Return the finished set, of which every fragment is committed, from its manifest."""
    folder = labels.folder
    name = labels.name
    version = labels.version
    while True:
        writer = roll_up(folder, name, version, inventory, what=what)
        if writer is not None:
            return writer
        state = read_state(folder, name, version, inventory)
        if not state.commits_listed:  # the manifest covers the pool
            return LabelWriter(state)
