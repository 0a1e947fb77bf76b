"""Planning of 200,000 fragments (10 billion rows), and what memory a labelling takes at 16 times
the rows.

The pool is real: 10,000 shards of 1,000,000 rows, every one a hard link to the same Parquet file
(20 row groups; the same size and time, another key, so another id), listed by distill itself. One
fragment is really labelled and committed; the other commits are that one under their own claims,
written as the objects that a finished labelling leaves (commit, data of the committed size,
manifest by distill's own code). All on this machine's disk.

- all committed: `label_pool` of a finished set, which starts no Ray and opens no file of the pool;
- half committed (every second fragment): `label_pool` until the first newly labelled fragment is
  told to the progress bar, everything else
  having been planned and handed over to Ray. Ray is up before, as a cluster would be.

Memory of planning: peak resident and peak unique memory of the process above what it held when
everything was imported (in the half-committed case Ray and Ray Data too). Arrow builds its table of
compute kernels (some 35 MB) at the first call and not at import; one is called before. Memory of
labelling: peak unique memory (USS) of each process of a real labelling, sampled twice a second, at
1× and 16× the rows.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tests.benchmarks.child import Child, answer_and_leave, in_child, session_pids
from tests.benchmarks.pools import write_job, write_pool
from tests.benchmarks.rays import shared, start_ray
from tests.benchmarks.tables import markdown, options, show

WIDTH, LINKS_A_FILE = 4, 10_000
"""ext4 gives a file at most 65,000 names, and each round of the half-committed set takes some."""
LIMIT_SECONDS, LIMIT_MIB = 10.0, 128.0
LIMIT_FACTOR, LIMIT_MORE_MIB = 1.10, 64.0
MIB = 1 << 20


def main(arguments: list[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--shard-rows", type=int, default=1_000_000)
    parser.add_argument("--fragment-rows", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=3, help="of planning")
    parser.add_argument(
        "--once",
        type=int,
        default=8,
        help="fragments of the labelling at 1×; 16 times as many at 16×",
    )
    told = parser.parse_args(arguments)
    if told.quick:
        told.shards, told.shard_rows, told.fragment_rows, told.rounds, told.once = (
            20,
            2_560,
            128,
            1,
            1,
        )
    folder = Path(tempfile.mkdtemp(prefix="scale-", dir=told.folder))
    try:
        measured = measure(folder, told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(told, "Scale", [_plan_table(measured, told), _memory_table(measured, told)], measured)


def measure(folder: Path, told: Any) -> dict[str, Any]:
    """Planning of the finished and of the half-finished set, and the memory of two labellings."""
    in_child(
        make_sets,
        folder=str(folder),
        shards=told.shards,
        shard_rows=told.shard_rows,
        fragment_rows=told.fragment_rows,
    )
    plans = {"all committed": [], "half committed": []}
    for number in range(told.rounds):
        plans["all committed"].append(in_child(plan_finished, job=str(folder / "full/job.toml")))
        half = (
            folder / f"half-{number}"
        )  # each hand-over labels a fragment or two, so it gets a set of its own
        _link_tree(folder / "half", half)
        plans["half committed"].append(in_child(plan_half, job=str(half / "job.toml")))
        shutil.rmtree(half)
    labellings = {
        times: label_watched(folder / f"labelling-{times}", times * told.once, told.fragment_rows)
        for times in (1, 16)
    }
    return {"plans": plans, "labellings": labellings}


def make_sets(folder: str, shards: int, shard_rows: int, fragment_rows: int) -> dict[str, int]:
    """The pool, its inventory, and two label sets: `full` and `half`."""
    from distill.plan.load import load_job

    pool = _linked_pool(Path(folder, "pool"), shards, shard_rows, fragment_rows)
    made = {}
    for name, every in (("full", 1), ("half", 2)):
        job = load_job(
            write_job(
                Path(folder, name), pool, labeler="Echo", fragment_rows=fragment_rows, actors=1
            )
        )
        made[name] = _commit(job, Path(folder, name), every)
    return made


def plan_finished(job: str) -> dict[str, Any]:
    """`label_pool` where nothing is left."""
    import sys

    from distill.plan.load import load_job
    from distill.run import label_pool

    loaded = load_job(job)
    with _peak_memory() as peak:
        began = time.perf_counter()
        (summary,) = label_pool(loaded, "teacher")
        seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
        **peak,
        "fragments": summary.fragments,
        "rows": summary.rows,
        "ray_imported": "ray" in sys.modules,
    }


def plan_half(job: str) -> None:
    """`label_pool` until the first fragment comes back, and out."""
    from distill.core.progress import show_on
    from distill.plan.load import load_job
    from distill.run import label_pool

    loaded = load_job(job)
    start_ray()  # imports Ray Data and Ray Train
    with _peak_memory() as peak:
        show_on(_LeavesAtFirstAnswer(time.perf_counter(), peak))
        label_pool(loaded, "teacher")


class _LeavesAtFirstAnswer:
    """A `distill.core.progress.Display` that ends the process when the first fragment is done,
    saying what the way there took."""

    def __init__(self, began: float, peak: dict[str, float]) -> None:
        self.began, self.peak, self.total = began, peak, 0.0

    def begin(self, title: str, total: float, unit: str) -> _LeavesAtFirstAnswer:  # noqa: ARG002
        self.total = total
        return self

    def advance(self, amount: float, note: str = "") -> None:  # noqa: ARG002
        seconds = time.perf_counter() - self.began
        self.peak["look"]()
        del self.peak["look"]
        answer_and_leave({"seconds": seconds, **self.peak, "rows_left": self.total})

    def waits(self, what: str) -> None:
        pass

    def end(self, bar: object) -> None:
        pass


@contextmanager
def _peak_memory() -> Iterator[dict[str, Any]]:
    """MiB above what the process holds now: peak resident, peak unique. `look` brings them up to
    date."""
    import pyarrow.compute as pc

    pc.sum([0])
    Path("/proc/self/clear_refs").write_text("5")
    resident, unique, over = _status("VmRSS"), _unique(os.getpid()), threading.Event()
    peak: dict[str, Any] = {"resident_mib": 0.0, "unique_mib": 0.0}

    def look() -> None:
        peak["resident_mib"] = (_status("VmHWM") - resident) / MIB
        peak["unique_mib"] = max(peak["unique_mib"], (_unique(os.getpid()) - unique) / MIB)

    def watch() -> None:
        while not over.wait(0.1):
            look()

    peak["look"] = look
    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()
        look()
        del peak["look"]


def label_watched(folder: Path, fragments: int, fragment_rows: int) -> dict[str, Any]:
    """A real labelling, and the peak unique memory (MiB) of each of its processes by what they are."""
    from tests.benchmarks.resume import label

    pool = write_pool(folder / "pool", fragments * fragment_rows, fragment_rows, width=16)
    child = Child(
        label,
        job=str(write_job(folder, pool, labeler="Echo", fragment_rows=fragment_rows, actors=2)),
    )
    sessions = {child.process.pid, shared().get("session", child.process.pid)}
    peak: defaultdict[str, int] = defaultdict(int)
    while child.running:
        for pid in itertools.chain(*map(session_pids, sessions)):
            role = _role(pid, child.process.pid)
            if role:
                peak[role] = max(peak[role], _unique(pid))
        time.sleep(0.5)
    return {**child.answer(), "unique_mib": {role: size / MIB for role, size in peak.items()}}


def _role(pid: int, driver: int) -> str | None:
    """Driver, labeler actor, or another process of Ray by its title; None where it is gone."""
    try:
        title = (
            Path(f"/proc/{pid}/cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
            .strip()
        )
    except OSError:
        return None
    if pid == driver:
        return "driver"
    if title.startswith("ray::"):
        return "labeler actor" if title.startswith("ray::MapWorker") else title
    return (
        Path(title.split(" ", 1)[0]).name
        if title and "python" not in title.split(" ", 1)[0]
        else "Ray's Python processes"
    )


def _unique(pid: int) -> int:
    """Bytes that no other process shares; 0 where it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * sum(
        int(line.split()[1])
        for line in lines
        if line.startswith(("Private_Clean:", "Private_Dirty:"))
    )


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


