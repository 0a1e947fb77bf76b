"""How well a student does, as its card says it: a table with intervals, what the gate said, and the
same as `model-index` of Hugging Face's model cards, which other tools read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from distill.core.judgement import PASSED, rule_sentence, worst_state
from distill.core.results import MEASURES, SHARES, Evaluation, MethodResult

_TASKS = {
    "exclusive": ("other", "Classification"),
    "independent": ("other", "Multi-label classification"),
    "value": ("other", "Regression"),
}
_MOST_RULES = 10
_TAGS = ("distill", "knowledge-distillation")


@dataclass(frozen=True)
class Judged:
    """The results of a student's heads, and the evaluation that they are part of, if any."""

    results: Sequence[MethodResult]
    evaluation: Evaluation | None = None


def judged_sections(judged: Judged) -> list[str]:
    """Return the card's sections; none where nobody judged the student."""
    scores = [line for result in judged.results for line in _score_lines(result)]
    if not scores:
        return []
    evaluation = judged.evaluation
    parts = ["## Judged"]
    if evaluation is not None:
        section = _on(evaluation)
        parts.append(section)
    parts.append("\n".join(["| head | measure | | 95% |", "|---|---|---|---|", *scores]))
    return parts + _gate(judged)


def front_matter(name: str, judged: Judged, keys: Sequence[str] = ()) -> str:
    """Return the YAML that a model card begins with: its own `keys`, and how well the student does as
    `model-index`; nothing where there is neither."""
    lines = _model_index(name, judged)
    index = list(lines)
    if not index and not keys:
        return ""
    tags = [f"- {tag}" for tag in _TAGS]
    return "\n".join(["---", *keys, "tags:", *tags, *index, "---"])


def _model_index(name: str, judged: Judged) -> Iterator[str]:
    evaluation = judged.evaluation
    metrics = [line for result in judged.results for line in _metrics(result)]
    if evaluation is None or not metrics:
        return
    task, task_name = _TASKS[evaluation.kind]
    yield "model-index:"
    # JSON's strings are YAML's: names may have any character
    yield f"- name: {_quoted(name)}"
    yield "  results:"
    yield "  - task:"
    yield f"      type: {task}"
    yield f"      name: {task_name}"
    yield "    dataset:"
    yield f"      type: {_quoted(evaluation.pool)}"
    yield f"      name: {_quoted(evaluation.pool)}"
    yield "    metrics:"
    yield from metrics


def _on(evaluation: Evaluation) -> str:
    return (
        f"On {evaluation.rows:,} rows of `{evaluation.pool}`, by the job `{evaluation.job}`. The"
        " intervals hold the draw of these rows, and not that of the training."
    )


def _score_lines(result: MethodResult) -> Iterator[str]:
    for measure, title in MEASURES.items():
        if measure in result.measures:
            value = result.measures[measure]
            figure = _figure(measure, value)
            ends = result.intervals.get(measure, ())
            interval = " to ".join(_figure(measure, end) for end in ends)
            yield f"| {result.name} | {title} | {figure} | {interval} |"


def _figure(measure: str, value: float) -> str:
    return f"{100 * value:.1f}%" if measure in SHARES else f"{value:.3g}"


def _metrics(result: MethodResult) -> Iterator[str]:
    for measure, title in MEASURES.items():
        if measure in result.measures:
            yield f"    - type: {measure}"
            value = result.measures[measure]
            yield f"      value: {value!r}"
            yield f"      name: {_quoted(f'{title} ({result.name})')}"


def _gate(judged: Judged) -> list[str]:
    gate = judged.evaluation.gate if judged.evaluation else None
    if gate is None:
        return []
    found = gate.of([result.key for result in judged.results])
    if not found:
        return []
    state = worst_state(found)
    count = f"{len(found):,} rules and slices"
    if state == PASSED:
        return ["## Gate", f"Passed: {count}, each with {gate.confidence:.0%} confidence."]
    beyond = [each for each in found if each.state != PASSED]
    lines = [f"- {rule_sentence(each, gate.confidence)}" for each in beyond[:_MOST_RULES]]
    if len(beyond) > _MOST_RULES:
        lines.append(f"- and {len(beyond) - _MOST_RULES:,} more")
    text = f"**{state.capitalize()}**, exported all the same: {len(beyond):,} of {count}."
    listed = "\n".join(lines)
    return ["## Gate", text, listed]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
