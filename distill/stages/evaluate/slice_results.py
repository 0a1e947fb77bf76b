"""Slices as people see them: the worst first, with some rows that were got wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from distill.core.intervals import LEVEL, mean_interval, share_interval
from distill.core.judgement import LEAST_ROWS, Example, SliceResult
from distill.core.results import LOWER_IS_BETTER, ROW_MEASURES
from distill.engine.protocol import Engine
from distill.stages.evaluate.evaluator import Evaluator
from distill.stages.evaluate.examples import ReadExamples
from distill.stages.evaluate.judged_sums import JudgedSums, SliceTable
from distill.stages.evaluate.slice_sums import SliceSums

MOST_SLICES = 100  # of one slicing: those that are kept of the worst. The gate looks at all.
_WITH_EXAMPLES = 5


def slice_results(
    evaluator: Evaluator, judged: JudgedSums, engine: Engine
) -> tuple[SliceResult, ...]:
    """Return the slices of every slicing, the worst first by the best student."""
    measures = ROW_MEASURES[judged.kind]
    main = measures[0]
    best = _best(judged, main)
    found: list[SliceResult] = []
    wanted = {}
    for slicing, sums in judged.slices.items():
        table = judged.slice_table(sums)
        lines = _worst_first(table, best, main)
        for place, line in enumerate(lines[:MOST_SLICES]):
            if place < _WITH_EXAMPLES:
                rows = sums.rows[line]
                wanted[len(found)] = tuple(rows[rows >= 0].tolist())
            found.append(_result(slicing, sums, table, line))
    numbers = tuple(dict.fromkeys(row for rows in wanted.values() for row in rows))
    # evaluations and reports are plain text, and examples say what the method says of a row
    if not numbers or evaluator.dataset.is_encrypted(best):
        return tuple(found)
    method = next(each for each in evaluator.methods if each.key == best)
    read = ReadExamples(evaluator.dataset, evaluator.truth, method, numbers)
    examples: dict[int, Example] = engine.call(read)
    for place, rows in wanted.items():
        mine = tuple(examples[row] for row in rows)
        found[place] = replace(found[place], examples=mine)
    return tuple(found)


def _best(judged: JudgedSums, measure: str) -> str:
    """Return the key of the best student, or of the best method where there is no student."""
    students = [each.method.key for each in judged.candidates if each.role == "student"]
    sign = 1 if measure in LOWER_IS_BETTER else -1
    return min(students or judged.keys, key=lambda key: sign * judged.measures[key][measure])


def _worst_first(table: SliceTable, key: str, measure: str) -> list[int]:
    """Return lines in their order; those with too few rows to say much come last."""
    sign = -1 if measure in LOWER_IS_BETTER else 1

    def rank(line: int) -> tuple[bool, float]:
        rows = float(table.rows[line])
        total, _ = table.mean_sums(line, key, measure)
        return rows < LEAST_ROWS, sign * total / max(rows, 1)

    return sorted(range(len(table.rows)), key=rank)


def _result(slicing: str, sums: SliceSums, table: SliceTable, line: int) -> SliceResult:
    rows = int(table.rows[line])
    measures = {}
    for key in table.judged.keys:
        names = ROW_MEASURES[table.judged.kind]
        measures[key] = {name: _figures(table, line, key, name) for name in names}
    few = rows < LEAST_ROWS
    return SliceResult(
        slicing=slicing, value=sums.values[line], rows=rows, few=few, measures=measures
    )


def _figures(table: SliceTable, line: int, key: str, measure: str) -> Sequence[float]:
    """Return the measure and the ends of its interval."""
    # a single row has no interval
    rows = float(table.rows[line])
    total, squares = table.mean_sums(line, key, measure)
    floored = max(rows, 1)
    value = total / floored
    if measure == "accuracy" and table.judged.kind == "exclusive":
        interval = share_interval(total, rows)
        return [value, *interval]
    if rows < 2:
        return [value]
    return [value, *mean_interval(total, squares, rows, LEVEL)]
