"""What the labelers of a label set say of their models and files, and of the pools that they read."""

from __future__ import annotations

from collections.abc import Sequence

from distill.labelers.kind import LabelerKind, ModelLabelerKind
from distill.plan.checks.custom_labelers import check_custom_labeler
from distill.plan.checks.files import check_file, check_maker, check_model_uri
from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.labels import Custom
from distill.spec.pools import Features, ImageFeatures, TextFeatures
from distill.spec.uris import is_hub


def check_labelers(tables: JobTables, name: str) -> Problems:
    """Yield all problems of the labelers of `labels.<name>`, one by one."""
    labels = tables.labels[name]
    for key, labeler in labels.members(name):
        has_classes = bool(tables.labeler_outputs(labeler, key).classes)
        if labeler.answers == "probabilities" and not has_classes:
            yield (
                f'{key}.answers = "probabilities": this labeler has values, and no classes to be'
                " likely. Leave it out."
            )
        if isinstance(labeler, ModelLabelerKind):
            yield from _model(tables, labeler, key)
        if isinstance(labeler, Custom):
            yield from check_custom_labeler(tables, labeler, key)
        if isinstance(labeler, LabelerKind):
            yield from _features(tables, labeler, labels.over, key)


def _model(tables: JobTables, labeler: ModelLabelerKind, where: str) -> Problems:
    yield from check_model_uri(tables, labeler.model, f"{where}.model")
    if labeler.made_by is not None:
        yield from check_maker(tables, labeler.made_by, f"{where}.made_by")
        yield from _made_by(labeler, where)
    file = labeler.code_file
    if file is not None:
        yield from check_file(tables, file, f"{where}.file = {file!r}")


def _made_by(labeler: ModelLabelerKind, where: str) -> Problems:
    if not labeler.fills_folder:
        yield (
            f"{where}.made_by: a maker fills a folder with a model of a library;"
            f" a labeler of kind {labeler.kind!r} is no such. Leave it out."
        )
    if is_hub(labeler.model):
        yield (
            f"{where}.made_by: {labeler.model} is the hub's, where nothing is made."
            " Leave it out, or keep the model elsewhere."
        )


def _features(tables: JobTables, labeler: LabelerKind, over: Sequence[str], where: str) -> Problems:
    """Whether the labeler can read the pools, where its kind alone says what it reads."""
    if labeler.reads is None:
        return
    for pool in over:
        spec = tables.pools[pool]
        features = spec.features
        if not _is_read(labeler, features):
            kind = features.kind if features else None
            yield (
                f"{where}.kind = {labeler.kind!r}: it reads {labeler.reads},"
                f" but pools.{pool} has features of kind {kind!r}. Use another one."
            )
        elif isinstance(labeler, ModelLabelerKind):
            uri = tables.model_uri(labeler.model)
            for problem in labeler.misread(features, uri):
                yield f"{where}.model: over pools.{pool}: {problem}"


def _is_read(labeler: LabelerKind, features: Features | None) -> bool:
    if labeler.reads == "images":
        return isinstance(features, ImageFeatures)
    return isinstance(features, TextFeatures) == (labeler.reads == "text")
