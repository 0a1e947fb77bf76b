"""Whether labelling keeps a GPU busy: a ViT-B/16 over raw images and an encoder of BERT-base's size
over texts, in bfloat16.

For each: the model alone over resident tensors (the pool's batches, on the device already),
`label_pool` on a Ray of its own over Parquet, and the model alone again, so that a drift of the
clocks shows; then the labelling once more, whose actor gets SIGKILL when two fifths are committed.
The pool is as long as the model alone would take `--seconds` for.

Rates of a labelling are of its steady state: from the first commit to the last one at which a
fragment was still to be begun. The start before it is told apart. Batches are counted by the
labeler's own log; what was committed in the same span stands beside it, coarser.

Without a GPU it works all the same, with small models (`--quick`). `--asleep MS` puts labelers that
sleep so long a batch in the place of the networks, so that any machine shows what the stage makes a
device wait: `labeler_held_share`.
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.benchmarks.child import Child, in_child
from tests.benchmarks.gpu_pools import (
    CASES,
    QUICK_CASES,
    SHARD_FRAGMENTS,
    Case,
    list_shards,
    write_job,
    write_shards,
)
from tests.benchmarks.gpu_runs import labelled, resident
from tests.benchmarks.tables import machine, markdown, options, show

GOAL_SHARE = 0.95
_LEAST_SHARDS = 4


def main(arguments: list[str] | None = None) -> None:
    told = _options().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="gpu-labelers-", dir=told.folder))
    bench = _Bench(told, folder)
    try:
        for case in QUICK_CASES if told.quick else CASES:
            if case.name in told.cases:
                bench.measure(case)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(told, "Labelling on a GPU", [_said(bench), _rates(bench), _kills(bench)], bench.measured)


def _options() -> Any:
    parser = options(__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--seconds",
        type=float,
        default=50,
        help="of labelling at the resident rate: sizes the pool",
    )
    parser.add_argument(
        "--distinct-shards",
        type=int,
        default=4,
        help="written; the pool lists them again and again",
    )
    parser.add_argument("--actors", type=int, default=1, help="that share the GPU")
    parser.add_argument(
        "--prepare-on", choices=("actor", "cluster"), default="actor", help="as in a job"
    )
    parser.add_argument(
        "--asleep",
        type=float,
        metavar="MS",
        help="no networks: labelers that sleep so long a batch",
    )
    parser.add_argument(
        "--limit-seconds", type=float, default=570, help="for everything; what is measured is kept"
    )
    return parser


class _Bench:
    """What was told, what is measured so far, and the time that is left."""

    def __init__(self, told: Any, folder: Path) -> None:
        self.told, self.folder, self.began = told, folder, time.monotonic()
        if told.quick:
            told.seconds, told.distinct_shards = min(told.seconds, 2), 1
        self.on_gpu = in_child(has_gpu)
        self.measured: dict[str, Any] = {
            "machine": machine(),
            "goal_share": GOAL_SHARE,
            "on_gpu": self.on_gpu,
            "tiny": told.quick,
            "asleep_ms": told.asleep,
            "actors": told.actors,
            "prepare_on": told.prepare_on,
            "cases": {},
        }

    def measure(self, case: Case) -> None:
        """Everything of one case; each part is kept as soon as it is there."""
        told, folder = self.told, self.folder / case.name
        got = self.measured["cases"][case.name] = {
            name: getattr(case, name) for name in ("batch_rows", "fragment_rows", "group_rows")
        }
        self._say(f"{case.name}: writing {told.distinct_shards} shards of {case.shard_rows:,} rows")
        made = write_shards(folder / "made", case, told.distinct_shards)
        list_shards(folder / "pool", made, 1)
        job = self._job(folder, case)
        alone = self._alone(got, "resident", job)
        shards = max(_LEAST_SHARDS, math.ceil(told.seconds * alone / case.shard_rows))
        list_shards(folder / "pool", made, shards)
        fragments = shards * SHARD_FRAGMENTS
        whole = self._labelled(got, "labelling", job, fragments)
        alone = statistics.fmean([alone, self._alone(got, "resident_again", job)])
        killed = self._labelled(got, "killed", job, fragments, kill=True)
        got["share_of_resident"] = whole["steady"]["rows_per_second"] / alone
        got["goal_met"] = got["share_of_resident"] >= GOAL_SHARE
        got["same_labels_after_kill"] = killed["label_hash"] == whole["label_hash"]
        shutil.rmtree(folder)

    def _job(self, folder: Path, case: Case) -> Path:
        told = self.told
        return write_job(
            folder,
            replace(case, labeler=f"Asleep{case.labeler}") if told.asleep else case,
            actors=told.actors,
            gpus=self.on_gpu / told.actors,
            prepare_on=told.prepare_on,
            log=str(folder / "batches.log"),
            asleep_seconds=(told.asleep or 0) / 1_000,
        )

    def _alone(self, got: dict[str, Any], name: str, job: Path) -> float:
        """Rows a second of the model over resident tensors."""
        child = Child(resident, job=str(job), round_seconds=0.1 if self.told.quick else 1.5)
        return self._keep(got, name, child.answer(self._left()))["rows_per_second"]

    def _labelled(
        self, got: dict[str, Any], name: str, job: Path, fragments: int, *, kill: bool = False
    ) -> dict[str, Any]:
        run = labelled(
            job, fragments=fragments, actors=self.told.actors, limit_seconds=self._left(), kill=kill
        )
        if self.on_gpu and run["devices"] != ["cuda"]:
            raise RuntimeError(f"there is a GPU, but labels were made on {run['devices']}")
        return self._keep(got, name, run)

    def _keep(self, got: dict[str, Any], name: str, answer: dict[str, Any]) -> dict[str, Any]:
        got[name] = answer
        self._say(f"{name}: {json.dumps(answer)}")
        if self.told.out:
            self.told.out.write_text(json.dumps(self.measured, indent=1), "utf-8")
        return answer

    def _left(self) -> float:
        return max(1.0, self.told.limit_seconds - (time.monotonic() - self.began))

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", file=sys.stderr, flush=True)


def has_gpu() -> bool:
    """In a child, so that nothing here holds memory of the device."""
    import torch

    return torch.cuda.is_available()


def _said(bench: _Bench) -> str:
    told = bench.told
    first = next(iter(bench.measured["cases"].values()))["resident"]
    where = f"{first['device']}, torch {first['torch']}, CUDA {first['cuda']}"
    models = (
        f"labelers that sleep {told.asleep:g} ms a batch" if told.asleep else "models in bfloat16"
    )
    tiny = " **Tiny sizes: shows that it works, measures nothing.**" if told.quick else ""
    return f'{where}; {models}; {told.actors} actor(s), `prepare_on = "{told.prepare_on}"`.{tiny}'


def _rates(bench: _Bench) -> str:
    heads = [
        "pool",
        "model alone, rows/s",
        "again",
        "labelling, rows/s",
        f"share (aim ≥ {GOAL_SHARE})",
        "labeler held",
        "GPU busy",
        "CPU cores",
        "Ray's start s",
        "to the first batch s",
        "`label_pool` s",
        "rows",
    ]
    rows = []
    for name, got in bench.measured["cases"].items():
        run = got["labelling"]
        steady = run["steady"]
        rows.append(
            [
                name,
                f"{got['resident']['rows_per_second']:,.0f}",
                f"{got['resident_again']['rows_per_second']:,.0f}",
                f"{steady['rows_per_second']:,.0f}",
                f"{got['share_of_resident']:.3f}",
                f"{steady['labeler_held_share']:.3f}",
                _or_dash(steady["gpu_busy_share"]),
                _or_dash(steady["cpu_cores_used"]),
                f"{run['ray_start_seconds']:.1f}",
                f"{run['first_batch_after_seconds']:.1f}",
                f"{run['label_pool_seconds']:.1f}",
                f"{run['rows']:,}",
            ]
        )
    return markdown(heads, rows)


def _kills(bench: _Bench) -> str:
    heads = [
        "actor killed",
        "s to its successor's first batch",
        "s to the next commit",
        "rows/s before",
        "after",
        "after / before",
        "labelled + rejected of rows",
        "problems",
        "labels as without the kill",
    ]
    rows = []
    for name, got in bench.measured["cases"].items():
        run = got["killed"]
        kill = run["kill"]
        rows.append(
            [
                name,
                f"{kill['seconds_to_first_batch']:.1f}",
                f"{kill['seconds_to_first_commit']:.1f}",
                f"{kill['before']['rows_per_second']:,.0f}",
                f"{kill['after']['rows_per_second']:,.0f}",
                f"{kill['after_over_before']:.3f}",
                f"{run['labelled']:,} + {run['rejected']:,} of {run['rows']:,}",
                len(run["problems"]),
                "yes" if got["same_labels_after_kill"] else "no",
            ]
        )
    return markdown(heads, rows)


def _or_dash(number: float | None) -> str:
    return "–" if number is None else f"{number:.3f}"


if __name__ == "__main__":
    main()
