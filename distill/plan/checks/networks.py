"""What a network says of the pools that it sees, and of the other networks of its student: whether
it sees the same of all pools, and can read it."""

from __future__ import annotations

from collections.abc import Sequence

from distill.core.errors import JobError
from distill.models.custom_source import custom_models, head_key, revision_of
from distill.models.networks.custom import CustomModel
from distill.models.networks.pretrained import BegunNetwork, PretrainedNetwork
from distill.plan.checks.files import check_maker, check_model_uri
from distill.plan.checks.problems import Problems
from distill.plan.pretrained import pretrained_networks
from distill.plan.tables import JobTables
from distill.spec.labels import TopK
from distill.spec.models import LabelFeatures
from distill.spec.networks import FitModel, Network
from distill.spec.students import Student
from distill.spec.uris import is_hub

_MOST_WEIGHTS = 10**11
# keys that decide how many weights a network of distill's has
_WIDTHS = ("shape", "channels", "hidden", "layers", "buckets")


def check_same_features(tables: JobTables, pools: Sequence[str], where: str) -> Problems:
    """Yield where one model would see pools of different features; `where` is its user's key."""
    features = {tables.pools[pool].features for pool in pools}
    if len(features) > 1:
        distinct = dict.fromkeys(pools)
        together = list(distinct)
        yield (
            f"{where}: one model sees the pools {together}, which have different features."
            " Give them the same."
        )


def check_readable(
    tables: JobTables, pools: Sequence[str], model: FitModel, where: str
) -> Problems:
    """Yield why a model cannot read pools; `where` is the table that has the model."""
    for pool in dict.fromkeys(pools):
        spec = tables.pools[pool]
        features = spec.features
        for problem in model.misread(features, pool):
            yield f"{where}.model.{problem}"


def check_seen(
    tables: JobTables,
    pools: Sequence[str],
    model: FitModel,
    features: LabelFeatures | None,
    where: str,
) -> Problems:
    """Yield why a model cannot read what it sees of pools, their own features or a label set's
    values; `where` is the table that has the model."""
    if features is None:
        yield from check_readable(tables, pools, model, where)
        return
    of = f"{where}.features.of = {features.of!r}"
    if model.reads_text:
        yield f"{of}: has numbers, and {where}.model reads text. Use another network."
    yield from check_values(tables, features.label_set, pools, of)


def check_values(tables: JobTables, name: str, pools: Sequence[str], where: str) -> Problems:
    """Yield why the values of `labels.<name>` cannot be seen of all of some pools; `where` is the
    key that names it, and its value."""
    labels = tables.labels[name]
    if isinstance(labels.encoding, TopK):
        yield (
            f"{where}: it keeps its top {labels.encoding.k} alone, where every number is needed."
            " Encode it dense."
        )
    lacking = [pool for pool in dict.fromkeys(pools) if pool not in labels.over]
    if lacking:
        yield f"{where}: it does not cover {lacking}. Add them to labels.{name}.over."


def check_custom_network(tables: JobTables, model: object, where: str) -> Problems:
    """Yield why a network of the user's own cannot be known; of other networks nothing."""
    if not isinstance(model, CustomModel):
        return
    try:
        source = tables.custom_source(model, where)
        revision_of(model, source, where)
    except JobError as error:
        yield str(error)


def check_pretrained(tables: JobTables, model: object, where: str) -> Problems:
    """Yield why the model that a network begins as cannot lie, or be made, where the job says;
    `where` is the network's key. Other networks have no problem."""
    if not isinstance(model, BegunNetwork) or model.model is None:
        return
    yield from check_model_uri(tables, model.model, f"{where}.model")
    if model.made_by is None:
        return
    yield from check_maker(tables, model.made_by, f"{where}.made_by")
    if is_hub(model.model):
        yield (
            f"{where}.made_by: {model.model} is the hub's, where nothing is made."
            " Leave it out, or keep the model elsewhere."
        )


def check_size(model: FitModel, where: str) -> Problems:
    """Yield where a network has more weights than any machine trains, whatever the rows."""
    size = model.size(1) if isinstance(model, Network) else None
    if size is None or size.weights <= _MOST_WEIGHTS:
        return
    table = model.model_dump(mode="json")
    widths = [f"{key} = {table[key]}" for key in _WIDTHS if key in table]
    yield (
        f"{where}: {', '.join(widths)} make {size.weights:,} weights at the least, where no worker"
        f" trains more than {_MOST_WEIGHTS:,} (1.6 TB of memory). Correct the widths."
    )


def check_networks(tables: JobTables, student: Student, where: str) -> Problems:
    """Yield where the trunk or the heads' own networks cannot see its pools, or not alike, where
    the user's own are missing, and where a width stands that may not; `where` is its key."""
    pools = list(student.pools)
    evaluate = tables.evaluate
    if evaluate and student.features is not None:
        pools.append(evaluate.on)
    yield from check_seen(tables, pools, student.model, student.features, where)
    yield from check_size(student.model, f"{where}.model")
    for key, begun in pretrained_networks(student).items():
        yield from check_pretrained(tables, begun, f"{where}.{key}")
    for key, own in custom_models(student.model, student.heads).items():
        yield from check_custom_network(tables, own, f"{where}.{key}")
    for name, head in student.heads.items():
        if head.model is not None:
            yield from check_size(head.model, f"{where}.heads.{name}.model")
            yield from _head_network(tables, student, name, head.model, where)
        if head.width is not None:
            yield from _head_width(tables, student, name, head.width, where)


def _head_network(
    tables: JobTables, student: Student, head: str, network: Network, where: str
) -> Problems:
    # a batch holds each row once, so all networks of a student take the same numbers of a text
    if _reading(network) != _reading(student.model):
        kind = f"{where}.{head_key(head)}.kind = {network.kind!r}"
        trunk_kind = student.model.kind
        yield (
            f"{kind}: does not see rows as the student's own network, {trunk_kind!r}, does."
            ' Text is read by "ngram_bag" or a custom network with `text`, with the same buckets,'
            ' ngrams, most and words in all heads; or by "encoder" or "static", with the same model,'
            " max_tokens and long_texts."
        )
        return
    if student.features is None:
        yield from check_readable(tables, student.pools, network, f"{where}.heads.{head}")


def _reading(model: Network) -> tuple[object, ...] | None:
    """What decides which numbers a text becomes; a network may be its own `Ngrams` and more."""
    if isinstance(model, PretrainedNetwork):
        # only an encoder has long texts to be cut in a way of its own
        return (model.kind, model.model, model.max_tokens, getattr(model, "long_texts", None))
    ngrams = model.text_hashing
    if ngrams is None:
        return None
    return (ngrams.buckets, ngrams.ngrams, ngrams.most, ngrams.words)


def _head_width(tables: JobTables, student: Student, head: str, width: int, where: str) -> Problems:
    outputs = tables.head_outputs(student, head)
    if outputs.kind != "value":
        yield (
            f"{where}.heads.{head}.width = {width}: its terms teach {outputs.in_words},"
            " which are aligned by name. Leave it out."
        )
