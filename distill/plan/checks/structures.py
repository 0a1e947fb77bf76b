"""What `[structure.NAME]` says of the rows that it sees, and what labelers of it say."""

from __future__ import annotations

from distill.core.errors import PoolError
from distill.plan.checks.networks import check_values
from distill.plan.checks.problems import Problems
from distill.plan.structure_identity import structure_pools
from distill.plan.tables import JobTables
from distill.plan.widths import pool_width, structure_width
from distill.plan.workspace import Workspace
from distill.spec.labels import Ensemble, Structured, Value
from distill.spec.pools import TextFeatures
from distill.spec.structures import Structure

NUMBERS = ("cluster", "unit")  # what is told by its number


def check_structures(tables: JobTables) -> Problems:
    """Yield all problems of structures, whose names exist."""
    for name, table in tables.structure.items():
        yield from _source(tables, table, f"structure.{name}.of = {table.of!r}")
        yield from _watched(tables, name)
        yield from _computed(table, f"structure.{name}.compute.gpus")


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
    if labels.encryption is not None:
        yield (
            f"{of}: those labels are encrypted, and what is found in them (centroids, components)"
            " would be plain. Find it in a pool's features, or in labels that are not encrypted."
        )
    judged_on = tables.evaluate.on if tables.evaluate else None
    if set(labels.over) == {judged_on}:
        yield (
            f"{of}: it covers pools.{judged_on} alone, which students are judged on."
            " Let it label another pool too."
        )


def _computed(table: Structure, where: str) -> Problems:
    """Whether its passes can use the GPUs that it asks for."""
    gpus = table.compute.gpus
    if gpus in {"auto", 0} or table.model.on_gpu:
        return
    yield (
        f"{where} = {gpus:g}: passes of a {table.model.kind} compute on CPUs alone. Leave it out."
    )


def _watched(tables: JobTables, name: str) -> Problems:
    """Whether drift can be told of the pools that it watches."""
    table = tables.structure[name]
    if not table.watch:
        return
    where = f"structure.{name}.watch"
    if not table.model.has_groups:
        yield (
            f"{where}: drift is told cluster by cluster, and a {table.model.kind} has none. Watch a"
            " kmeans or som on top of it."
        )
    source = tables.structure_source(name)
    for pool in table.watch:
        if source.pool is not None:
            yield from _of_one_kind(tables, where, pool, source.pool)
        if source.label_set is not None and pool not in tables.labels[source.label_set].over:
            yield (
                f"{where}: {pool} is not labelled by labels.{source.label_set}, whose values the"
                " structure sees. Add it to `over` there."
            )


def _of_one_kind(tables: JobTables, where: str, watched: str, source: str) -> Problems:
    """Whether a watched pool's features are what the structure sees of its own pool."""
    pools = tables.pools
    theirs = pools[watched].features
    ours = pools[source].features
    if theirs and ours and theirs.kind != ours.kind:
        yield (
            f"{where}: {watched} has features of kind {theirs.kind!r}, and the structure sees"
            f" {ours.kind!r} of pools.{source}. Watch a pool of the same."
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
    labels = tables.labels[name]
    encoding = labels.encoding
    is_half = isinstance(encoding, Value) and encoding.dtype == "float16"
    if is_half and labeler.gives in NUMBERS:
        yield (
            f"labels.{name}.encoding.dtype = 'float16': not every number of a {labeler.gives} above"
            " 2,048 is one of float16. Leave it out."
        )


def check_structures_fit(workspace: Workspace) -> None:
    """Refuse structures that rows of such a width, or so few, cannot have. Raises PoolError."""
    tables = workspace.tables
    problems = []
    for name, table in tables.structure.items():
        pools = structure_pools(workspace, name)
        rows = sum(map(workspace.pool_rows, pools))
        width = structure_width(workspace, name)
        model = f"{tables.path}: structure.{name}.model"
        problems += [f"{model}.{problem}" for problem in table.model.misfits(width, rows)]
        problems += _other_widths(workspace, name)
    if problems:
        raise PoolError("\n".join(problems))


def _other_widths(workspace: Workspace, name: str) -> Problems:
    """Yield which watched pools have other rows than the structure sees."""
    tables = workspace.tables
    source = tables.structure_source(name).pool
    if source is None:
        return
    due = pool_width(workspace, source)
    for pool in tables.structure[name].watch:
        width = pool_width(workspace, pool)
        if width != due:
            yield (
                f"{tables.path}: structure.{name}.watch: a row of {pool} has {width} numbers, and"
                f" one of {source}, which the structure sees, {due}. Watch a pool of the same."
            )
