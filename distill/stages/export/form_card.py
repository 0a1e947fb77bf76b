"""The model card of a form: what the Hugging Face hub reads of it in its front matter, then what any
export's card says."""

from __future__ import annotations

import json
from collections.abc import Sequence

from distill.core.results import MethodResult
from distill.spec.outputs import Outputs
from distill.stages.export.forms import Form, TextStudent

_TAGS = ("distill", "knowledge-distillation")
_METRICS = ("accuracy", "nll", "calibration_error", "mse", "mae", "r2", "agreement")
"""Measures that a card's `model-index` names."""


def form_card(
    student: TextStudent, form: Form, card: str, results: Sequence[MethodResult]
) -> bytes:
    """Return README.md: front matter, how it is loaded, and the student's own card."""
    outputs = student.outputs(form.head)
    mine = [result for result in results if result.head in ("", form.head)]
    front = [
        "---",
        f"library_name: {form.library}",
        f"pipeline_tag: {_task(outputs)}",
        "tags:",
        *(f"- {tag}" for tag in _TAGS),
        *_model_index(student.name, outputs, mine),
        "---",
    ]
    title, _, rest = card.partition("\n\n")
    return "\n\n".join(["\n".join(front), title, form.use, rest]).encode()


def _task(outputs: Outputs) -> str:
    return "feature-extraction" if outputs.kind == "value" else "text-classification"


def _model_index(name: str, outputs: Outputs, results: Sequence[MethodResult]) -> list[str]:
    """How well it does, as the hub's `model-index`; nothing where nobody judged it."""
    metrics = [
        (measure, result.measures[measure])
        for result in results
        for measure in _METRICS
        if measure in result.measures
    ]
    if not metrics:
        return []
    # JSON's texts are YAML's, whatever signs a name has
    lines = [
        "model-index:",
        f"- name: {json.dumps(name)}",
        "  results:",
        "  - task:",
        f"      type: {_task(outputs)}",
        "    dataset:",
        "      name: the job's test pool",
        "      type: distill-pool",
        "    metrics:",
    ]
    for measure, value in metrics:
        lines += [f"    - type: {measure}", f"      value: {value:.6g}"]
    return lines
