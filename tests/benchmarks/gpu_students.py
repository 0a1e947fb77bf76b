"""What a student's step costs on a GPU with stored labels, with none, and with an online teacher; and what share of a bare loop `distill train` reaches.

Two students: a CNN over 3×64×64 images beside a ViT-B/16, an MLP over 1,024 numbers beside a larger one; 4,096 rows a batch, 1,000 classes.

    steps      each way of a step (`gpu_steps`), in float32 as torch has it by default and in bfloat16 autocast, compiled as `training.compile`
               does it and not: blocks that alternate, their ratios by pairs
    training   `distill train` in a Ray, one worker, compiled and in bfloat16, its pool and labels on a local disk, in its steady state
               (`gpu_trainings`); beside it, before and after, a bare loop over the same batches on the device

Every part is a process of its own and is kept as soon as it is there. A part that fails, or for which no time is left, is named, the others are
measured all the same, and the exit code is 1. Without a GPU it works all the same, with tiny networks (`--quick`).
"""

from __future__ import annotations

import json
import math
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from tests.benchmarks.child import Child, in_child
from tests.benchmarks.gpu_labelers import has_gpu
from tests.benchmarks.gpu_pools import list_shards
from tests.benchmarks.gpu_runs import label
from tests.benchmarks.gpu_steps import step_times
from tests.benchmarks.gpu_student_cases import CASES, KEPT, find_case, write_job, write_shards
from tests.benchmarks.gpu_trainings import resident, trained
from tests.benchmarks.tables import machine, markdown, options, paired_ratio, show

STORED = f"stored top-{KEPT}"
PAIRS = {
    "what distill's step adds": ("target", "plain"),
    "what copying a batch adds": ("plain", "plain resident"),
    f"{STORED} over cross-entropy only": (STORED, "target"),
    "stored dense over cross-entropy only": ("stored dense", "target"),
    "online teacher over cross-entropy only": ("online teacher", "target"),
    f"online teacher over {STORED}": ("online teacher", STORED),
}
SETTINGS = (("bfloat16", True), ("bfloat16", False), ("float32", False), ("float32", True))
"""Precision, and whether compiled; the last two once both students have the first two."""
QUICK_SETTINGS = (("bfloat16", True), ("float32", False))
_LEAST_SECONDS, _MOST_SECONDS = 15, 240
"""A part is not begun with less, and no process of one is waited for longer: one that hangs does
not cost the others."""


def main(arguments: list[str] | None = None) -> None:
    told = _options().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="gpu-students-", dir=told.folder))
    bench = _Bench(told, folder)
    try:
        for part in bench.parts():
            bench.measure(part)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(
        told, "Students on a GPU", [_said(bench), _steps(bench), _trainings(bench)], bench.measured
    )
    if bench.measured["failed"]:
        sys.exit(f"not measured: {', '.join(bench.measured['failed'])}")


def _options() -> Any:
    parser = options(__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--cases", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--parts", nargs="+", choices=("training", "steps"), default=("training", "steps")
    )
    parser.add_argument("--seconds", type=float, default=15, help="of a training's steady state")
    parser.add_argument(
        "--step-seconds",
        type=float,
        default=10,
        help="of timing steps, for each student and setting",
    )
    parser.add_argument(
        "--limit-seconds", type=float, default=570, help="for everything; what is measured is kept"
    )
    return parser


@dataclass(frozen=True)
class _Part:
    name: str
    measure: Callable[[], None]


