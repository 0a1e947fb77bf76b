"""What is done again: after three kills, and on a rerun of what is finished; distill beside bare
Ray Data with `CheckpointConfig`.

Kills: SIGKILL when 25, 50 and 90% of the fragments are committed (bare Ray Data: of the rows are
written), the same command again each time, at once when the processes are gone. Once of the
driver's process group, which Ray's actors outlive by about two seconds, in which they end what they
have in hand; and once of every process at the same moment, as of a machine that is taken away. The
labeler answers each row with its id and notes every batch that it is asked, so what was computed
again, is missing, doubled or at a wrong row is counted from what is stored and from that log. Bare
Ray Data gets a block a fragment, so that both can resume at the same grain, and four logical CPUs
for its checkpoint actors (with two it hangs).

An actor of distill has two fragments in its hands: one holds the device, the other is read or
written. "Begun again" counts fragments of which a batch was asked in more than one attempt; it may
be at most one a worker and kill for what was in the device, two where the other was being written.

Rerun: the pool's files are overwritten with zeros of the same length and time before distill's
rerun, so that any use of a pool byte would end it with an error. Bare Ray Data's reads are counted
at its filesystem.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from distill.plan.load import load_job
from distill.run import label_pool
from distill.storage.request_counts import requests
from tests.benchmarks import rays
from tests.benchmarks.child import Child, in_child
from tests.benchmarks.counting import bytes_counted
from tests.benchmarks.pools import write_job, write_pool
from tests.benchmarks.tables import markdown, options, show

KILLS = (0.25, 0.5, 0.9)
"""Shares of the fragments that are committed then."""
HOW = {"the driver's group": Child.kill_group, "every process": Child.kill_all}
LIMIT_SECONDS = 900


def main(arguments: list[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--fragment-rows", type=int, default=50_000, help="as in label_cost")
    parser.add_argument("--fragments", type=int, default=40)
    parser.add_argument(
        "--many",
        type=int,
        default=2_000,
        help="fragments of 64 rows of the set whose rerun's requests are counted",
    )
    parser.add_argument("--microseconds", type=float, default=15.0, help="the labeler's time a row")
    parser.add_argument("--actors", type=int, default=2)
    parser.add_argument("--kills", type=float, nargs="+", default=KILLS, help="at these shares")
    parser.add_argument("--how", nargs="+", choices=HOW, default=list(HOW))
    told = parser.parse_args(arguments)
    if told.quick:
        told.fragment_rows, told.fragments, told.many, told.microseconds = 512, 24, 30, 500.0
        told.kills, told.actors, told.how = [0.5], 1, ["the driver's group"]
    folder = Path(tempfile.mkdtemp(prefix="resume-", dir=told.folder))
    try:
        measured = measure(folder, told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    show(
        told, "What is done again", [_kill_table(measured, told), _rerun_table(measured)], measured
    )


def measure(folder: Path, told: Any) -> dict[str, Any]:
    """Kills and reruns of both."""
    rows = told.fragments * told.fragment_rows
    pool = write_pool(folder / "pool", rows, told.fragment_rows, width=16)
    kills = {
        how: {
            name: killed(way(folder / f"{name}-{number}", pool, told), kill, rows, told)
            for name, way in (("distill", _Distill), ("bare", _Bare))
        }
        for number, (how, kill) in enumerate((how, HOW[how]) for how in told.how)
    }
    bare_rerun = _Bare(folder / "bare-0", pool, told).rerun()
    ours_rerun = rerun(folder / "distill-0", pool)
    many = write_pool(folder / "many-pool", told.many * 64, 64, width=16)
    # the local engine has one actor
    job = write_job(folder / "many", many, labeler="Echo", fragment_rows=64, actors=1)
    label_pool(load_job(job), "teacher", engine="local")
    return {
        "kills": kills,
        "reruns": {
            "distill": ours_rerun,
            "distill, many": rerun(folder / "many", many),
            "bare": bare_rerun,
        },
    }


def killed(
    way: _Distill | _Bare, kill: Callable[[Child], float], rows: int, told: Any
) -> dict[str, Any]:
    """Kills, and a last run; what it cost and what is stored."""
    outlived, began = [], time.monotonic()
    for share in told.kills:
        child = way.start()
        if _wait_until(lambda share=share: way.done_share() >= share, child):
            outlived.append(kill(child))
        else:
            raise RuntimeError(
                f"it ended before {share:.0%} were done; give it more fragments or a slower labeler\n{child.said()[-4_000:]}"
            )
    way.start().answer(LIMIT_SECONDS)
    seconds = time.monotonic() - began
    ids = way.stored_ids()
    asked = np.loadtxt(way.log, dtype=np.int64, ndmin=2)
    begun = Counter(
        (asked[:, 1] // told.fragment_rows)[asked[:, 1] % told.fragment_rows == 0].tolist()
    )
    times = np.bincount(ids, minlength=rows)
    return {
        "seconds": seconds,
        "kills": len(outlived),
        "outlived_seconds": outlived,
        "rows": rows,
        "rows_asked": int(asked[:, 2].sum()),
        "begun_again": sum(number - 1 for number in begun.values()),
        "doubled": int((times > 1).sum()),
        "missing": int((times == 0).sum()),
        "misplaced": int((np.sort(ids) != ids).sum()) if isinstance(way, _Distill) else None,
    }


def label(job: str) -> dict[str, Any]:
    """`label_pool` as the command calls it: Ray only where there is work, and how often it was
    started."""
    from distill.engine.ray.session import start_ray_by

    inits = 0

    def start_ray() -> None:
        nonlocal inits
        inits += 1
        rays.start_ray()

    start_ray_by(start_ray)
    before, began = requests(), time.perf_counter()
    (summary,) = label_pool(load_job(job), "teacher")
    return {
        "seconds": time.perf_counter() - began,
        "requests": asdict(requests() - before),
        "ray_inits": inits,
        "ray_imported": "ray" in sys.modules,
        "fragments": summary.fragments,
        "labelled_now": summary.labelled_now,
        "rows": summary.rows,
    }


def rerun(folder: Path, pool: Path) -> dict[str, Any]:
    """A finished labelling once more, over a pool of which not a byte can be used."""
    for file in pool.iterdir():
        status = file.stat()
        with file.open("r+b") as opened:
            opened.write(bytes(status.st_size))
        os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    return {**in_child(label, job=str(folder / "job.toml")), "pool_bytes": 0}


class _Distill:
    def __init__(self, folder: Path, pool: Path, told: Any) -> None:
        self.folder, self.fragments, self.log = folder, told.fragments, folder / "asked.log"
        self.job = write_job(
            folder,
            pool,
            labeler="Echo",
            fragment_rows=told.fragment_rows,
            actors=told.actors,
            microseconds=told.microseconds,
            log=str(self.log),
        )

    def start(self) -> Child:
        return Child(label, job=str(self.job))

    def done_share(self) -> float:
        return (
            len(list(self.folder.glob("root/labels/teacher/v1/rows/commits/*.json")))
            / self.fragments
        )

    def stored_ids(self) -> np.ndarray:
        """What stands in each row's place, in (shard, row) order."""
        from distill.labels.encoding import decode
        from tests.resolved import label_set

        labels = label_set(load_job(self.job), "teacher", "rows")
        contract = labels.contract
        outputs = np.concatenate(
            [decode(labels.read(line), contract).outputs for line in labels.entries]
        )
        return (outputs[:, 0].astype(np.int64) * 1000 + outputs[:, 1].astype(np.int64)).astype(
            np.int64
        )


