from __future__ import annotations

from dataclasses import replace

import pytest

from distill.core.verdict import format_measure, verdict, verdict_sentences, what_terms_add
from tests.core.evaluations import TEACHER, evaluation, method, over_seeds


def test_another_student_is_called_the_best():
    said = verdict(
        evaluation(
            TEACHER,
            method("worse", accuracy=0.81),
            method("better", accuracy=0.93),
            method("worst", accuracy=0.5),
        )
    )
    assert said.startswith("better is the best student by ")
    assert "93.0%, against 81.0% for worse, 99.0% for the teacher large." in said
    assert "worst" not in said


def test_the_largest_error_is_called_the_best():
    said = verdict(
        evaluation(method("far", mse=2.0, r2=0.1), method("near", mse=0.125, r2=0.9), kind="value")
    )
    assert said.startswith("near is the best student by ")
    assert "0.125, against 2 for far." in said
    assert "%" not in said


def test_unseen_classes_are_not_spoken_of():
    one = method(
        "distilled", accuracy=0.9, accuracy_seen=1.0, accuracy_unseen=0.0, harmonic_mean=0.0
    )
    two = method(
        "combined", accuracy=0.8, accuracy_seen=0.9, accuracy_unseen=0.6, harmonic_mean=0.72
    )
    said = verdict(evaluation(one, two))
    assert said.startswith("distilled is the best student")
    assert "combined leads with a harmonic mean of 72.0% (90.0% seen, 60.0% unseen)" in said


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (100, "100 parameters, 1/10 of the teacher's"),
        (1500, "1,500 parameters, 1.5× the teacher's"),
        (900, "900 parameters, 0.9× the teacher's"),
    ],
)
def test_a_student_larger_than_its_teacher_has_a_nonsensical_share_of_it(parameters, said):
    whole = verdict(
        evaluation(TEACHER, method("small", accuracy=0.9, parameters=parameters, milliseconds=0.5))
    )
    assert said in whole
    assert "answers 6× as fast" in whole


@pytest.mark.parametrize(
    "teacher", [None, method("large", "teacher", parameters=None, accuracy=0.9)]
)
def test_a_teacher_without_a_size_is_compared_by_it(teacher):
    some = [teacher] if teacher else []
    assert "parameters" not in verdict(evaluation(*some, method("small", accuracy=0.9)))


def test_a_job_without_students_has_no_verdict():
    said = verdict(evaluation(TEACHER, method("other", "labeler", accuracy=0.5)))
    assert said == "2 label sets were judged on 1,234 rows; no student is judged."


def test_a_share_is_shown_as_a_number_or_a_number_as_a_share():
    assert format_measure("accuracy", 0.9375) == "93.8"
    assert format_measure("accuracy", 0.9375, 0.0125) == "93.8 ± 1.2"
    assert format_measure("mse", 0.00012345) == "0.000123"
    assert format_measure("mse", 12.345, 0.21) == "12.3 ± 0.2"
    assert format_measure("agreement", None) == "–"


def test_a_term_that_adds_nothing_clear_is_said_to_help():
    without = over_seeds("without", ("mse",), (0.5, 0.6, 0.7))
    helps = over_seeds("helps", ("mse", "kl"), (0.52, 0.63, 0.71))
    unclear = over_seeds("unclear", ("mse", "cosine"), (0.52, 0.59, 0.72))
    others = over_seeds("others", ("mse", "kl", "cosine", "l1"), (0.9, 0.9, 0.9))
    clear, doubtful = what_terms_add(evaluation(TEACHER, *without, *helps, *unclear, *others))
    assert (
        clear
        == "kl, added to without as helps: +2.0 ± 1.0 points of accuracy over all rows, better in 3 of 3 seeds."
    )
    assert doubtful.startswith("cosine, added to without as unclear: +1.0 ± 1.7 points ")
    assert doubtful.endswith("better in 2 of 3 seeds: no clear difference.")


def test_a_term_that_raises_the_error_is_said_to_help():
    without = over_seeds("without", ("a",), (1.0, 1.0, 1.0), "mse")
    worse = over_seeds("worse", ("a", "a"), (1.5, 1.5, 1.5), "mse")
    (said,) = what_terms_add(evaluation(*without, *worse, kind="value"))
    assert (
        said
        == "a, added to without as worse: +0.5 ± 0 of mean squared error, better in 0 of 3 seeds."
    )


def test_too_few_or_other_seeds_are_compared():
    without = over_seeds("without", ("a",), (0.5, 0.6, 0.7))
    assert not what_terms_add(evaluation(*without, *over_seeds("few", ("a", "b"), (0.9, 0.9))))
    assert not what_terms_add(
        evaluation(*without, *over_seeds("moved", ("a", "b"), (0.9, 0.9, 0.9), seeds=(2, 3, 4)))
    )
    assert not what_terms_add(evaluation(method("one", terms=("a",), accuracy=0.5), *without))
    swept = [
        replace(each, changes={**each.changes, "training.epochs": 2})
        for each in over_seeds("s", ("a", "b"), (0.9,) * 3)
    ]
    assert not what_terms_add(evaluation(*without, *swept))


def test_a_name_with_a_full_stop_ends_the_first_sentence():
    named = "small[fit=No. 7]"
    first, second = verdict_sentences(evaluation(TEACHER, method(named, accuracy=0.9)))
    assert first == (
        f"{named} is the best student by accuracy over all rows: 90.0%, against 99.0% for the teacher large."
    )
    assert second.startswith("It has 100 parameters")
