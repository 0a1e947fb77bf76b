"""An evaluation in sentences: which student won by what, what it costs beside the teacher, and what
each term adds; and a measure as people read it."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence

from distill.core.results import LOWER_IS_BETTER, SHARES, Evaluation, Group, best_first

# the main measures, as a sentence names them
_MEASURED = {"accuracy": "accuracy over all rows", "mse": "mean squared error"}
_LEAST_SEEDS = 3
NOTABLE = 1.5  # from this factor on, a student is called smaller or faster than its teacher


def format_measure(measure: str, value: float | None, spread: float | None = None) -> str:
    """Return a measure as people read it: shares in percent, the rest in three figures."""
    if value is None:
        return "–"
    if measure in SHARES:
        plus_minus = "" if spread is None else f" ± {100 * spread:.1f}"
        return f"{100 * value:.1f}{plus_minus}"
    plus_minus = "" if spread is None else f" ± {spread:.1g}"
    return f"{value:.3g}{plus_minus}"


def format_interval(group: Group, measure: str) -> str:
    """Return a group's interval without its unit, such as `92.0 to 94.1`; nothing where none is
    known"""
    interval = group.interval(measure)
    if interval is None:
        return ""
    low, high = interval
    return f"{format_measure(measure, low)} to {format_measure(measure, high)}"


def verdict_sentences(evaluation: Evaluation) -> list[str]:
    """Return which student won by what, and after it what else there is to say of the best ones."""
    measure = evaluation.main_measure
    students = best_first(evaluation.students, measure)
    others = [group for group in evaluation.groups if group.role != "student"]
    if not students:
        count = len(others)
        rows = f"{evaluation.rows:,}"
        return [f"{count} label sets were judged on {rows} rows; no student is judged."]
    best = students[0]
    compared = [_named_figure(group, measure) for group in [*students[1:2], *others[:2]]]
    against = f", against {', '.join(compared)}" if compared else ""
    figure = _figure(best, measure) + _in_interval(best, measure, evaluation.level)
    winner = f"{best.name} is the best student by {_MEASURED[measure]}: {figure}{against}."
    sentences = [winner, _unseen_classes(evaluation.students), _size_and_speed(best, evaluation)]
    return [sentence for sentence in sentences if sentence]


def verdict(evaluation: Evaluation) -> str:
    """Return `verdict_sentences` as one text."""
    sentences = verdict_sentences(evaluation)
    return " ".join(sentences)


def _figure(group: Group, measure: str) -> str:
    figure = format_measure(measure, group.mean(measure), group.spread(measure))
    return f"{figure}%" if measure in SHARES else figure


def _in_interval(group: Group, measure: str, level: float) -> str:
    interval = format_interval(group, measure)
    return f" ({level:.0%} interval {interval})" if interval else ""


def _named_figure(group: Group, measure: str) -> str:
    name = f"the teacher {group.name}" if group.role == "teacher" else group.name
    return f"{_figure(group, measure)} for {name}"


def _unseen_classes(students: Sequence[Group]) -> str:
    """Return who is best over seen and unseen classes together; nothing where all are seen."""
    judged = [group for group in students if group.mean("harmonic_mean") is not None]
    if not judged:
        return ""
    ranked = best_first(judged, "harmonic_mean")
    best = ranked[0]
    harmonic = _figure(best, "harmonic_mean")
    seen = _figure(best, "accuracy_seen")
    unseen = _figure(best, "accuracy_unseen")
    return (
        f"Over seen and unseen classes together, {best.name} leads"
        f" with a harmonic mean of {harmonic} ({seen} seen, {unseen} unseen)."
    )


def _size_and_speed(best: Group, evaluation: Evaluation) -> str:
    """Return both beside the teacher's; nothing where a size is not known."""
    student = best.first
    teachers = [method for method in evaluation.methods if method.role == "teacher"]
    teacher = next((method for method in teachers if method.parameters), None)
    if teacher is None or not teacher.parameters or not student.parameters:
        return ""
    smaller = teacher.parameters / student.parameters
    size = f"{1 / smaller:.2g}× the teacher's"
    if smaller >= NOTABLE:
        size = f"1/{smaller:.0f} of the teacher's"
    faster = teacher.milliseconds_per_row / student.milliseconds_per_row
    pace = f"takes {1 / faster:.2g}× the teacher's time a row"
    if faster >= NOTABLE:
        pace = f"answers {faster:.0f}× as fast"
    return f"It has {student.parameters:,} parameters, {size}, and {pace} on one CPU thread."


def what_terms_add(evaluation: Evaluation) -> list[str]:
    """Return a sentence for each two students of which one is taught by one term more, compared
    seed by seed; none where fewer than three seeds are shared.

    A sweep may have changed their terms and seeds alone; how the job trains each of them is not
    compared."""
    students = [group for group in evaluation.students if not group.trained_otherwise]
    sentences = []
    for longer in students:
        for shorter in students:
            term = _added_term(shorter, longer)
            shared_seeds = shorter.by_seed.keys() & longer.by_seed.keys()
            if term is not None and len(shared_seeds) >= _LEAST_SEEDS:
                sentences.append(_addition(term, shorter, longer, evaluation.main_measure))
    return sentences


def _added_term(shorter: Group, longer: Group) -> str | None:
    """Return the one term that `longer` has more; None where they differ otherwise."""
    # counted, since two terms may learn from one label set
    fewer = shorter.first.taught_by
    terms = Counter(fewer)
    more = longer.first.taught_by
    more_terms = Counter(more)
    if not terms < more_terms:
        return None
    difference = more_terms - terms
    elements = difference.elements()
    added = list(elements)
    return added[0] if len(added) == 1 else None


def _addition(term: str, shorter: Group, longer: Group, measure: str) -> str:
    gains = []
    for seed in shorter.by_seed.keys() & longer.by_seed.keys():
        former = shorter.by_seed[seed]
        before = former.measures[measure]
        gains.append(longer.by_seed[seed].measures[measure] - before)
    sign = -1 if measure in LOWER_IS_BETTER else 1
    better = sum(sign * gain > 0 for gain in gains)
    mean = statistics.fmean(gains)
    is_gain = mean > 0
    plus = "+" if is_gain else ""
    spread = statistics.stdev(gains)
    change = format_measure(measure, mean, spread)
    is_share = measure in SHARES
    points = " points" if is_share else ""
    unclear = "" if better in (0, len(gains)) else ": no clear difference"
    return (
        f"{term}, added to {shorter.name} as {longer.name}:"
        f" {plus}{change}{points} of {_MEASURED[measure]},"
        f" better in {better} of {len(gains)} seeds{unclear}."
    )
