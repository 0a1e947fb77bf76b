"""Rows per CPU-second that reach a training loop, features and two label sets: `python -m tests.benchmarks.feed_cost`.

    distill      the loader as `train` uses it: lanes, shuffled windows, digests of label files checked, pool ⋈ label sets by row range; nothing cached
    pyarrow      a plain loop over the same files in their order: features to numpy, label columns decoded by the same functions; no digest, no shuffle
    ray data     iter_torch_batches over Parquet that holds the same numbers already joined, as list columns; CPU seconds of all its processes,
                 less those that it spends before the first batch of an empty read

Each in a process of its own, interleaved; every round's ratio counts. The pool has 128 float32 features a row; the label sets are the top 16 of 1,000 classes
and 10 dense logits. One epoch is timed, after another one: the first touches memory that the system must give it, which costs more than reading does
where that is dear, and trainings have many epochs. The pool is larger than what is held decoded, so every row group is read and decoded again.
"""

from __future__ import annotations

import io
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.child import in_child, session_cpu_seconds
from tests.benchmarks.rays import start_bare_ray
from tests.benchmarks.tables import markdown, options, paired_ratio, show

FEATURES, CLASSES, KEPT, FEW = 128, 1_000, 16, 10
FRAGMENT_ROWS, SHARD_ROWS, BATCH_ROWS, LANES = 25_000, 25_000, 4_096, 8


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=1_600_000)
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args(arguments)
    if told.quick:
        told.rows, told.rounds = 4_000, 1
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        in_child(_write, folder=folder, rows=told.rows)
        ways = {"distill": _distill, "pyarrow": _pyarrow, "ray data": _ray_data}
        measured: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
        for number in range(told.rounds):
            for name in list(ways) if number % 2 else list(reversed(ways)):
                measured[name].append(in_child(ways[name], folder=folder))
                assert measured[name][-1]["rows"] == told.rows, (
                    f"{name} gave {measured[name][-1]} of {told.rows} rows"
                )
    show(told, "What reaches a training loop", [_table(measured)], measured)


def _table(measured: dict[str, list[dict[str, Any]]]) -> str:
    speed = {
        name: [run["rows"] / run["cpu_seconds"] for run in runs] for name, runs in measured.items()
    }
    rows = []
    for name, each in speed.items():
        ratio, low, high = paired_ratio(speed["distill"], each)
        rows.append(
            [name, f"{float(np.median(each)):,.0f}", f"{ratio:.2f}", f"{low:.2f}–{high:.2f}"]
        )
    return markdown(
        ["way", "rows per CPU-second (median)", "distill over it", "95% interval"], rows
    )


def _contracts() -> tuple[Any, Any]:
    from tests.making import a_contract, a_topk_contract

    return a_topk_contract(CLASSES, KEPT, (2.0,)), a_contract(tuple(map(str, range(FEW))))


def _write(folder: str, rows: int) -> None:
    """The pool, its label sets, and the same joined for Ray Data."""
    root = Path(folder)
    (root / "joined").mkdir()

    def join(number: int, x: Any, columns: dict[str, Any]) -> None:
        pq.write_table(pa.table({"x": x, **columns}), root / "joined" / f"{number:03d}.parquet")

    write_sets(folder, rows, join)


