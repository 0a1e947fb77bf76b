"""Label sets and trained networks, written for real into a test's folder."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import safetensors.torch

from distill.core.schema import unseal
from distill.engine.protocol import WorkerContext
from distill.job.job import Job
from distill.labels.columns import label_validity
from distill.labels.commit import Commit, Provenance, WriteIntent, commit_fragment, write_attempt
from distill.labels.contract import Contract
from distill.labels.encoding import decode, encode
from distill.labels.identity import label_set_folder
from distill.labels.label_set import LabelSet
from distill.labels.manifest import Manifest, ManifestEntry, entries_table
from distill.labels.state import read_state
from distill.labels.writer import LabelWriter
from distill.models.network import MultiHead, build_network, parameter_count
from distill.models.networks.linear import Linear
from distill.models.record import HeadPlan, ModelRecord, NetworkPlan, write_record
from distill.pools.inventory import Fragment, Inventory
from distill.pools.scan import take_inventory
from distill.spec.networks import Network
from distill.spec.outputs import Outputs
from distill.stages.label.messages import FragmentResult, FragmentTask, LabelConfig, PoolPart
from distill.stages.label.worker import LabelWorker
from distill.stages.train.loop import run_trainings
from distill.storage.base import Storage
from distill.storage.open import open_storage
from tests.resolved import open_pool, plan_student, prepare_labels

LINEAR = Linear(kind="linear")
ORIGIN = Provenance("set", "cpu", {"numpy": "2"})


def a_contract(classes: tuple[str, ...] = ("a", "b", "c"), **changes: object) -> Contract:
    """Dense logits of `classes`, changed as asked."""
    plain = {
        "labeler": "custom:Labeler",
        "revision": "1",
        "preprocessing": "p",
        "kind": "logits",
        "classes": classes,
        "exclusive": True,
        "width": len(classes),
        "encoding": "dense",
        "dtype": "float32",
        "k": 0,
        "temperatures": (),
        "batch_rows": 64,
        "precision": "float32",
        "tolerance": 2.0**-8,
    }
    return Contract(**{**plain, **changes})


def a_topk_contract(
    width: int, k: int, temperatures: tuple[float, ...] = (1.0,), *, values: str = "uint8"
) -> Contract:
    """Top-k of `width` classes named by their numbers."""
    classes = tuple(map(str, range(width)))
    return a_contract(classes, encoding="topk", dtype=values, k=k, temperatures=temperatures)


def a_value_contract(width: int, dtype: str = "float32") -> Contract:
    """Values of `width` numbers."""
    return a_contract((), kind="value", encoding="value", width=width, dtype=dtype)


def some_labels(
    rows: int, contract: Contract, *, seed: int = 0, rejected: Collection[int] = ()
) -> pa.Table:
    """Encoded random outputs."""
    outputs = np.random.default_rng(seed).normal(size=(rows, contract.width)).astype(np.float32)
    labelled = ~np.isin(np.arange(rows), list(rejected))
    return encode(outputs, labelled, contract)


def write_fragment(
    folder: Storage, intent: WriteIntent, labels: pa.Table, contract: Contract, **written: Any
) -> Commit:
    """Write and commit a fragment; `written` is what `write_attempt` takes beside it, and `work`."""
    work = written.pop("work", dict)
    write = partial(write_attempt, folder, intent, labels, contract=contract, **written)
    return commit_fragment(folder, write, labels, contract, work=work)


def commit_labels(
    folder: Storage,
    claim: WriteIntent,
    labels: pa.Table,
    contract: Contract,
    *,
    origin: Provenance = ORIGIN,
):
    """Write and commit a fragment, its rejects being the null rows."""
    nulls = np.flatnonzero(~label_validity(labels, contract))
    rejects = [
        {"shard": "s", "row": claim.start + int(row), "reason": "null", "message": f"row {row}"}
        for row in nulls
    ]
    begun = folder.read_or_none("contract.json")
    if begun is not None and origin is ORIGIN:
        origin = replace(ORIGIN, label_set=unseal(begun, "contract.json")["label_set"])
    return write_fragment(folder, claim, labels, contract, rejects=rejects, provenance=origin)


def claim_of(part: Fragment) -> WriteIntent:
    """The first claim on a fragment."""
    return WriteIntent(
        part.shard.number, int(part.id.split("-")[1]), part.shard.id, part.start, part.rows
    )


def list_pool(root: Path | str, pool: Path | str, name: str = "pool") -> Inventory:
    """The pool's inventory, kept under `root`."""
    return take_inventory(open_storage(str(root)), name, open_storage(str(pool)))


