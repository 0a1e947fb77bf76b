"""How much faster two workers label than one, with a labeler that sleeps.

A labeler that sleeps takes no core, so a machine with two of them (and one under load) can say what
is asked: whether the driver, its dispatch, the store and the commits leave a second worker waiting.
Each run is a fresh process with a Ray of its own. The rate is the steady one: of each worker, the
slope of its commits over time after the first quarter, summed over workers. So neither the start is
in it, nor the last fragment, for which one of two has no partner. (A slope, since the two calls of
a worker commit in pairs: commits over the time between the first and the last were 6% too many.)

Rounds run one and two workers in turn, every second round in reverse order; the ratio is paired by
round, 1 where two workers are twice as fast as one.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.child import in_child
from tests.benchmarks.pools import write_job, write_pool
from tests.benchmarks.simulation.costs import read_costs
from tests.benchmarks.simulation.model import Case, simulate
from tests.benchmarks.tables import markdown, options, paired_ratio, show

LIMIT_RATIO = 0.95


def main(arguments: list[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--workers", type=int, nargs=2, default=[1, 2])
    parser.add_argument("--fragments", type=int, default=25, help="of each worker")
    parser.add_argument("--fragment-rows", type=int, default=2_048)
    parser.add_argument("--seconds", type=float, default=0.5, help="that a fragment is slept over")
    parser.add_argument("--rounds", type=int, default=5)
    told = parser.parse_args(arguments)
    if told.quick:
        told.fragments, told.fragment_rows, told.rounds, told.seconds = 4, 512, 1, 0.1
    folder = Path(tempfile.mkdtemp(prefix="scaling-", dir=told.folder))
    try:
        measured = measure(folder, told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(told, "Scaling of labelling", [_table(measured, told)], measured)


def measure(folder: Path, told: Any) -> list[dict[str, Any]]:
    """Every run: its workers, its steady rate, and seconds of each worker's fragments."""
    runs = []
    jobs = {}
    for workers in told.workers:
        rows = workers * told.fragments * told.fragment_rows
        jobs[workers] = write_job(
            folder / f"job-{workers}",
            write_pool(folder / f"pool-{workers}", rows, told.fragment_rows),
            labeler="Echo",
            fragment_rows=told.fragment_rows,
            actors=workers,
            microseconds=1e6 * told.seconds / told.fragment_rows,
        )
    for number in range(told.rounds):
        order = told.workers if number % 2 == 0 else told.workers[::-1]
        for workers in order:
            root = folder / "root"
            commits = in_child(label, job=str(jobs[workers]), root=str(root))
            shutil.rmtree(root)
            run = {"round": number, "workers": workers, **steady(commits)}
            runs.append(run)
            print(run, file=sys.stderr, flush=True)
    return runs


def label(job: str, root: str) -> dict[str, list[float]]:
    """Label a pool; return when each worker's commits were known to the driver."""
    from distill.core.events import Event, observe
    from distill.engine.ray.session import connect
    from distill.plan.load import load_job
    from distill.run import label_pool

    commits = defaultdict(list)

    def note(event: Event) -> None:
        if event.name == "committed":
            commits[event.worker].append(event.time)

    loaded = load_job(job, root=root)
    connect(None)
    observe(note)
    label_pool(loaded, "teacher")
    return dict(commits)


def steady(commits: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The fragments a second of all workers together, and how many worked. A worker with less than
    two commits has no rate."""
    rates = []
    for times in commits.values():
        later = np.asarray(times[len(times) // 4 :])
        if len(later) > 1:
            slope, _ = np.polyfit(later - later[0], np.arange(len(later)), 1)
            rates.append(float(slope))
    return {"working": len(rates), "rate": sum(rates)}


def ratios(runs: Sequence[Mapping[str, Any]]) -> tuple[float, float, float]:
    """The larger number's rate over the smaller's, by worker: mean and 95% interval."""
    few, many = sorted({run["workers"] for run in runs})
    by_round = sorted(runs, key=lambda run: run["round"])
    rates = {n: [run["rate"] / n for run in by_round if run["workers"] == n] for n in (few, many)}
    return paired_ratio(rates[many], rates[few])


def _table(runs: Sequence[Mapping[str, Any]], told: Any) -> str:
    mean, low, high = ratios(runs)
    few, many = sorted(told.workers)
    said = (
        f"{told.fragments} fragments a worker of {told.fragment_rows:,} rows, {told.seconds:g} s"
        f" each; {told.rounds} rounds. Rate a worker with {many} workers over that with {few}:"
        f" **{mean:.3f}** (95%: {low:.3f} to {high:.3f}). Aim: ≥ {LIMIT_RATIO}."
    )
    heads = [
        "round",
        "workers",
        "fragments/s",
        "of what sleep alone allows",
        "of what is simulated",
    ]
    rows = []
    for run in runs:
        workers = run["workers"]
        alone = workers / told.seconds
        shares = [f"{run['rate'] / due:.3f}" for due in (alone, _simulated(workers, told))]
        rows.append([run["round"], workers, f"{run['rate']:.3f}", *shares])
    return f"{said}\n\n{markdown(heads, rows)}"


def _simulated(workers: int, told: Any) -> float:
    """The steady rate that `simulate` predicts."""
    fragments = 50 * workers
    case = Case(
        rows=fragments * told.fragment_rows,
        fragment_rows=told.fragment_rows,
        gpus=workers,
        rows_a_second=told.fragment_rows / told.seconds,
        cpus=1.0,
    )
    return fragments / simulate(case, read_costs()).seconds


if __name__ == "__main__":
    main()