class _Bench:
    """What was told, what is measured so far, and the time that is left."""

    def __init__(self, told: Any, folder: Path) -> None:
        self.told, self.folder, self.began = told, folder, time.monotonic()
        if told.quick:
            told.seconds, told.step_seconds = min(told.seconds, 1), 0
        self.measured: dict[str, Any] = {
            "machine": machine(),
            "on_gpu": in_child(has_gpu),
            "tiny": told.quick,
            "trainings": {},
            "steps": {},
            "failed": {},
        }

    def parts(self) -> Iterator[_Part]:
        """What tells most comes first, should time run out."""
        rounds = (QUICK_SETTINGS,) if self.told.quick else (SETTINGS[:2], SETTINGS[2:])
        for settings in rounds:
            for case in self.told.cases:
                if "training" in self.told.parts and settings == rounds[0]:
                    yield _Part(f"training, {case}", partial(self._training, case))
                for precision, compiled in settings if "steps" in self.told.parts else ():
                    name = f"{case}, {precision}, {'compiled' if compiled else 'not compiled'}"
                    yield _Part(
                        f"steps, {name}", partial(self._steps, name, case, precision, compiled)
                    )

    def measure(self, part: _Part) -> None:
        """One part, kept; or why it is not there."""
        try:
            if self._left() < _LEAST_SECONDS:
                raise RuntimeError(
                    f"of {self.told.limit_seconds:g} s only {self._left():.0f} were left"
                )
            part.measure()
        except (RuntimeError, TimeoutExpired) as error:
            self.measured["failed"][part.name] = str(error)
            self._say(f"{part.name} FAILED: {error}")
        self._write()

    def _steps(self, name: str, case: str, precision: str, compiled: bool) -> None:
        told = {"quick": self.told.quick, "precision": precision, "seconds": self.told.step_seconds}
        self._say(f"steps, {name}")
        got = Child(step_times, case=case, compiled=compiled, **told).answer(self._limit())
        self._require_gpu(got["device"])
        seconds = got["seconds"]
        got["ratios"] = {
            pair: _ratio(seconds[ours], seconds[theirs]) for pair, (ours, theirs) in PAIRS.items()
        }
        self._keep(self.measured["steps"], name, got)

    def _training(self, name: str) -> None:
        case, told, folder = find_case(name, self.told.quick), self.told, self.folder / name
        got = self.measured["trainings"][name] = {"rows": case.rows, "batch_rows": case.batch_rows}
        self._say(
            f"{name}: writing {case.written} shards of {case.shard_rows:,} rows, and labelling {case.rows:,} rows"
        )
        list_shards(folder / "pool", write_shards(folder / "made", case), case.shards)
        job = write_job(folder, case)
        labelled = Child(label, job=str(job)).answer(self._limit())
        if labelled["labelled"] != case.rows or labelled["problems"]:
            raise RuntimeError(
                f"of {case.rows} rows {labelled['labelled']} were labelled: {labelled['problems']}"
            )
        alone = partial(Child, resident, job=str(job), seconds=told.seconds / 5)
        self._keep(got, "resident", alone().answer(self._limit()))
        run = trained(job, rows=case.rows, seconds=told.seconds, limit_seconds=self._limit())
        self._keep(got, "training", run)
        self._require_gpu(run["device"])
        self._keep(got, "resident_again", alone().answer(self._limit()))
        bare = statistics.fmean(
            got[each]["rows_per_second"] for each in ("resident", "resident_again")
        )
        got["share_of_resident"] = run["rows_per_second"] / bare
        shutil.rmtree(folder)

    def _require_gpu(self, device: str) -> None:
        if self.measured["on_gpu"] and device == "cpu":
            raise RuntimeError("there is a GPU, but this ran on the CPU")

    def _keep(self, got: dict[str, Any], name: str, answer: dict[str, Any]) -> None:
        got[name] = answer
        self._say(
            f"{name}: {json.dumps({key: value for key, value in answer.items() if key != 'seconds'})}"
        )
        self._write()

    def _write(self) -> None:
        if self.told.out:
            self.told.out.write_text(json.dumps(self.measured, indent=1), "utf-8")

    def _limit(self) -> float:
        return min(_MOST_SECONDS, self._left())

    def _left(self) -> float:
        return max(1.0, self.told.limit_seconds - (time.monotonic() - self.began))

    def _say(self, what: str) -> None:
        print(f"{time.monotonic() - self.began:6.1f} s  {what}", file=sys.stderr, flush=True)


def _ratio(ours: list[float], theirs: list[float]) -> dict[str, float]:
    mean, low, high = paired_ratio(ours, theirs)
    median = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return {"median": median, "mean": mean, "low": low, "high": high}


def _said(bench: _Bench) -> str:
    measured = bench.measured
    got = [
        *measured["steps"].values(),
        *(each["resident"] for each in measured["trainings"].values() if "resident" in each),
    ]
    where = (
        f"{got[0]['device']}, torch {got[0]['torch']}, CUDA {got[0]['cuda']}."
        if got
        else "Nothing was measured."
    )
    tiny = " **Tiny sizes: shows that it works, measures nothing.**" if bench.told.quick else ""
    failed = "".join(
        f"\n\nNot measured: {name}: {why[-300:]}" for name, why in measured["failed"].items()
    )
    return f"{where}{tiny}{failed}"


def _steps(bench: _Bench) -> str:
    heads = [
        "student",
        "step over step",
        "median ratio",
        "mean",
        "95% interval",
        "ms",
        "of the second",
        "pairs",
    ]
    rows = []
    for name, got in bench.measured["steps"].items():
        for pair, ratio in got["ratios"].items():
            ours, theirs = (got["seconds"][each] for each in PAIRS[pair])
            rows.append([
                name,
                pair,
                f"{ratio['median']:.3f}",
                f"{ratio['mean']:.3f}",
                f"{ratio['low']:.3f}–{ratio['high']:.3f}",
                *(f"{1_000 * statistics.median(each):.2f}" for each in (ours, theirs)),
                len(ours),
            ])  # fmt: skip
    return markdown(heads, rows)


def _trainings(bench: _Bench) -> str:
    heads = [
        "training, bfloat16, compiled",
        "bare loop, rows/s",
        "again",
        "`distill train`, rows/s",
        "share",
        "waits for its feed",
        "GPU busy",
        "CPU cores",
        "s to the first epoch's end",
        "steady s",
    ]
    whole = {
        name: got for name, got in bench.measured["trainings"].items() if "share_of_resident" in got
    }
    return markdown(heads, [_training_row(name, got) for name, got in whole.items()])


def _training_row(name: str, got: Mapping[str, Any]) -> list[str]:
    run = got["training"]
    return [
        name,
        *(
            f"{got[each]['rows_per_second']:,.0f}"
            for each in ("resident", "resident_again", "training")
        ),
        f"{got['share_of_resident']:.3f}",
        *(
            _or_dash(run[each])
            for each in ("waits_for_feed_share", "gpu_busy_share", "cpu_cores_used")
        ),
        *(f"{run[each]:.1f}" for each in ("to_first_epoch_end_seconds", "steady_seconds")),
    ]


def _or_dash(number: float | None) -> str:
    return "–" if number is None or math.isnan(number) else f"{number:.3f}"


if __name__ == "__main__":
    main()
