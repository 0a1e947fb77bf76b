"""The model card: what the student is, what taught it, and how well it does, with the digests that
prove it."""

from __future__ import annotations

from collections.abc import Mapping

from distill.core.privacy import NO_STATEMENT, PrivacyStatement, with_totals
from distill.models.record import ModelRecord
from distill.models.text_tokens import ModelTokens
from distill.spec.pools import Features, ImageFeatures, TextFeatures, VectorFeatures
from distill.stages.export.audit_card import audit_sections
from distill.stages.export.judged import Judged, judged_sections
from distill.stages.export.onnx_file import TOLERANCE

_ONNX = """`model.onnx` holds the network and its weights, and needs onnxruntime alone:

```python
import json
import onnxruntime

session = onnxruntime.InferenceSession("model.onnx")
outputs = dict(zip([head.name for head in session.get_outputs()], session.run(None, {"features": features})))
names = json.loads(session.get_modelmeta().custom_metadata_map["classes"])    # by head, in the order of its outputs
```

A batch has one row or more.{texts} On the first rows of the pool that taught the student, it answered as torch does, within {tolerance} of a head's
largest answer."""
_ONNX_TEXTS = """ `features` are the ids that `tokenizer.json` gives, by the library `tokenizers` alone, filled up with -1:

```python
rows = [each.ids for each in Tokenizer.from_file("tokenizer.json").encode_batch(texts, add_special_tokens={marks})]
rows = [{read} for row in rows]
width = max([1, *map(len, rows)])
features = numpy.array([row + [-1] * (width - len(row)) for row in rows], "int32")
```

"""


def describe_features(
    features: Features, width: int, places: int | None, tokens: int | None = None
) -> str:
    """Return what the network takes, in words; of text that is so many places or tokens at most."""
    if isinstance(features, ImageFeatures):
        height, across, channels = features.shape
        return (
            f"(rows, {width}) float32: images of {height} × {across} × {channels},"
            " channel by channel, bytes over 255."
        )
    if isinstance(features, TextFeatures) and tokens is not None:
        return (
            f"(rows, tokens) int32: each text's tokens, {tokens} at most, behind them -1;"
            " or a list of texts."
        )
    if isinstance(features, TextFeatures):
        return (
            f"(rows, {places}) int32: the places of each text's n-grams,"
            " as distill.pools.ngrams.ngram_places makes them."
        )
    assert isinstance(features, VectorFeatures)
    columns = ", ".join(features.columns)
    scaled = f", times {features.scale:g}" if features.scale != 1 else ""
    return f"(rows, {width}) float32: the columns {columns}{scaled}."


def describe_heads(record: ModelRecord) -> str:
    """Return every head and what it answers, in words."""
    return "; ".join(f"{name}: {outputs.in_words}" for name, outputs in record.heads.items())


def model_card(
    name: str,
    record: ModelRecord,
    features: str,
    judged: Judged,
    *,
    stopped_on: str | None = None,
    onnx: bool = False,
    tokens: ModelTokens | None = None,
) -> str:
    """Return the text of README.md, without what stands before it for machines (`front_matter`).

    `stopped_on` is the pool by whose rows the kept epoch was chosen; `onnx` says that the folder
    has `model.onnx`; `tokens` how texts are read, where they are read by tokens.
    """
    terms = [f"- {term}" for term in record.details.get("terms", [])]
    parts = [
        f"# {name}",
        f"A student of {record.parameters:,} parameters, taught by distill.",
        f"**Sees** {features}",
        f"**Answers** {describe_heads(record)}.",
        "## Taught by",
        "\n".join(terms),
        _pins_table(record.taught_by),
    ]
    if stopped_on is not None:
        parts += ["## Stopped by", *_stopped_by(record, stopped_on)]
    parts += ["## Privacy", *_privacy(record)]
    parts += judged_sections(judged)
    parts += audit_sections(judged)
    parts += ["## Use", _use(record, tokens)]
    if onnx:
        parts.append(_onnx(tokens))
    parts.append(f"Weights: sha256 `{record.sha256}`. Student: digest `{record.digest}`.")
    return "\n\n".join(filter(None, parts)) + "\n"


def _pins_table(pins: Mapping[str, str]) -> str:
    lines = [f"| `{what}` | `{pin}` |" for what, pin in pins.items()]
    return "\n".join(["| what | digest of what it held |", "|---|---|", *lines])


def _stopped_by(record: ModelRecord, pool: str) -> list[str]:
    """Return what chose the epoch that is kept, and the digests of its rows and labels."""
    details = record.details
    early_stop = details["early_stop"]
    text = (
        f"The weights are those of epoch {details['best_epoch']} of the {details['epochs']}"
        f" trained, the best by {early_stop['measure']},"
        f" measured over the rows of pools.{pool}, which taught nothing."
    )
    return [text, _pins_table(early_stop["pins"])]


def _privacy(record: ModelRecord) -> list[str]:
    """Return what is promised of the rows that taught."""
    stored = [PrivacyStatement.from_json(each) for each in record.details.get("privacy", ())]
    statements = with_totals(stored)
    if not statements:
        return [NO_STATEMENT]
    lines = [f"- {each.sentence}" for each in statements]
    notes = dict.fromkeys(note for each in statements for note in each.notes)
    return ["\n".join(lines), " ".join(notes)]


def _onnx(tokens: ModelTokens | None) -> str:
    texts = ""
    if tokens is not None:
        texts = _ONNX_TEXTS.replace("{marks}", str(tokens.reading == "encoder"))
        unread = tokens.unread
        read = "row" if unread is None else f"[token for token in row if token != {unread}]"
        texts = texts.replace("{read}", read)
    return _ONNX.replace("{texts}", texts).replace("{tolerance}", f"{TOLERANCE:.2g}")


def _use(record: ModelRecord, tokens: ModelTokens | None) -> str:
    has_own_code = bool((record.plan or {}).get("code"))
    needs = "torch and safetensors alone"
    if tokens is not None:
        needs = "torch, safetensors and tokenizers"
    if tokens is not None and tokens.reading == "encoder":
        needs = "torch, safetensors, tokenizers and transformers"
    source = ""
    own_copy = ""
    if has_own_code:
        needs = "torch and safetensors, and what `own.py`, its author's code, imports"
        source = " --source FILE"
        own_copy = ", FILE being your own copy of `own.py`"
    return (
        f"`model.py` needs {needs}:"
        " `from model import load; load('weights.safetensors')(features)`."
        f" `distill predict FOLDER IN OUT{source}` labels files with it{own_copy}."
    )
