"""What `[labels.NAME]` says of the rest of a job: over which pools, how stored and calibrated."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.errors import JobError
from distill.plan.checks.evaluation import is_judged_on
from distill.plan.checks.groups import check_groups
from distill.plan.checks.labelers import check_labelers
from distill.plan.checks.networks import check_same_features, check_values
from distill.plan.checks.pate import check_votes
from distill.plan.checks.problems import Problems
from distill.plan.checks.structures import check_structure_labels
from distill.plan.checks.views import check_views
from distill.plan.tables import JobTables
from distill.pools.formats.selection import ADDRESS_KEYS
from distill.spec.labels import Fitted, Labels, Merge, Pooled, Structured, TopK
from distill.spec.labels import Value as ValueEncoding
from distill.spec.outputs import Outputs
from distill.spec.pools import Pool

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
    """Yield all problems of label sets, whose names exist."""
    for name in tables.labels:
        yield from _label_set(tables, name)


def _label_set(tables: JobTables, name: str) -> Problems:
    labels = tables.labels[name]
    where = f"labels.{name}"
    yield from check_same_features(tables, _seen_pools(tables, labels), f"{where}.over")
    try:
        outputs = tables.label_outputs(name)
    except JobError as error:
        yield str(error)
        return
    if outputs.says_nothing:
        yield (
            f"{where}.labeler: says {outputs.in_words}, and one exclusive class is every row's."
            " Name all classes; of a yes or no let it be independent."
        )
    yield from _keys(tables, labels, f"{where}.over")
    yield from _encoding(labels, outputs, f"{where}.encoding")
    if labels.reveal is not None and labels.reveal.top_1 and outputs.kind == "value":
        yield f"{where}.reveal.top_1: is of classes; this labeler says {outputs.in_words}."
    yield from _precision(labels, where)
    yield from _calibration(tables, labels, outputs, where)
    yield from check_labelers(tables, name)
    yield from check_structure_labels(tables, name)
    yield from check_votes(tables, name)
    yield from _values(tables, name)
    yield from check_views(tables, name)
    yield from _in_plain_text(tables, labels, f"{where}.labeler")
    if isinstance(labels.labeler, Pooled):
        yield from _pooled(tables, labels.labeler, labels.over, f"{where}.labeler")


def _in_plain_text(tables: JobTables, labels: Labels, where: str) -> Problems:
    """Whether it would write plainly what other label sets have encrypted."""
    if labels.encryption is not None:
        return
    sources: tuple[str, ...] = ()
    if isinstance(labels.labeler, Merge):
        sources = labels.labeler.own
    elif isinstance(labels.labeler, Pooled):
        sources = (labels.labeler.votes_of, labels.labeler.groups_of)
    for source in sources:
        if tables.labels[source].encryption is not None:
            yield (
                f"{where}: labels.{source} is encrypted, and what is made of it would be plain. Give"
                " this label set an `encryption` too."
            )


def _pooled(tables: JobTables, labeler: Pooled, pools: Sequence[str], where: str) -> Problems:
    votes = f"{where}.votes = {labeler.votes!r}"
    votes_of = labeler.votes_of
    outputs = tables.label_outputs(votes_of)
    if not outputs.is_exclusive:
        yield (
            f"{votes}: says {outputs.in_words}, and votes are for one of several classes. Name"
            " another label set."
        )
    yield from check_values(tables, votes_of, pools, votes)
    key = f"{where}.groups = {labeler.groups!r}"
    yield from check_groups(tables, labeler.groups_of, pools, key)


def _values(tables: JobTables, name: str) -> Problems:
    """Whether its labelers see the same, and the label set that they see covers all its pools."""
    labels = tables.labels[name]
    where = f"labels.{name}.labeler"
    seen = {tables.seen_by(labeler) for _, labeler in labels.members(name)}
    if len(seen) > 1:
        yield (
            f"{where}.members: some see values of a label set, others the pool's features or"
            " another one's, and rows are read once. Write a label set of each."
        )
        return
    (values_of,) = seen
    if values_of is not None:
        pools = [*labels.over, *([labels.calibrate_on] if labels.calibrate_on else [])]
        yield from check_values(tables, values_of, pools, f"{where}, which sees labels.{values_of}")


def _seen_pools(tables: JobTables, labels: Labels) -> list[str]:
    """The pools that its labelers see: fitted on, labelled, calibrated on."""
    fitted_on = [*_fitted_on(tables, labels), *_found_in(tables, labels)]
    calibrated = [labels.calibrate_on] if labels.calibrate_on else []
    return [*fitted_on, *labels.over, *calibrated]


def _fitted_on(tables: JobTables, labels: Labels) -> list[str]:
    members = [labeler for _, labeler in labels.members("")]
    return [tables.fit[each.fit].on for each in members if isinstance(each, Fitted)]


def _found_in(tables: JobTables, labels: Labels) -> list[str]:
    """The pools that its structures are fitted on; none where those are a label set's values."""
    members = [labeler for _, labeler in labels.members("")]
    sources = [
        tables.structure_source(each.structure) for each in members if isinstance(each, Structured)
    ]
    return [source.pool for source in sources if source.pool is not None]


