"""Tables of structures, as a job file writes them."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

import distill.labelers.structure
from distill.spec.structures import Structure, StructureModel


def structure(of="pools.rows", **model):
    return Structure(of=of, model=model)


@pytest.mark.parametrize(
    ("of", "found"),
    [
        ("pools.rows", ("rows", None, None)),
        ("labels.teacher", (None, "teacher", None)),
        ("structure.pca", (None, None, "pca")),
    ],
)
def test_what_it_sees_is_found_by_name(of, found):
    table = structure(of, kind="pca", components=2)
    assert (table.pool, table.label_set, table.structure) == found


@pytest.mark.parametrize("of", ["rows", "pools.", "select.first", "students.s"])
def test_what_it_cannot_see_is_refused(of):
    with pytest.raises(ValidationError, match=r"is none of 'pools\.NAME'"):
        structure(of, kind="pca", components=2)


def test_every_kind_says_what_it_gives():
    for kind in StructureModel.kinds().values():
        assert kind.features in kind.gives


def test_soft_clusters_are_classes_by_number():
    model = structure(kind="kmeans", k=3).model
    assert model.output("soft").classes == ("0", "1", "2")
    assert model.output("cluster") == (1, ())


@pytest.mark.parametrize(("k", "levels"), [(9_999, False), (10_000, True)])
def test_many_clusters_are_found_by_two_levels(k, levels):
    assert structure(kind="kmeans", k=k).model.is_two_level is levels


@pytest.mark.parametrize(
    "model",
    [
        {"kind": "kmeans", "k": 1},
        {"kind": "kmeans", "k": 5, "sample_fraction": 0.0},
        {"kind": "kmeans", "k": 5, "start": "k-means++"},
        {"kind": "pca", "components": 0},
        {"kind": "som", "rows": 1, "columns": 1},
        {"kind": "som", "rows": 200, "columns": 100},
        {"kind": "tsne"},
    ],
)
def test_what_no_structure_is_is_refused(model):
    with pytest.raises(ValidationError):
        structure(**model)


def test_a_table_goes_through_json():
    table = structure(kind="som", rows=3, columns=4)
    assert Structure.model_validate_json(json.dumps(table.model_dump(mode="json"))) == table


def test_all_kinds_are_registered_by_one_import():
    assert distill.labelers.structure
    assert list(StructureModel.kinds()) == ["pca", "kmeans", "som"]
