"""The benchmarks of structures and selections in their quick modes: what they compare is there."""

from __future__ import annotations

import json

import pytest

from tests.benchmarks import selection_study, structure_cost
from tests.jobs.test_structure import images  # noqa: F401  a fixture


def measured(benchmark, folder, *options) -> dict:
    out, table = folder / "out.json", folder / "table.md"
    files = ("--folder", folder, "--out", out, "--table", table)
    benchmark.main(["--quick", *map(str, files), *options])
    assert "| --- |" in table.read_text("utf-8")
    return json.loads(out.read_text("utf-8"))


@pytest.mark.slow
def test_passes_on_a_device_do_not_run_on_a_cpu(tmp_path):
    got = measured(structure_cost, tmp_path, "--device", "cpu")
    assert got.keys() == {"k-means", "pca"}
    for each in got.values():
        assert each["share_of_the_product"] > 0
        assert each["pass_tflops"] > 0


@pytest.mark.slow
def test_a_way_beside_structures_is_missing(tmp_path):
    pytest.importorskip("faiss")
    pytest.importorskip("torchsom")
    got = measured(structure_cost, tmp_path)
    kmeans = {"distill", "faiss", "scikit-learn MiniBatchKMeans"}
    assert {case: set(ways) for case, ways in got["seconds"].items()} == {
        "pca": {"distill", "scikit-learn IncrementalPCA"},
        **{f"kmeans, {size}": kmeans for size in structure_cost.SIZES},
        "som": {"distill", "torchsom"},
    }
    for once, many in got["memory"].values():
        assert many <= once + (16 << 20)


@pytest.mark.slow
def test_students_learn_other_rows_than_were_chosen_for_them(tmp_path, images, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FASHION_MNIST", str(images))
    (tmp_path / "seed.toml").write_text(selection_study._job_text(tmp_path, 0, [20], 2), "utf-8")
    students = selection_study.load_job(tmp_path / "seed.toml").students
    assert {name: each.taught_on for name, each in students.items()} == {
        "random_20": ("select.random_20",),
        "typical_20": ("select.typical_20",),
        "mixed_20": ("select.half_20", "select.uncertain_20"),
    }
    for seed in measured(selection_study, tmp_path):
        assert seed.keys() == students.keys()