def _keys(tables: JobTables, labels: Labels, where: str) -> Problems:
    keys = {pool: _own_keys(tables.pools[pool]) for pool in labels.over}
    if len(set(keys.values())) > 1:
        yield (
            f"{where}: the pools keep different keys, {keys},"
            " and a label set has one set of columns. Give them the same keys."
        )
    taken = label_column_keys(tables, labels.over)
    if taken:
        yield (
            f"{where}: its pools keep {taken} as keys, but label sets have columns of that name."
            " Rename them in the pool."
        )


def _own_keys(pool: Pool) -> tuple[str, ...]:
    """The keys that the job names."""
    # an address is told of rows of any pool
    return tuple(key for key in pool.keys if key not in ADDRESS_KEYS)


def label_column_keys(tables: JobTables, pools: Sequence[str]) -> list[str]:
    """Return the keys of some pools that are called as columns of labels are."""
    every = [key for pool in pools for key in tables.pools[pool].keys]
    return [key for key in every if _is_label_column(key)]


def _is_label_column(name: str) -> bool:
    """Whether a table of labels has a column of this name, stored or decoded."""
    return name in _LABEL_COLUMNS or name.startswith(("index_", "view_"))


def _encoding(labels: Labels, outputs: Outputs, where: str) -> Problems:
    encoding = labels.encoding
    if encoding is None:
        return
    says_values = outputs.kind == "value"
    if isinstance(encoding, ValueEncoding) != says_values:
        right = "value" if says_values else "dense or topk"
        yield f"{where}.kind = {encoding.kind!r}: this labeler says {outputs.in_words}. Use {right}."
    if isinstance(encoding, TopK) and not says_values:
        yield from _topk(encoding, outputs, where)


def _topk(encoding: TopK, outputs: Outputs, where: str) -> Problems:
    count = len(outputs.classes)
    if not outputs.exclusive:
        yield f"{where}.kind = 'topk': independent outputs have no log-normaliser. Use dense."
    elif encoding.k > count:
        yield f"{where}.k = {encoding.k}: there are {count} classes. Use at most that many."
    elif encoding.values == "uint8" and not all(
        0.5 <= each <= 20 for each in encoding.temperatures
    ):
        yield (
            f"{where}.temperatures = {list(encoding.temperatures)}: one byte a logit is meant for"
            ' 0.5 to 20. Say values = "float16".'
        )


def _precision(labels: Labels, where: str) -> Problems:
    members = [labeler for _, labeler in labels.members("")]
    own_precision = all(labeler.own_precision for labeler in members)
    if own_precision and labels.precision != "float32":
        yield (
            f"{where}.precision = {labels.precision!r}: a {members[0].kind} labeler chooses its own"
            " precision. Leave it out."
        )


def _calibration(tables: JobTables, labels: Labels, outputs: Outputs, where: str) -> Problems:
    """Whether a temperature can be chosen on those rows, and would hold for others."""
    on = labels.calibrate_on
    if on is None:
        return
    calibrate_on = f"{where}.calibrate_on = {on!r}"
    if tables.pools[on].target is None:
        yield f"{calibrate_on}: that pool has no target to calibrate by. Name its target column."
        return
    truth = tables.pool_outputs(on)
    lacking = [name for name in truth.classes if name not in outputs.positions]
    if not outputs.is_like(truth) or outputs.kind == "value":
        yield (
            f"{calibrate_on}: the labeler says {outputs.in_words}, the pool's target {truth.in_words};"
            " only logits of the same classes are calibrated. Leave it out."
        )
    elif lacking:
        yield (
            f"{calibrate_on}: the labeler lacks its classes {lacking}."
            " Calibrate on rows whose classes it knows."
        )
    fitted_on = _fitted_on(tables, labels)
    if any(tables.may_share_rows(on, pool) for pool in fitted_on):
        yield (
            f"{calibrate_on}: the labeler is fitted on those rows, where it is surer than it should"
            " be. Name labelled rows that it has not seen."
        )
    if is_judged_on(tables, on):
        yield f"{calibrate_on}: students are judged on that pool. Calibrate on another one."
