"""The model card of a form: what the Hugging Face hub reads of it in its front matter, then what any
export's card says."""

from __future__ import annotations

from dataclasses import replace

from distill.spec.outputs import Outputs
from distill.stages.export.forms import Form, TextStudent
from distill.stages.export.judged import Judged, front_matter


def form_card(student: TextStudent, form: Form, card: str, judged: Judged) -> bytes:
    """Return README.md: front matter, how it is loaded, and the student's own card."""
    task = _task(student.outputs(form.head))
    mine = [result for result in judged.results if result.head in ("", form.head)]
    keys = [f"library_name: {form.library}", f"pipeline_tag: {task}"]
    front = front_matter(student.name, replace(judged, results=mine), keys)
    title, _, rest = card.partition("\n\n")
    return "\n\n".join([front, title, form.use, rest]).encode()


def _task(outputs: Outputs) -> str:
    return "feature-extraction" if outputs.kind == "value" else "text-classification"