def _linked_pool(folder: Path, shards: int, rows: int, fragment_rows: int) -> Path:
    """Shards that are all one file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    values = pa.array(np.tile(np.arange(WIDTH, dtype=np.float32), rows))
    first = folder / "part-00000.parquet"
    pq.write_table(
        pa.table({"x": pa.FixedSizeListArray.from_arrays(values, WIDTH)}),
        first,
        row_group_size=fragment_rows,
        compression="zstd",
    )
    for number in range(1, shards):
        os.link(first, folder / f"part-{number:05d}.parquet")
    return folder


def _commit(job: Any, folder: Path, every: int) -> int:
    """Commit each `every`-th fragment: the first by a labeler, the others as copies of it under
    their own claims."""
    from distill.labels.writer import LabelWriter
    from distill.stages.label.messages import FragmentResult
    from distill.stages.label.worker import LabelWorker
    from tests.making import assignment, fragment_tasks
    from tests.resolved import label_set_state

    told, tasks = assignment(job, "teacher"), fragment_tasks(job, "rows")[::every]
    labels = LabelWriter(label_set_state(job, "teacher", "rows"))
    real = FragmentResult.from_plain(LabelWorker(told, "cpu")(tasks[0].to_plain())).commit
    base = Path(labels.folder.uri)
    (data,) = (base / "data").rglob("*.arrow")
    originals = [data]
    for number, task in enumerate(tasks):
        if number:
            if number % LINKS_A_FILE == 0:
                originals.append(Path(shutil.copy2(data, folder / f"data-{number}.arrow")))
            labels.add(_copied(real, task.intent, base, originals[-1], number))
    labels.add(real)
    labels.write_manifest()
    return len(tasks)


def _copied(real: Any, claim: Any, base: Path, data: Path, number: int) -> Any:
    """The commit `real` as that of another fragment; its objects are written."""
    attempt = f"{number:032x}"
    commit = replace(real, **asdict(claim), attempt=attempt)
    (base / "data" / claim.fragment).mkdir()
    os.link(data, base / commit.data)
    (base / commit.key).write_bytes(commit.to_bytes())
    return commit


def _link_tree(source: Path, target: Path) -> None:
    """The job and its root again: control objects are copied, data files are linked."""
    for folder, _, files in os.walk(source):
        here = target / Path(folder).relative_to(source)
        here.mkdir(parents=True)
        for name in files:
            (os.link if name.endswith(".arrow") and "data" in here.parts else shutil.copy2)(
                Path(folder, name), here / name
            )


def _plan_table(measured: dict[str, Any], told: Any) -> str:
    per_shard = -(-told.shard_rows // told.fragment_rows)
    said = (
        f"{told.shards * per_shard:,} fragments ({told.shards * told.shard_rows:,} rows, {told.shards:,} shards); the worst of {told.rounds} runs. "
        f"Aim: < {LIMIT_SECONDS:g} s and < {LIMIT_MIB:g} MB above imports."
    )
    heads = [
        "label_pool where",
        "seconds",
        "peak resident MiB above imports",
        "peak unique MiB above imports",
    ]
    rows = [
        [
            way,
            *(
                f"{max(run[kind] for run in runs):.1f}"
                for kind in ("seconds", "resident_mib", "unique_mib")
            ),
        ]
        for way, runs in measured["plans"].items()
    ]
    return f"{said}\n\n{markdown(heads, rows)}"


def _memory_table(measured: dict[str, Any], told: Any) -> str:
    once, many = (measured["labellings"][times]["unique_mib"] for times in (1, 16))
    said = (
        f"Labelling of {told.once} and {16 * told.once} fragments of {told.fragment_rows:,} rows. "
        f"Aim: at 16× at most {LIMIT_FACTOR:.2f} × + {LIMIT_MORE_MIB:g} MB."
    )
    heads = ["process", "peak unique MiB at 1×", "at 16×", "allowed at 16×"]
    rows = [
        [
            role,
            f"{once[role]:.1f}",
            f"{many[role]:.1f}",
            f"{LIMIT_FACTOR * once[role] + LIMIT_MORE_MIB:.1f}",
        ]
        for role in sorted(once.keys() & many.keys(), key=lambda role: -many[role])
    ]
    return f"{said}\n\n{markdown(heads, rows)}"


if __name__ == "__main__":
    main()
