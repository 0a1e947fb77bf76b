"""What distill costs a fragment, a row, a commit, a footer and an image, for `simulate`: CPU seconds
of this machine's cores, which a busy neighbour disturbs little, and requests, which are counted.

- driver: CPU time of the driver's process a fragment, of tiny fragments through one Ray worker,
  after the first quarter; and of a manifest segment of a thousand commits;
- worker: CPU time of the local engine at fragments of two sizes, whose slope is a row and whose
  intercept is a fragment;
- requests: of the local engine, counted where storage is asked.

`--write` keeps the figures for `simulate`. The plan of a fragment is from `results/scale.md`.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.child import in_child
from tests.benchmarks.pools import TOP_8, write_job, write_pool
from tests.benchmarks.simulation.costs import MEASURED, Costs
from tests.benchmarks.tables import machine, markdown, options, show

PLAN_FRAGMENT_SECONDS = 12.3 / 200_000
"""`scale`, half committed, the worst of three runs."""
_IMAGES = 200
_FOOTER_ROUNDS = 20


def main(arguments: list[str] | None = None) -> None:
    parser = options(__doc__)
    parser.add_argument("--fragments", type=int, default=1_200, help="of the driver's run")
    parser.add_argument("--rows", type=int, nargs=2, default=[1_024, 50_000], help="a fragment")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {MEASURED.name}")
    told = parser.parse_args(arguments)
    if told.quick:
        told.fragments, told.rows = 40, [64, 1_024]
    folder = Path(tempfile.mkdtemp(prefix="calibrate-", dir=told.folder))
    try:
        costs = measure(folder, told)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    figures = vars(costs)
    rows = [[name.replace("_", " "), f"{value:.3g}"] for name, value in figures.items()]
    show(told, "What distill costs", [markdown(["figure", "value"], rows)], figures)
    if told.write:
        costs.write(MEASURED, machine())


def measure(folder: Path, told: Any) -> Costs:
    """All figures."""
    driver = in_child(measure_driver, folder=str(folder / "driver"), fragments=told.fragments)
    worker = in_child(measure_worker, folder=str(folder / "worker"), sizes=told.rows)
    files = in_child(measure_files, folder=str(folder / "files"))
    return Costs(**driver, **worker, **files, plan_fragment_seconds=PLAN_FRAGMENT_SECONDS)


def measure_driver(folder: str, fragments: int) -> dict[str, float]:
    """The driver's CPU time a fragment, and a segment."""
    from distill.core.events import Event, observe
    from distill.engine.ray.session import connect
    from distill.labels import writer
    from distill.plan.load import load_job
    from distill.run import label_pool

    pool = write_pool(Path(folder, "pool"), 64 * fragments, 64)
    job = write_job(Path(folder, "job"), pool, labeler="Echo", fragment_rows=64)
    points: list[tuple[float, int]] = []
    segments: list[float] = []
    append = writer.SegmentWriter.append

    def timed(self: Any, part: Any) -> Any:
        began = time.thread_time()
        result = append(self, part)
        segments.append((time.thread_time() - began) * 1_000 / len(part))
        return result

    def note(event: Event) -> None:
        if event.name == "committed":
            points.append((time.process_time(), len(points) + 1))

    writer.SegmentWriter.append = timed  # type: ignore[method-assign]
    connect(None)
    observe(note)
    label_pool(load_job(job), "teacher")
    first, last = points[len(points) // 4], points[-1]
    return {
        "driver_fragment_seconds": (last[0] - first[0]) / (last[1] - first[1]),
        "driver_segment_seconds": min(segments),
    }


def measure_worker(folder: str, sizes: list[int]) -> dict[str, float]:
    """CPU time of labelling here, by fragment and by row; requests; bytes."""
    label(Path(folder, "warm"), sizes[0], 2)
    small = label(Path(folder, "small"), sizes[0], 40)
    large = label(Path(folder, "large"), sizes[1], 8)
    row = (large["seconds"] - small["seconds"]) / (sizes[1] - sizes[0])
    return {
        "worker_fragment_seconds": small["seconds"] - sizes[0] * row,
        "worker_row_seconds": row,
        "gets": small["gets"],
        "puts": small["puts"],
        "row_bytes": large["row_bytes"],
    }


def label(folder: Path, rows: int, fragments: int) -> dict[str, float]:
    """CPU seconds and requests a fragment of a labelling by the local engine, whose labeler copies;
    the first two fragments, of which one is asked about twice, are left out."""
    from distill.core.events import Event, forget, observe
    from distill.plan.load import load_job
    from distill.run import label_pool
    from distill.storage.local import LocalStorage

    pool = write_pool(folder / "pool", rows * fragments, rows)
    job = write_job(folder / "job", pool, labeler="Copy", fragment_rows=rows, encoding=TOP_8)
    counts = {"gets": 0, "puts": 0}
    marks: list[tuple[float, int, int]] = []

    def counting(name: str, kind: str) -> Any:
        plain = getattr(LocalStorage, name)

        def call(self: Any, *arguments: Any, **more: Any) -> Any:
            counts[kind] += 1
            return plain(self, *arguments, **more)

        return plain, call

    plains = {}
    for name, kind in (("open", "gets"), ("put", "puts"), ("create", "puts")):
        plains[name], replaced = counting(name, kind)
        setattr(LocalStorage, name, replaced)

    def note(event: Event) -> None:
        if event.name == "committed":
            marks.append((time.process_time(), counts["gets"], counts["puts"]))

    observe(note)
    try:
        (summary,) = label_pool(load_job(job), "teacher", engine="local")
    finally:
        forget(note)
        for name, plain in plains.items():
            setattr(LocalStorage, name, plain)
    first, last = marks[1] if len(marks) > 2 else marks[0], marks[-1]
    number = max(1, len(marks) - 2)
    seconds, gets, puts = ((b - a) / number for a, b in zip(first, last, strict=True))
    row_bytes = summary.bytes / summary.rows
    return {"seconds": seconds, "gets": gets, "puts": puts, "row_bytes": row_bytes}


def measure_files(folder: str) -> dict[str, float]:
    """CPU time of a footer, and of an image."""
    from distill.pools.file_stats import stats_of_files
    from distill.storage.open import open_storage

    pool = write_pool(Path(folder), 40 * 64, 64)
    keys = [file.key for file in open_storage(str(pool)).list_objects()]
    list(stats_of_files(str(pool), keys, "parquet"))
    began = time.process_time()
    for _ in range(_FOOTER_ROUNDS):
        list(stats_of_files(str(pool), keys, "parquet"))
    footer = (time.process_time() - began) / (_FOOTER_ROUNDS * len(keys))
    return {"footer_seconds": footer, "image_seconds": _image_seconds()}


def _image_seconds() -> float:
    """CPU time of decoding a JPEG of 256 × 256 and some 20 kB by Pillow, as image pools do."""
    import io

    import numpy as np
    from PIL import Image

    draw = np.random.default_rng(0)
    coarse = draw.integers(0, 256, (64, 64, 3), np.uint8)
    kept = io.BytesIO()
    Image.fromarray(coarse).resize((256, 256)).save(kept, "JPEG", quality=70)
    began = time.process_time()
    for _ in range(_IMAGES):
        kept.seek(0)
        np.asarray(Image.open(kept))
    return (time.process_time() - began) / _IMAGES


if __name__ == "__main__":
    main()
