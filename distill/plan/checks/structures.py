"""What `[structure.NAME]` says of the rows that it sees, and what labelers of kind `structure` say
of it."""

from __future__ import annotations

from distill.core.errors import PoolError
from distill.plan.checks.networks import check_values
from distill.plan.checks.problems import Problems
from distill.plan.structure_identity import structure_pools
from distill.plan.tables import JobTables
from distill.plan.widths import structure_width
from distill.plan.workspace import Workspace
from distill.spec.labels import Ensemble, Structured, Value
from distill.spec.pools import TextFeatures
from distill.spec.structures import Structure

_NUMBERS = ("cluster", "unit")
"""What is told by its number."""


def check_structures(tables: JobTables) -> Problems:
    """Yield all problems of structures, whose names exist."""
    for name, table in tables.structure.items():
        yield from _source(tables, table, f"structure.{name}.of = {table.of!r}")


def _source(tables: JobTables, table: Structure, of: str) -> Problems:
    """Whether what it sees are numbers of rows that it may see."""
    if table.pool is not None and isinstance(tables.pools[table.pool].features, TextFeatures):
        yield (
            f"{of}: texts have no distances. Write an embedding of them as a label set"
            " (labeler = { kind = \"embedding\", … }) and say of = 'labels.NAME'."
        )
    if table.label_set is None:
        return
    yield from check_values(tables, table.label_set, (), of)
    labels = tables.labels[table.label_set]
    judged_on = tables.evaluate.on if tables.evaluate else None
    if set(labels.over) == {judged_on}:
        yield (
            f"{of}: it covers pools.{judged_on} alone, which students are judged on."
            " Let it label another pool too."
        )


def check_structure_labels(tables: JobTables, name: str) -> Problems:
    """Yield all problems of `labels.<name>` where its labeler tells of a structure."""
    labels = tables.labels[name]
    for where, labeler in labels.members(name):
        if not isinstance(labeler, Structured):
            continue
        if isinstance(labels.labeler, Ensemble):
            yield (
                f"{where}.kind = 'structure': what a structure finds has no names that others"
                " share, so there is no mean of them. Write it as a label set of its own."
            )
        if labels.calibrate_on is not None:
            yield (
                f"labels.{name}.calibrate_on = {labels.calibrate_on!r}: what a structure finds has"
                " no truth to calibrate by. Leave it out."
            )
        if labeler.answers is not None:
            yield (
                f"{where}.answers = {labeler.answers!r}: what a structure gives is known by"
                " `gives`. Leave it out."
            )
        yield from _numbers(tables, name, labeler)


def _numbers(tables: JobTables, name: str, labeler: Structured) -> Problems:
    """Whether the number of a cluster or a unit is stored as it is."""
    encoding = tables.labels[name].encoding
    is_half = isinstance(encoding, Value) and encoding.dtype == "float16"
    if is_half and labeler.gives in _NUMBERS:
        yield (
            f"labels.{name}.encoding.dtype = 'float16': not every number of a {labeler.gives} above"
            " 2,048 is one of float16. Leave it out."
        )


def check_structures_fit(workspace: Workspace) -> None:
    """Refuse structures that rows of such a width, or so few of them, cannot have. Raises
    PoolError."""
    tables = workspace.tables
    problems = []
    for name, table in tables.structure.items():
        pools = structure_pools(workspace, name)
        rows = sum(map(workspace.pool_rows, pools))
        width = structure_width(workspace, name)
        model = f"{tables.path}: structure.{name}.model"
        problems += [f"{model}.{problem}" for problem in table.model.misfits(width, rows)]
    if problems:
        raise PoolError("\n".join(problems))
