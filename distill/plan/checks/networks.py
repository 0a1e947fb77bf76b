"""What a network says of the pools that it sees, and of the other networks of its student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distill.core.errors import JobError
from distill.models.custom_source import custom_models, head_key, revision_of
from distill.plan.tables import JobTables
from distill.spec.models import Cnn, CustomModel, Network, NgramBag, ngrams_of
from distill.spec.pools import ImageFeatures, TextFeatures
from distill.spec.students import Student

Problems = Iterator[str]


def check_learnable(tables: JobTables, pools: Sequence[str], model: object, where: str) -> Problems:
    """Whether a model can see these pools; `where` is the table that has it."""
    for pool in dict.fromkeys(pools):
        features = tables.pools[pool].features
        if isinstance(features, TextFeatures) and ngrams_of(model) is None:
            yield _reads_no_text(model, pool, where)
        elif ngrams_of(model) is not None and not isinstance(features, TextFeatures):
            key = 'kind = "ngram_bag"' if isinstance(model, NgramBag) else "text"
            yield (
                f"{where}.model.{key}: reads text, but pools.{pool} has features of numbers. Use"
                " another network."
            )
        folded = (
            (features.shape[2], *features.shape[:2])
            if isinstance(features, ImageFeatures)
            else None
        )
        if folded and isinstance(model, Cnn) and model.shape != folded:
            said = (
                f"images of pools.{pool} are {folded[1]} high, {folded[2]} wide, with {folded[0]}"
                " channels"
            )
            yield f"{where}.model.shape = {list(model.shape)}: {said}. Write {list(folded)}."


def _reads_no_text(model: object, pool: str, where: str) -> str:
    kind = vars(model)["kind"]
    said = (
        f'{where}.model.kind = {kind!r}: pools.{pool} has features of text, which only "ngram_bag"'
        " reads"
    )
    return f"{said}, or a custom one with `text`. " + (
        "Add it." if isinstance(model, CustomModel) else "Use that."
    )


def check_own(tables: JobTables, model: object, where: str) -> Problems:
    """Whether a network of the user's own is there and says its revision; `where` is its key."""
    if isinstance(model, CustomModel):
        try:
            revision_of(model, tables.custom_source(model, where), where)
        except JobError as error:
            yield str(error)


def check_networks(tables: JobTables, student: Student, where: str) -> Problems:
    """Whether the trunk and the heads' own networks can see its pools, and alike, whether the
    user's own are there, and whether widths stand where they may."""
    yield from check_learnable(tables, student.pools, student.model, where)
    for key, own in custom_models(student.model, student.heads).items():
        yield from check_own(tables, own, f"{where}.{key}")
    for name, head in student.heads.items():
        if head.model is not None and _places(head.model) != _places(student.model):
            yield (
                f"{where}.{head_key(name)}.kind = {head.model.kind!r}: does not see rows as the"
                f" student's own network, {student.model.kind!r}, does. "
                f'Text is read by "ngram_bag" or a custom network with `text` alone, with the same'
                f" buckets, ngrams and most in all heads."
            )
        elif head.model is not None:
            yield from check_learnable(tables, student.pools, head.model, f"{where}.heads.{name}")
        outputs = tables.head_outputs(student, name)
        if head.width is not None and outputs.kind != "value":
            yield (
                f"{where}.heads.{name}.width = {head.width}: its terms teach {outputs.said}, which"
                " are aligned by name. Leave it out."
            )


def _places(model: Network) -> tuple[int, int, int] | None:
    ngrams = ngrams_of(model)
    return (ngrams.buckets, ngrams.ngrams, ngrams.most) if ngrams else None
