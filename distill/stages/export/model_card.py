"""The model card: what the student is, what taught it, and how well it does, with the digests that
prove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from distill.core.results import MEASURES, SHARES, MethodResult
from distill.models.record import ModelRecord
from distill.spec.pools import Features, ImageFeatures, TextFeatures, VectorFeatures
from distill.stages.export.onnx_file import TOLERANCE


def features_said(features: Features, width: int, places: int | None) -> str:
    """What the network takes, in words."""
    if isinstance(features, ImageFeatures):
        height, across, channels = features.shape
        return (
            f"(rows, {width}) float32: images of {height} × {across} × {channels}, channel by"
            " channel, bytes over 255."
        )
    if isinstance(features, TextFeatures):
        return (
            f"(rows, {places}) int32: the places of each text's n-grams, as"
            " distill.pools.ngram_places makes them."
        )
    assert isinstance(features, VectorFeatures)
    scaled = f", times {features.scale:g}" if features.scale != 1 else ""
    return f"(rows, {width}) float32: the columns {', '.join(features.columns)}{scaled}."


def heads_said(record: ModelRecord) -> str:
    """Every head and what it answers, in words."""
    return "; ".join(f"{name}: {outputs.said}" for name, outputs in record.heads.items())


_ONNX = f"""`model.onnx` holds the network and its weights, and needs onnxruntime alone:

```python
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
outputs = dict(zip([head.name for head in session.get_outputs()], session.run(None, {{"features": features}})))
```

A batch has one row or more. On the first rows of the pool that taught the student, it answered as torch does, within {TOLERANCE:.2g} of a head's
largest answer."""


def model_card(
    name: str,
    record: ModelRecord,
    features: str,
    results: Sequence[MethodResult],
    *,
    onnx: bool = False,
) -> str:
    """The text of README.md; with `onnx` for a folder that has `model.onnx`."""
    terms = [f"- {term}" for term in record.details.get("terms", [])]
    scores = [line for result in results for line in _scores(result)]
    parts = [
        f"# {name}",
        f"A student of {record.parameters:,} parameters, taught by distill.",
        f"**Sees** {features}",
        f"**Answers** {heads_said(record)}.",
        "## Taught by",
        "\n".join(terms),
        _pins(record.taught_by),
        *_stopped(record),
        *(
            ["## Judged", "\n".join(["| head | measure | |", "|---|---|---|", *scores])]
            if scores
            else []
        ),
        "## Use",
        _use(record),
        *([_ONNX] if onnx else []),
        f"Weights: sha256 `{record.sha256}`. Student: digest `{record.digest}`.",
    ]
    return "\n\n".join(filter(None, parts)) + "\n"


def _pins(pins: Mapping[str, str]) -> str:
    lines = [f"| `{what}` | `{pin}` |" for what, pin in pins.items()]
    return "\n".join(["| what | digest of what it held |", "|---|---|", *lines])


def _stopped(record: ModelRecord) -> list[str]:
    """What chose the epoch that is kept; nothing where that is the last one."""
    details = record.details
    if "early_stop" not in details:
        return []
    measure, pins = details["early_stop"]["measure"], details["early_stop"]["pins"]
    rows = next(pin for pin in pins if pin.startswith("pools."))
    said = (
        f"The weights are those of epoch {details['best_epoch']} of the {details['epochs']}"
        f" trained, the best by {measure}, measured over the rows of {rows}, which taught nothing."
    )
    return ["## Stopped by", said, _pins(pins)]


def _use(record: ModelRecord) -> str:
    own = bool((record.plan or {}).get("code"))
    needs = (
        "torch and safetensors, and what `own.py`, its author's code, imports"
        if own
        else "torch and safetensors alone"
    )
    source = " --source FILE" if own else ""
    return (
        f"`model.py` needs {needs}: `from model import load;"
        f" load('weights.safetensors')(features)`. `distill predict FOLDER IN OUT{source}` labels"
        " files with it" + (", FILE being your own copy of `own.py`." if own else ".")
    )


def _scores(result: MethodResult) -> list[str]:
    said = []
    for key, title in MEASURES.items():
        if key in result.measures:
            value = result.measures[key]
            said.append(
                f"| {result.name} | {title} |"
                f" {f'{100 * value:.1f}%' if key in SHARES else f'{value:.3g}'} |"
            )
    return said