def write_sets(
    folder: str, rows: int, join: Callable[[int, Any, dict[str, Any]], None] | None = None
) -> None:
    """A pool and its two label sets below a folder of any store; `join` gets each fragment."""
    from distill.labels.encoding import decode, encode
    from distill.labels.state import read_state
    from distill.labels.writer import LabelWriter
    from distill.storage.open import open_storage
    from tests.making import claim_of, commit_labels, list_pool

    files, shard_rows = open_storage(f"{folder}/pool"), min(SHARD_ROWS, rows // 2)
    for number in range(rows // shard_rows):
        x = np.random.default_rng(number).normal(size=(shard_rows, FEATURES)).astype(np.float32)
        content = io.BytesIO()
        pq.write_table(pa.table({"x": _lists(x)}), content, row_group_size=shard_rows)
        files.put(f"{number:03d}.parquet", content.getvalue())
    inventory, contracts = list_pool(f"{folder}/root", f"{folder}/pool"), _contracts()
    sets = [
        LabelWriter(read_state(open_storage(f"{folder}/{name}"), name, 1))
        for name in ("topk", "dense")
    ]
    for labels, contract in zip(sets, contracts, strict=True):
        labels.begin(contract, inventory, FRAGMENT_ROWS)
    for number, part in enumerate(inventory.fragments(FRAGMENT_ROWS)):
        draw, columns = np.random.default_rng(100 + number), {}
        for labels, contract in zip(sets, contracts, strict=True):
            outputs = (4 * draw.normal(size=(part.rows, contract.width))).astype(np.float32)
            table = encode(outputs, np.ones(part.rows, bool), contract)
            labels.add(commit_labels(labels.folder, claim_of(part), table, contract))
            soft = decode(table, contract, 2.0 if contract.temperatures else None)
            columns |= {"logits": _lists(soft.outputs)} if contract.encoding == "dense" else {
                "index": _lists(soft.index.astype(np.int32)), "log_probs": _lists(soft.log_probs),
            }  # fmt: skip
        if join is not None:
            with files.open(part.shard.key) as file:
                x = pq.read_table(file, columns=["x"])["x"].slice(part.start, part.rows)
            join(number, x, columns)
    for labels in sets:
        labels.write_manifest()


def _lists(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def _opened(folder: str) -> tuple[Any, list[Any]]:
    from distill.labels.state import read_label_set
    from distill.storage.open import open_storage
    from tests.making import list_pool

    inventory = list_pool(f"{folder}/root", f"{folder}/pool")
    return inventory, [
        read_label_set(open_storage(f"{folder}/{name}"), name, 1, inventory)
        for name in ("topk", "dense")
    ]


def _distill(folder: str) -> dict[str, float]:
    loader, sampler = open_loader(folder)
    batches = loader.batches()

    def epoch() -> int:
        return sum(int((next(batches)["row"] >= 0).sum()) for _ in range(sampler.steps_per_epoch))

    with closing(loader):
        return _timed(epoch)


def open_loader(folder: str) -> tuple[Any, Any]:
    """The loader of what `write_sets` wrote, and its sampler; nothing decoded is kept."""
    from distill.loader import cache
    from distill.loader.dataset import Dataset, LabelColumn
    from distill.loader.loader import Loader
    from distill.loader.sampler import Sampler, cut_chunks
    from distill.spec.pools import VectorFeatures

    cache.CACHE_BYTES = 0
    inventory, (topk, dense) = _opened(folder)
    contracts = _contracts()
    columns = {
        "0": LabelColumn(contracts[0], (topk,), 2.0),
        "1": LabelColumn(contracts[1], (dense,), None),
    }
    dataset = Dataset(
        (inventory,), VectorFeatures(kind="vector", columns=("x",)), FEATURES, columns
    )
    chunks = cut_chunks(dataset.groups, LANES, dataset.fitting(FRAGMENT_ROWS))
    sampler = Sampler(chunks, LANES, BATCH_ROWS // LANES, 0, dataset.block_rows)
    return Loader(dataset, sampler, rank=0, workers=1), sampler


def _timed(epoch: Callable[[], int]) -> dict[str, float]:
    """The second of two epochs."""
    epoch()
    began = time.process_time()
    return {"rows": epoch(), "cpu_seconds": time.process_time() - began}


def _pyarrow(folder: str) -> dict[str, float]:
    from distill.labels.encoding import decode

    inventory, sets = _opened(folder)
    root, contracts = Path(folder), _contracts()

    def epoch() -> int:
        rows = 0
        for number, shard in enumerate(inventory.shards):
            column = pq.read_table(root / "pool" / shard.key, columns=["x"])["x"]
            x = column.combine_chunks().flatten().to_numpy().reshape(len(column), FEATURES)
            joined = {"x": x}
            for labels, contract in zip(sets, contracts, strict=True):
                parts = []
                for line in labels.entries.of_shard(number):
                    with pa.memory_map(str(Path(labels.folder.uri, line.data))) as file:
                        parts.append(pa.ipc.open_file(file).read_all())
                soft = decode(
                    pa.concat_tables(parts), contract, 2.0 if contract.temperatures else None
                )
                joined |= {
                    f"{labels.name}.{name}": values
                    for name, values in vars(soft).items()
                    if values is not None
                }
            for start in range(0, len(x), BATCH_ROWS):
                rows += len(
                    {name: values[start : start + BATCH_ROWS] for name, values in joined.items()}[
                        "x"
                    ]
                )
        return rows

    return _timed(epoch)


def _ray_data(folder: str) -> dict[str, float]:
    start_bare_ray(os.cpu_count() or 2)
    import ray

    files = sorted(str(file) for file in Path(folder, "joined").iterdir())
    ray.data.range(1).materialize()
    began, rows = session_cpu_seconds(os.getsid(0)), 0
    for batch in ray.data.read_parquet(files).iter_torch_batches(batch_size=BATCH_ROWS):
        rows += len(batch["x"])
    return {"rows": rows, "cpu_seconds": session_cpu_seconds(os.getsid(0)) - began}


if __name__ == "__main__":
    main()
