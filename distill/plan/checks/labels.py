"""What `[labels.NAME]` says of the rest of a job: which labeler, over which pools, stored how."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distill.core.errors import JobError
from distill.labelers.kind import LabelerKind, ModelLabelerKind
from distill.plan.tables import JobTables
from distill.spec.labels import Fitted, Labels, TopK
from distill.spec.labels import Value as ValueEncoding
from distill.spec.outputs import Outputs
from distill.spec.pools import TextFeatures
from distill.spec.uris import is_hub, wrong_uri

Problems = Iterator[str]

_LABEL_COLUMNS = {
    "shard",
    "row",
    "index",
    "log_prob",
    "gap",
    "logit",
    "logits",
    "log_normalizer",
    "value",
    "disagreement",
}


def check_labels(tables: JobTables) -> Problems:
    """Every label set: its labeler, the pools it sees, and how it is stored."""
    for name, labels in tables.labels.items():
        where = f"labels.{name}"
        members = dict(labels.members(name))
        fitted = [tables.fit[each.fit].on for each in members.values() if isinstance(each, Fitted)]
        calibrated = (labels.calibrate_on,) if labels.calibrate_on else ()
        yield from check_alike(tables, (*fitted, *labels.over, *calibrated), f"{where}.over")
        try:
            outputs = tables.label_outputs(name)
        except JobError as error:
            yield str(error)
            continue
        if outputs.says_nothing:
            yield (
                f"{where}.labeler: says {outputs.said}, and one exclusive class is every row's."
                " Name all classes; of a yes or no let it be independent."
            )
        yield from _keys(tables, labels, f"{where}.over")
        yield from _encoding(labels, outputs, f"{where}.encoding")
        own = [each.kind for each in members.values() if each.own_precision]
        if len(own) == len(members) and labels.precision != "float32":
            yield (
                f"{where}.precision = {labels.precision!r}: a {own[0]} labeler chooses its own"
                " precision. Leave it out."
            )
        if labels.calibrate_on is not None:
            yield from _calibration(
                tables, labels, outputs, f"{where}.calibrate_on = {labels.calibrate_on!r}"
            )
        for key, labeler in members.items():
            if isinstance(labeler, ModelLabelerKind):
                yield from _model(tables, labeler, key)
            if isinstance(labeler, LabelerKind):
                yield from _features(tables, labeler, labels.over, key)


def _keys(tables: JobTables, labels: Labels, where: str) -> Problems:
    kept = {pool: tables.pools[pool].keys for pool in labels.over}
    if len(set(kept.values())) > 1:
        yield (
            f"{where}: the pools keep different keys, {kept}, and a label set has one set of"
            " columns. Give them the same keys."
        )
    taken = [
        key for pool in labels.over for key in tables.pools[pool].keys if _is_label_column(key)
    ]
    if taken:
        yield (
            f"{where}: its pools keep {taken} as keys, but label sets have columns of that name."
            " Rename them in the pool."
        )


def _encoding(labels: Labels, outputs: Outputs, where: str) -> Problems:
    encoding = labels.encoding
    if encoding is not None and isinstance(encoding, ValueEncoding) != (outputs.kind == "value"):
        yield (
            f"{where}.kind = {encoding.kind!r}: this labeler says {outputs.said}. Use"
            f" {'value' if outputs.kind == 'value' else 'dense or topk'}."
        )
    if not isinstance(encoding, TopK) or outputs.kind == "value":
        return
    if not outputs.exclusive:
        yield f"{where}.kind = 'topk': independent outputs have no log-normaliser. Use dense."
    elif encoding.k > len(outputs.classes):
        yield (
            f"{where}.k = {encoding.k}: there are {len(outputs.classes)} classes. Use at most that"
            " many."
        )
    elif encoding.values == "uint8" and not all(0.5 <= t <= 20 for t in encoding.temperatures):
        yield (
            f"{where}.temperatures = {list(encoding.temperatures)}: one byte a logit is meant for"
            ' 0.5 to 20. Say values = "float16".'
        )


def _calibration(tables: JobTables, labels: Labels, outputs: Outputs, where: str) -> Problems:
    on = str(labels.calibrate_on)
    if tables.pools[on].target is None:
        yield f"{where}: that pool has no target to calibrate by. Name its target column."
        return
    truth = tables.pool_outputs(on)
    lacking = [name for name in truth.classes if name not in outputs.positions]
    if (outputs.kind, outputs.exclusive) != (
        truth.kind,
        truth.exclusive,
    ) or outputs.kind == "value":
        yield (
            f"{where}: the labeler says {outputs.said}, the pool's target {truth.said}; only logits"
            " of the same classes are calibrated. Leave it out."
        )
    elif lacking:
        yield (
            f"{where}: the labeler lacks its classes {lacking}. Calibrate on rows whose classes it"
            " knows."
        )
    if any(
        isinstance(each, Fitted) and tables.fit[each.fit].on == on for _, each in labels.members("")
    ):
        yield (
            f"{where}: the labeler is fitted on those rows, where it is surer than it should be."
            " Name labelled rows that it has not seen."
        )
    if tables.evaluate and tables.evaluate.on == on:
        yield f"{where}: students are judged on that pool. Calibrate on another one."


def _model(tables: JobTables, labeler: ModelLabelerKind, where: str) -> Problems:
    """Whether the labeler's model can lie where the job says."""
    yield from check_model(tables, labeler.model, f"{where}.model")
    if labeler.made_by is not None:
        yield from check_maker(tables, labeler.made_by, f"{where}.made_by")
        if not labeler.fills_folder:
            yield (
                f"{where}.made_by: a maker fills a folder with a model of a library; a labeler of"
                f" kind {labeler.kind!r} is no such. Leave it out."
            )
        if is_hub(labeler.model):
            yield (
                f"{where}.made_by: {labeler.model} is the hub's, where nothing is made. Leave it"
                " out, or keep the model elsewhere."
            )
    file = labeler.code_file
    if file is not None and not tables.beside(file).is_file():
        yield (
            f"{where}.file = {file!r}: there is no file {str(tables.beside(file))!r}."
            " Paths are relative to the job file."
        )


