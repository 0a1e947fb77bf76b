from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from distill.core.results import Group
from distill.core.schema import digest
from distill.stages.report.groups import clipped, select_groups, short_name
from distill.stages.report.measure import short_number
from distill.stages.report.plots import draw_charts as draw_anew

_drawn: dict = {}


def draw_charts(evaluation):
    """Drawn once a session."""
    key = digest(evaluation.to_plain())
    if key not in _drawn:
        _drawn[key] = draw_anew(evaluation)
    return _drawn[key]


def _titles(evaluation):
    return [chart.title for chart in draw_charts(evaluation)]


def _chart(evaluation, title):
    return next(chart for chart in draw_charts(evaluation) if title in chart.title)


def test_classification_lacks_a_chart(digits):
    assert _titles(digits) == [
        "All, seen and unseen classes",
        "Accuracy against parameters",
        "combined by terms.1.weight",
        "How far confidence can be trusted",
        "Training loss",
        "Teacher: what is taken for what",
        "Best student: what is taken for what",
    ]


def test_regression_has_charts_of_classes(values):
    assert _titles(values) == [
        "Comparison by MSE (lower is better)",
        "MSE against parameters",
        "linear by terms.0.weight",
        "Training loss",
    ]


def test_chart_is_drawn_of_nothing(alone):
    bare = replace(alone.methods[0], confusion=None, reliability=(), history=())

    assert _titles(replace(alone, methods=(bare,))) == ["Comparison by accuracy, %"]


def test_evaluation_without_methods_raises(alone):
    assert draw_charts(replace(alone, methods=())) == []


@pytest.mark.parametrize("name", ["digits", "values", "hostile", "study"])
def test_svg_is_not_well_formed(name, request):
    for chart in draw_charts(request.getfixturevalue(name)):
        drawn = ET.fromstring(chart.svg.replace("xlink:href", "href"))

        assert drawn.get("role") == "img"


def test_ids_of_two_charts_collide(digits):
    ids = [set(re.findall(r' id="([^"]+)"', chart.svg)) for chart in draw_charts(digits)]

    assert sum(map(len, ids)) == len(set().union(*ids))


def test_reference_points_nowhere(digits):
    for chart in draw_charts(digits):
        ids = set(re.findall(r' id="([^"]+)"', chart.svg))

        assert set(re.findall(r'(?:url\(|href=")#([^")]+)', chart.svg)) <= ids


def test_ink_does_not_follow_the_page(digits):
    for chart in draw_charts(digits):
        assert "#01020" not in chart.svg
        assert "currentColor" in chart.svg
        assert "#000000" not in chart.svg


def test_log_ticks_are_shown_as_mathtext(digits):
    svg = _chart(digits, "against").svg

    assert "mathdefault" not in svg
    assert ">10k<" in svg


@pytest.mark.parametrize(
    ("value", "said"), [(0.03, "0.03"), (3000, "3k"), (1.5e6, "1.5M"), (2e9, "2G"), (12, "12")]
)
def test_number_is_said_wrongly(value, said):
    assert short_number(value) == said


def test_45_students_are_all_drawn(study):
    bars, cost = draw_charts(study)[:2]

    assert "12 of 47 methods" in bars.caption
    assert len(cost.legend) <= 9
    assert cost.legend[-1].name == "39 others"
    assert "9 of 46 trainings" in _chart(study, "Training").caption


def test_teacher_or_best_is_left_out_of_a_selection(study):
    names = [group.name for group in select_groups(study, 6)]

    assert len(names) == 6
    assert {"large", "zero_shot", "mlp_combined_256"} <= set(names)


