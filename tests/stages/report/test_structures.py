"""Structures on the page: every picture that the data allow, and no value as markup."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from distill.core.results import Evaluation
from distill.core.structure_results import Cluster, ExampleRow, Grid, Sample, StructureResult
from distill.stages.report.structure_section import StructureSection, structure_sections
from distill.stages.report.structures import draw_structure
from distill.stages.report.write_report import write_report
from distill.storage.open import open_storage
from tests.stages.report.conftest import HOSTILE

CLASSES = ("shirt", "boot", HOSTILE)


def _clusters(count: int) -> tuple[Cluster, ...]:
    return tuple(
        Cluster(
            number=number,
            rows=100 - number,
            classes={CLASSES[number % 3]: 60, CLASSES[(number + 1) % 3]: 40 - number},
            nearest=(ExampleRow(shard="a.parquet", row=number, text=f"{HOSTILE} {number}"),),
        )
        for number in range(count)
    )


@pytest.fixture
def kmeans() -> StructureResult:
    drawn = np.random.default_rng(0)
    number = drawn.integers(0, 12, 200)
    sample = Sample(
        x=(number + drawn.normal(0, 0.3, 200)).tolist(),
        y=drawn.normal(0, 1, 200).tolist(),
        cluster=number.tolist(),
        target=(number % 3).tolist(),
    )
    return StructureResult(
        name="groups",
        kind="kmeans",
        of="pools.rows",
        pool="rows",
        rows=1_134,
        left_out=2,
        measures={"silhouette": 0.31, "davies_bouldin": 1.2, "inertia": 3.4},
        passes=[{"inertia": 5.0}, {"inertia": 3.6}, {"inertia": 3.4}],
        clusters=_clusters(12),
        all_clusters=12,
        classes=CLASSES,
        sample=sample,
    )


@pytest.fixture
def som() -> StructureResult:
    grid = Grid(
        rows=3,
        columns=4,
        hexagonal=True,
        distances=np.linspace(0, 2, 12).tolist(),
        hits=[100 - number for number in range(11)] + [0],
    )
    return StructureResult(
        name="map",
        kind="som",
        of="pools.rows",
        pool="rows",
        rows=1_045,
        left_out=0,
        measures={"quantization_error": 1.5, "topographic_error": 0.03},
        passes=[{"quantization_error": 2.0}, {"quantization_error": 1.5}],
        clusters=_clusters(11),
        all_clusters=12,
        classes=CLASSES,
        grid=grid,
    )


@pytest.fixture
def pca() -> StructureResult:
    return StructureResult(
        name="axes",
        kind="pca",
        of="labels.encoder",
        pool="rows",
        rows=1_000,
        left_out=0,
        measures={"explained": 0.9},
        explained=(0.5, 0.3, 0.1),
    )


@pytest.mark.parametrize(
    ("kind", "titles"),
    [
        ("pca", ["variance explained"]),
        ("kmeans", ["how the fit came to rest", "the pool by clusters", "the pool by classes"]),
        ("som", ["how the fit came to rest", "U-matrix", "rows a unit", "classes"]),
    ],
)
def test_each_kind_is_drawn_with_all_that_it_has(
    request: pytest.FixtureRequest, kind: str, titles: list[str]
) -> None:
    charts = draw_structure(request.getfixturevalue(kind))
    assert [chart.title.partition(": ")[2] for chart in charts] == titles


def test_a_pool_without_a_target_is_drawn_without_classes(kmeans: StructureResult) -> None:
    clusters = tuple(replace(cluster, classes={}) for cluster in kmeans.clusters)
    charts = draw_structure(replace(kmeans, classes=(), clusters=clusters))
    assert not [chart for chart in charts if "class" in chart.title]


@pytest.mark.parametrize("most", [4, 4_000])
def test_an_elbow_is_not_drawn_or_marked_where_it_does_not_reach(
    kmeans: StructureResult, most: int
) -> None:
    elbow = ((1, 9.0), (2, 3.5), (most, 1.25))
    charts = draw_structure(replace(kmeans, elbow=elbow, all_clusters=7))
    (chart,) = [each for each in charts if "number of clusters" in each.title]
    assert [mark.name for mark in chart.legend] == ["the 7 of this structure"] * (most > 7)
    assert f"Inertia 9 of one cluster, 1.25 of {most:,}" in chart.caption


def test_a_map_without_a_hit_and_of_one_unit_is_drawn(som: StructureResult) -> None:
    grid = Grid(rows=1, columns=1, hexagonal=False, distances=[0.0], hits=[0])
    charts = draw_structure(replace(som, grid=grid, clusters=()))
    assert "map: U-matrix" in [chart.title for chart in charts]


def test_every_point_of_the_sample_is_drawn_once(kmeans: StructureResult) -> None:
    by_cluster = next(chart for chart in draw_structure(kmeans) if "clusters" in chart.title)
    assert by_cluster.svg.count("<use ") >= 200
    assert len(by_cluster.legend) == 9  # eight colours and the others
    assert by_cluster.legend[-1].name == "4 others"


def test_clusters_that_are_not_among_the_largest_are_others_too(kmeans: StructureResult) -> None:
    charts = draw_structure(replace(kmeans, all_clusters=1_040))
    by_cluster = next(chart for chart in charts if "clusters" in chart.title)
    assert by_cluster.legend[-1].name == "1,032 others"


def test_a_job_without_structures_has_the_plain_form_of_before(digits: Evaluation) -> None:
    assert "structures" not in digits.to_plain()
    assert not structure_sections(digits)


def test_names_and_texts_of_users_are_escaped(
    tmp_path, kmeans: StructureResult, som: StructureResult, digits: Evaluation
) -> None:
    named = replace(kmeans, name=HOSTILE)
    folder = open_storage(str(tmp_path))
    write_report(folder, replace(digits, structures=(named, som)))
    page = folder.read("report.html").decode()
    assert HOSTILE not in page
    assert "What the clusters hold" in page
    assert "What the units hold" in page
    assert not re.search(r"<(script|link rel=\"style)", page)


def test_a_section_says_what_was_left_out_and_how_many_clusters(kmeans: StructureResult) -> None:
    section = StructureSection(kmeans)
    assert "2 more could not be read" in section.lead
    assert [card.value for card in section.cards] == ["0.31", "1.2", "3.4", "12"]
    assert section.shown_note.startswith("All 12 clusters")