def write_label_set(
    folder: Path,
    contract: Contract,
    inventory: Inventory,
    *,
    fragment_rows: int,
    outputs: np.ndarray,
    rejected=(),
) -> LabelSet:
    """`outputs` (rows, width) of the whole pool, in (shard, row) order, committed fragment by
    fragment."""
    labels = LabelWriter(read_state(open_storage(str(folder)), "teacher", 1))
    labels.begin(contract, inventory, fragment_rows)
    contract = replace(contract, digest_key=labels.digest_key)
    labelled, first = ~np.isin(np.arange(len(outputs)), list(rejected)), 0
    for part in inventory.fragments(fragment_rows):
        table = encode(
            outputs[first : first + part.rows], labelled[first : first + part.rows], contract
        )
        labels.add(commit_labels(labels.folder, claim_of(part), table, contract))
        first += part.rows
    return labels.snapshot()


def stored_outputs(labels: LabelSet) -> np.ndarray:
    """What is stored of all rows, in (shard, row) order."""
    return np.concatenate(
        [decode(labels.read(entry), labels.contract).outputs for entry in labels.entries]
    )


def writer_of(labels: LabelSet) -> LabelWriter:
    """A writer that reads anew what is stored of `labels`."""
    return LabelWriter(read_state(labels.folder, labels.name, labels.version))


def empty_label_set(folder: Path | str) -> LabelSet:
    """The label set of a folder in which nothing was looked for."""
    return LabelSet(open_storage(str(folder)), "teacher", 1, None, Manifest(entries_table([])))


def some_committed(labels: LabelSet, entries: Iterable[ManifestEntry]) -> LabelSet:
    """`labels` with these fragments alone."""
    return replace(labels, entries=Manifest(entries_table(entries)))


def assignment(job: Job, name: str) -> LabelConfig:
    """What the stage tells its workers of `labels.<name>`; the sets are begun."""
    recipe, contract = prepare_labels(job, name)
    parts = {}
    pools = [open_pool(job, pool) for pool in job.labels[name].over]
    for pool in pools:
        folder = label_set_folder(
            open_storage(job.root_uri), name, job.labels[name].version, pool.name
        )
        writer = LabelWriter(read_state(folder, name, 1))
        label_set = writer.begin(contract, pool.inventory, job.fragment_rows)
        parts[pool.name] = PoolPart(pool.files.uri, folder.uri, label_set, pool.inventory.format)
    strict = job.labels[name].deterministic == "strict"
    return LabelConfig(name, recipe, contract, pools[0].features, pools[0].width, parts, strict)


def fragment_tasks(job: Job, pool: str) -> list[FragmentTask]:
    """All fragments of a pool as tasks, as of the first pool of a label set."""
    return [
        FragmentTask(pool, part.shard.key, claim_of(part), ask_again=0 if number else 8)
        for number, part in enumerate(open_pool(job, pool).inventory.fragments(job.fragment_rows))
    ]


def label_by_worker(job: Job, name: str) -> dict[str, list[FragmentResult]]:
    """Label `labels.<name>` whole, in this process: outcomes by pool."""
    told = assignment(job, name)
    worker = LabelWorker(told, "cpu")
    return {
        pool: [
            FragmentResult.from_plain(worker(task.to_plain())) for task in fragment_tasks(job, pool)
        ]
        for pool in told.pools
    }


def train_here(job: Job) -> None:
    """Train all students of the job, in this process, by one rank."""
    plans = [plan_student(job, variant) for variant in job.variants]
    run_trainings(plans, WorkerContext(0, 1, "cpu"))


def keep_network(
    folder: Path,
    heads: dict[str, Outputs],
    in_features: int,
    seed: int = 0,
    model: Network = LINEAR,
    width: int = 1,
) -> tuple[ModelRecord, MultiHead]:
    """An untrained network, kept as a finished model; its heads of values say `width` numbers."""
    plan = NetworkPlan(
        in_features, model, {name: HeadPlan(len(o.classes) or width) for name, o in heads.items()}
    )
    network = build_network(plan, seed)
    weights = safetensors.torch.save(dict(network.state_dict()))
    record = ModelRecord(
        name="student",
        digest="d",
        form="network",
        in_features=in_features,
        heads=heads,
        widths={name: head.width for name, head in plan.heads.items()},
        sha256=hashlib.sha256(weights).hexdigest(),
        parameters=parameter_count(network),
        plan=plan.to_plain(),
    )
    return write_record(open_storage(str(folder)), record, weights), network.eval()