class _Bare:
    def __init__(self, folder: Path, pool: Path, told: Any) -> None:
        self.folder, self.log = folder, folder / "asked.log"
        self.rows = told.fragments * told.fragment_rows
        self.told = {
            "pool": str(pool),
            "folder": str(folder),
            "blocks": told.fragments,
            "actors": told.actors,
        }
        write_job(
            folder,
            pool,
            labeler="Echo",
            fragment_rows=64,
            microseconds=told.microseconds,
            log=str(self.log),
        )

    def start(self) -> Child:
        return Child(run_bare, **self.told)

    def done_share(self) -> float:
        return sum(map(_parquet_rows, self.folder.glob("out/*.parquet"))) / self.rows

    def stored_ids(self) -> np.ndarray:
        import pyarrow.parquet as pq

        return np.concatenate(
            [pq.read_table(file)["id"].to_numpy() for file in self.folder.glob("out/*.parquet")]
        )

    def rerun(self) -> dict[str, Any]:
        """The finished job once more; its log and counts begin anew."""
        self.log.unlink()
        shutil.rmtree(self.folder / "counts")
        got = self.start().answer(LIMIT_SECONDS)
        asked = (
            sum(int(line.split()[2]) for line in self.log.read_text().splitlines())
            if self.log.exists()
            else 0
        )
        return {**got, "pool_bytes": bytes_counted(self.folder / "counts"), "rows_asked": asked}


