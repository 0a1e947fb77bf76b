"""`distill gc`: what may go, and on request goes. The one place where labels, or what tells of
them, are ever deleted. Beside labels: what stages keep only until they are done.

Garbage is what no reader can see: data and rejects that an attempt wrote for a fragment which is
committed under another attempt, and manifest segments that others stand for. Labels of retired
shards and of older versions are not garbage: somebody may go back to them. The set's lease is held
meanwhile, so that no driver is mending the fragments that are looked at.

The passes of a structure serve a fit that is killed; once its record is there, nobody reads them.
Footers of files serve a scan that is killed, until the inventory has what they say; a driver that
is listing the same pool anew does without them.

Of a run's timeline the newest object says all, and so does the newest plan of a job's costs. What
runs spent is never forgotten: of those that are long over it is written together, in one object,
before what each wrote goes.

Shadows of an audit are kept for the next one of the same rows. Where there is an audit of other
rows by now, nobody asks those of before again; what they found stays.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from distill.core.audit_results import AuditResult
from distill.core.progress import track
from distill.labels.contract import CONTRACT
from distill.labels.part_leases import hold_label_set
from distill.labels.repair import other_attempts, superseded_segments
from distill.labels.state import LabelSetState, read_state
from distill.labels.writer import LabelWriter
from distill.models.record import DONE
from distill.plan.audit.audit_plan import RESULTS, read_audit
from distill.plan.costs.ledger import SpentBook, write_together
from distill.plan.costs.stored import former_costs
from distill.plan.steps import StoredLabelsStep
from distill.plan.structure_steps import PASSES
from distill.plan.timelines import former_records
from distill.storage.base import Storage
from distill.storage.open import open_storage

_THREADS = 16
_LONG_OVER_SECONDS = 7 * 86_400.0


@dataclass(frozen=True)
class Garbage:
    """What may go of one thing that is stored."""

    what: str  # `labels.NAME over POOL`, or what else it is of
    folder: Storage
    keys: tuple[str, ...]
    bytes: int


def collect_garbage(step: StoredLabelsStep, *, delete: bool) -> Garbage:
    """Find what may go of one label set, and delete it where asked to. Raises BusyError where
    somebody is at work on it."""
    folder = open_storage(step.folder)
    where = f"labels.{step.name} over {step.pool}"
    if folder.read_or_none(CONTRACT) is None:  # nobody knows what lies there, so nothing may go
        return Garbage(where, folder, (), 0)
    with hold_label_set(folder, where):
        # else a reader of the manifest would miss what a mend stands for
        state = read_state(folder, step.name, step.version)
        LabelWriter(state).write_manifest()
        found = list(_garbage(state))
        return _garbage_of(where, folder, found, delete=delete)


def collect_leftovers(
    root: Storage, structures: Sequence[str], pools: Sequence[str], *, delete: bool
) -> Iterator[Garbage]:
    """Find what may go of structures and of pools' inventories, by their names in the job, whatever
    version of the job made it; delete it where asked to."""
    for name in structures:
        folder = root.folder("structures", name)
        found = _passes_of_finished(folder)
        yield _garbage_of(f"passes of structure.{name}", folder, found, delete=delete)
    for name in pools:
        folder = root.folder("footers", name)
        is_listed = next(root.folder("inventories", name).walk(), None) is not None
        found = [(each.key, each.size_bytes) for each in folder.walk()] if is_listed else []
        yield _garbage_of(f"footers of pools.{name}", folder, found, delete=delete)


def collect_records(root: Storage, *, delete: bool) -> Iterator[Garbage]:
    """Find what newer objects stand for of runs' timelines, plans of costs and what was spent, of
    all jobs of a root; delete it where asked to."""
    records = former_records(root)
    yield _garbage_of("former records of timelines", root, records, delete=delete)
    plans = former_costs(root)
    yield _garbage_of("former plans of costs", root, plans, delete=delete)
    # as long ago that no driver still writes its own
    runs, singles = SpentBook(root).over(time.time() - _LONG_OVER_SECONDS)
    if delete and singles:
        write_together(root, runs)
    yield _garbage_of("what single runs spent", root, singles, delete=delete)


def collect_shadows(root: Storage, audit: str, found: AuditResult, *, delete: bool) -> Garbage:
    """Find what audits of other rows of the same pools than those of `audit`, which is done, have
    taught and labelled; delete it where asked to."""
    folder = root.folder("audit")
    by_audit: dict[str, list[tuple[str, int]]] = {}
    for each in folder.walk():
        by_audit.setdefault(each.key.partition("/")[0], []).append((each.key, each.size_bytes))
    former = []
    for name, objects in by_audit.items():
        results = [key for key, _ in objects if key.startswith(f"{name}/{RESULTS}/")]
        if name != audit and results and _is_alike(read_audit(folder, results[0]), found):
            former += [each for each in objects if each[0] not in results]
    return _garbage_of("shadows of former audits", folder, former, delete=delete)


def _is_alike(former: AuditResult | None, found: AuditResult) -> bool:
    """Whether an audit is of the same pools."""
    pools = (found.members_pool, found.others_pool)
    return former is not None and (former.members_pool, former.others_pool) == pools


def _passes_of_finished(folder: Storage) -> list[tuple[str, int]]:
    """Keys and sizes of the passes of those fits of a structure that have their record."""
    listed = [(each.key, each.size_bytes) for each in folder.walk()]
    done = {key.removesuffix(DONE) for key, _ in listed if key.endswith(f"/{DONE}")}
    passes = []
    for key, size in listed:
        fit, is_pass, _ = key.partition(f"{PASSES}/")
        if is_pass and fit in done:
            passes.append((key, size))
    return passes


def _garbage_of(
    what: str, folder: Storage, found: Sequence[tuple[str, int]], *, delete: bool
) -> Garbage:
    keys = tuple(key for key, _ in found)
    if delete and keys:
        _delete(folder, keys, f"gc {what}")
    return Garbage(what, folder, keys, sum(size for _, size in found))


def _delete(folder: Storage, keys: Sequence[str], title: str) -> None:
    with track(title, len(keys), "objects") as bar, ThreadPoolExecutor(_THREADS) as threads:
        for _ in threads.map(folder.delete, keys):
            bar.advance(1)


def _garbage(state: LabelSetState) -> Iterator[tuple[str, int]]:
    """Key and size of each object that may go."""
    yield from other_attempts(state.labels)
    yield from superseded_segments(state)