@pytest.mark.parametrize("limit", [2, 6, 12, 60])
def test_many_labelers_crowd_out_the_students(digits, limit):
    labelers = [
        replace(digits.methods[1], name=f"l{number}", group=f"l{number}") for number in range(20)
    ]
    shown = select_groups(replace(digits, methods=(*labelers, *digits.methods)), limit)

    assert len(shown) == min(limit, 32)
    assert sum(group.role == "student" for group in shown) >= min(limit // 2, 10)
    assert any(group.role == "teacher" for group in shown)


def test_sweep_mixes_what_else_was_changed(digits):
    chart = _chart(digits, "combined by")

    assert [mark.name for mark in chart.legend] == [
        "terms.0.loss.temperature = 1",
        "terms.0.loss.temperature = 4",
        "unseen",
    ]


def test_two_sweeps_of_one_student_become_one_line(digits):
    other = [
        replace(
            method,
            changes={"training.epochs": epochs, "seed": 1},
            group=f"combined[training.epochs={epochs}]",
        )
        for epochs, method in zip((5, 10, 20), digits.methods[2:], strict=False)
    ]
    titles = _titles(replace(digits, methods=(*digits.methods, *other)))

    assert {"combined by terms.1.weight", "combined by training.epochs"} <= set(titles)


def test_seed_or_words_are_swept_as_numbers(digits):
    words = [
        replace(
            method,
            changes={"model.kind": kind, "flag": True, "seed": 1},
            group=f"combined[model.kind={kind}]",
        )
        for kind, method in zip(("mlp", "linear"), digits.methods[2:], strict=False)
    ]

    assert not [
        title
        for title in _titles(replace(digits, methods=tuple(words)))
        if " by model" in title or "seed" in title
    ]


def test_confusion_of_many_classes_is_drawn(study):
    many = [[1] * 40] * 40
    methods = tuple(replace(method, confusion=many) for method in study.methods)

    assert not [title for title in _titles(replace(study, methods=methods)) if "taken" in title]


def test_class_without_rows_divides_by_zero(alone):
    empty = [[0] * 10 for _ in range(10)]
    chart = _chart(replace(alone, methods=(replace(alone.methods[0], confusion=empty),)), "taken")

    assert "No mistake" in chart.caption


def test_size_unknown_is_drawn_at_zero(digits):
    chart = _chart(digits, "against")

    assert "zero_shot" not in chart.svg
    assert "1 without a known number of parameters" in chart.caption


def test_equal_sizes_are_compared_by_size(binary):
    methods = tuple(
        replace(method, parameters=1_000, milliseconds_per_row=0.01 * number)
        for number, method in enumerate(binary.methods, 1)
    )

    assert "Accuracy against ms/row" in _titles(replace(binary, methods=methods))


def test_two_changes_get_one_name(digits):
    changed = replace(
        digits.methods[3],
        group="s[terms.0.weight=1,terms.1.weight=2]",
        changes={"terms.0.weight": 1, "terms.1.weight": 2},
    )

    assert (
        short_name(Group("s[terms.0.weight=1,terms.1.weight=2]", (changed,)))
        == "s · terms.0.weight = 1, terms.1.weight = 2"
    )


@pytest.mark.parametrize("length", [1, 7, 8, 9, 100])
def test_clipped_name_is_too_long(length):
    text = "".join(str(number % 10) for number in range(length))

    assert len(clipped(text, 8)) == min(length, 8)


def test_a_held_out_measure_is_not_drawn_or_another_epoch_is_marked(digits):
    import re

    def measured(method):
        held = [
            {**each, "held_out": abs(each["epoch"] - 8) + 1.0, "better": each["epoch"] <= 8}
            for each in method.history
        ]
        return replace(method, history=held)

    plain = _chart(digits, "Training loss")
    assert (plain.legend, "kept" in plain.caption) == ((), False)
    methods = tuple(measured(each) if each.role == "student" else each for each in digits.methods)
    chart = _chart(replace(digits, methods=methods), "Training loss")
    assert [mark.name for mark in chart.legend] == ["training loss", "held-out measure"]
    assert "The dot is the epoch that was kept." in chart.caption
    assert len(re.findall("stroke-dasharray", chart.svg)) > len(
        re.findall("stroke-dasharray", plain.svg)
    )
    assert "held out 1 at epoch 8, which was kept" in chart.svg
    ET.fromstring(chart.svg.replace("xlink:href", "href"))
