"""The structure job, on images of its pool's form that are small and made here."""

from __future__ import annotations

import gzip

import numpy as np
import pytest

from tests.command import REPOSITORY, distill

ROWS = {"train": 900, "t10k": 150}
SIDE = 28


def write_idx(path, numbers: np.ndarray) -> None:
    header = bytes([0, 0, 8, numbers.ndim]) + b"".join(
        int(size).to_bytes(4, "big") for size in numbers.shape
    )
    path.write_bytes(gzip.compress(header + numbers.astype(np.uint8).tobytes(), 1))


@pytest.fixture
def images(tmp_path):
    """Ten kinds of bars, each at its own place, as the four files of Fashion-MNIST."""
    folder = tmp_path / "images"
    folder.mkdir()
    for part, rows in ROWS.items():
        draw = np.random.default_rng(rows)
        kind = draw.integers(0, 10, rows)
        pictures = draw.integers(0, 60, (rows, SIDE, SIDE))
        for row, place in enumerate(kind):
            pictures[row, 2 * place + 3 : 2 * place + 6] += 150
        write_idx(folder / f"{part}-images-idx3-ubyte.gz", pictures)
        write_idx(folder / f"{part}-labels-idx1-ubyte.gz", kind)
    return folder


def test_the_structure_job_ends_in_a_report_and_people_label_what_was_chosen(tmp_path, images):
    job = (REPOSITORY / "jobs" / "structure.toml").read_text("utf-8")
    smaller = job.replace("k = 300", "k = 40").replace("rows = 300", "rows = 40")
    smaller = smaller.replace("epochs = 60", "epochs = 15").replace("epochs = 100", "epochs = 40")
    folder = tmp_path / "jobs"
    folder.mkdir()
    (folder / "structure.toml").write_text(smaller, "utf-8")
    pools = (REPOSITORY / "jobs" / "fashion_pools.py").read_text("utf-8")
    (folder / "fashion_pools.py").write_text(pools, "utf-8")
    root = tmp_path / "runs"
    run = ("run", folder / "structure.toml", "--root", root, "--local")
    ended = distill(*run, FASHION_MNIST=str(images))
    assert ended.code == 0, ended.output
    assert "select.typical: 40 of 900 rows by typical, chosen now" in ended.output
    (report,) = root.glob("reports/structure/*/report.html")
    page = report.read_text("utf-8")
    for part in ("Structure: axes", "Structure: groups", "Structure: map", "U-matrix"):
        assert part in page
    again = distill(*run)
    assert again.code == 0, again.output
    assert "Nothing was left to do" in again.output


def test_images_that_are_not_there_are_told_with_what_installs_them(tmp_path):
    file = REPOSITORY / "jobs" / "structure.toml"
    ended = distill("run", file, "--root", tmp_path, "--local", FASHION_MNIST=str(tmp_path))
    assert ended.code != 0
    assert "apt-get install dataset-fashion-mnist" in ended.output
