"""What a network says of the pools that it sees, and of the other networks of its student."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from distill.core.errors import JobError
from distill.models.custom_source import custom_models, head_key, revision_of
from distill.models.networks.custom import CustomModel
from distill.plan.tables import JobTables
from distill.spec.networks import FitModel, Network
from distill.spec.students import Student

Problems = Iterator[str]


def check_learnable(
    tables: JobTables, pools: Sequence[str], model: FitModel, where: str
) -> Problems:
    """Whether a model can see these pools; `where` is the table that has it."""
    for pool in dict.fromkeys(pools):
        for problem in model.misread(tables.pools[pool].features, pool):
            yield f"{where}.model.{problem}"


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
    ngrams = model.text_hashing
    return (ngrams.buckets, ngrams.ngrams, ngrams.most) if ngrams else None