def run_bare(pool: str, folder: str, blocks: int, actors: int) -> dict[str, float]:
    """Bare Ray Data with its own checkpoint, as its documentation teaches."""
    counts = rays.counts_folder(folder)
    import pyarrow.fs

    from distill.core.source import read_source
    from tests.benchmarks.counting import CountingFiles

    began = time.perf_counter()
    rays.start_bare_ray(actors, DISTILL_BENCH_COUNTS=str(counts))
    from ray import data

    context = data.DataContext.get_current()
    context.checkpoint_config = data.checkpoint.CheckpointConfig(
        id_column="id",
        checkpoint_path=str(Path(folder, "checkpoint")),
        delete_checkpoint_on_success=False,
    )
    files = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(CountingFiles()))
    (
        data.read_parquet(pool, filesystem=files, override_num_blocks=blocks)
        .map_batches(
            BareEcho,
            fn_constructor_args=(read_source(Path(folder, "labelers.py"), "labelers.py"),),
            batch_size=256,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(size=actors),
        )
        .write_parquet(str(Path(folder, "out")))
    )
    return {"seconds": time.perf_counter() - began, "ray_inits": 1}


class BareEcho:
    """The actor of bare Ray Data."""

    def __init__(self, source: Any) -> None:
        self.labeler = source.load("Echo")()

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        column = batch["x"].combine_chunks()
        outputs = self.labeler.label(column.flatten().to_numpy().reshape(len(column), -1))
        return pa.table(
            {
                "id": batch["id"],
                "value": pa.FixedSizeListArray.from_arrays(pa.array(outputs.ravel()), 2),
            }
        )


def _parquet_rows(file: Path) -> int:
    """Rows of a file; 0 while it is being written."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(file).num_rows
    except (OSError, pa.ArrowInvalid):
        return 0


def _wait_until(is_so: Callable[[], bool], child: Child) -> bool:
    until = time.monotonic() + LIMIT_SECONDS
    while child.running and time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.05)
    return False


def _kill_table(measured: dict[str, Any], told: Any) -> str:
    heads = [
        f"{len(told.kills)} SIGKILLs of",
        "way",
        "rows computed / pool",
        "fragments' worth again",
        "fragments begun again",
        "rows doubled",
        "missing",
        "misplaced",
        "seconds in all",
    ]
    rows = []
    for how, way, got in (
        (how, way, got) for how, ways in measured["kills"].items() for way, got in ways.items()
    ):
        worth = (got["rows_asked"] - got["rows"]) / told.fragment_rows
        again = got["begun_again"] if way == "distill" else "–"
        rows.append(
            [
                how,
                way,
                f"{got['rows_asked'] / got['rows']:.3f}",
                f"{worth:.1f}",
                again,
                got["doubled"],
                got["missing"],
                _or_dash(got["misplaced"]),
                f"{got['seconds']:.0f}",
            ]
        )
    workers = told.actors * len(told.kills)
    said = (
        f"{told.fragments} fragments of {told.fragment_rows:,} rows at {told.microseconds:g} µs, {told.actors} actors. "
        f"Workers running at the kills: {told.actors} × {len(told.kills)} = {workers} (calls in flight: {2 * workers})."
    )
    return f"{said}\n\n{markdown(heads, rows)}"


def _rerun_table(measured: dict[str, Any]) -> str:
    heads = [
        "finished rerun",
        "fragments",
        "seconds",
        "ray.init",
        "pool bytes read",
        "rows computed",
        "requests (list + get + put + delete)",
        "allowed",
    ]
    rows = []
    for way, got in measured["reruns"].items():
        asked = got.get("requests")
        allowed = f"{10 + 3 * got['fragments'] / 1_000:.0f}" if asked else "–"
        said = (
            " + ".join(str(asked[kind]) for kind in ("list", "get", "put", "delete"))
            if asked
            else "–"
        )
        computed = got["rows_asked"] if way == "bare" else got["labelled_now"]
        rows.append(
            [
                way,
                got.get("fragments", "–"),
                f"{got['seconds']:.2f}",
                got["ray_inits"],
                f"{got['pool_bytes']:,}",
                computed,
                said,
                allowed,
            ]
        )
    return markdown(heads, rows)


def _or_dash(value: int | None) -> str:
    return "–" if value is None else str(value)


if __name__ == "__main__":
    main()