def _features(tables: JobTables, labeler: LabelerKind, over: Sequence[str], where: str) -> Problems:
    """Whether the labeler can read the pools, where its kind alone says what it reads."""
    if labeler.reads is None:
        return
    for pool in over:
        features = tables.pools[pool].features
        has_text = isinstance(features, TextFeatures)
        if has_text != (labeler.reads == "text"):
            has = features.kind if features else None
            yield (
                f"{where}.kind = {labeler.kind!r}: it reads {labeler.reads}, but pools.{pool} has"
                f" features of kind {has!r}. Use another one."
            )


def check_model(tables: JobTables, model: str, where: str) -> Problems:
    """Whether a model can lie where the job says."""
    uri = tables.model_uri(model)
    wrong = None if is_hub(uri) else wrong_uri(uri)
    if wrong:
        yield f"{where}: {wrong}"


def check_maker(tables: JobTables, made_by: str, where: str) -> Problems:
    """Whether FILE.py:FUNCTION can be: the file is there."""
    file, _, function = made_by.partition(":")
    if not function:
        yield f"{where} = {made_by!r}: say FILE.py:FUNCTION, relative to the job file."
    elif not tables.beside(file).is_file():
        yield (
            f"{where} = {made_by!r}: there is no file {str(tables.beside(file))!r}. Paths are relative"
            " to the job file."
        )


def _is_label_column(name: str) -> bool:
    """Whether a table of labels has a column of this name, stored or decoded."""
    return name in _LABEL_COLUMNS or name.startswith("index_")


def check_alike(tables: JobTables, pools: Sequence[str], where: str) -> Problems:
    """One model sees these pools, so it must see the same of each."""
    if len({tables.pools[pool].features for pool in pools}) > 1:
        together = list(dict.fromkeys(pools))
        yield (
            f"{where}: one model sees the pools {together}, which have different features. Give"
            " them the same."
        )
