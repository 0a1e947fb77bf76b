"""What `[select.NAME]` says of its pool, of structures and label sets, and of other selections."""

from __future__ import annotations

from distill.core.errors import JobError, PoolError
from distill.plan.checks.networks import check_same_features
from distill.plan.checks.problems import Problems
from distill.plan.selections import CLUSTERS, learners, require_live
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.pools.formats.selection import ADDRESS_KEYS
from distill.spec.selections import SELECT, Novel, Select, Uncertain, selection_name


def check_selections(tables: JobTables) -> Problems:
    """Yield all problems of selections, whose names exist."""
    for name, table in tables.select.items():
        where = f"select.{name}"
        yield from _pool(tables, table, where)
        yield from _structure(tables, table, where)
        yield from _labels(tables, table, where)
        yield from _former(tables, name, where)
        yield from _rounds(tables, name, where)


def _pool(tables: JobTables, table: Select, where: str) -> Problems:
    if selection_name(table.pool) is not None:
        yield (
            f"{where}.of = {table.of!r}: a selection is chosen of a pool. Name that pool; to leave"
            f" out what was chosen before say after = {table.pool!r}."
        )
        return
    taken = set(ADDRESS_KEYS).intersection(tables.pools[table.pool].read_columns)
    if taken:
        yield (
            f"{where}.of = {table.of!r}: its columns {sorted(taken)} have the names that addresses"
            " have. Rename them."
        )


def _structure(tables: JobTables, table: Select, where: str) -> Problems:
    if table.without_duplicates is not None and table.structure is None:
        yield (
            f"{where}.duplicates_within: duplicates are looked for within clusters, and"
            f" {table.by.kind!r} has none. Name a k-means structure."
        )
    needs = not isinstance(table.by, Novel) or table.without_duplicates is not None
    keys = {
        "by.structure": (table.by.by_structure, needs),
        "duplicates_within": (table.duplicates_within, True),
    }
    for key, (structure, needs_clusters) in keys.items():
        if structure is None:
            continue
        yield from _clusters(tables, structure, f"{where}.{key}", needs=needs_clusters)
        yield from _covered(tables, table, structure, f"{where}.{key}")
    if table.duplicates_within and table.by.by_structure not in (None, table.duplicates_within):
        yield (
            f"{where}.duplicates_within = {table.duplicates_within!r}: rows are seen through"
            f" structure.{table.by.by_structure} already. Leave it out."
        )


def _clusters(tables: JobTables, structure: str, where: str, *, needs: bool) -> Problems:
    table = tables.structure[structure]
    model = table.model
    if needs and not set(model.gives).intersection(CLUSTERS):
        yield (
            f"{where} = {structure!r}: is a {model.kind}, which has no clusters. Name a k-means, or"
            " put one on top of it."
        )


def _covered(tables: JobTables, table: Select, structure: str, where: str) -> Problems:
    """Whether the structure can see the pool's rows."""
    source = tables.structure_source(structure)
    if source.pool is not None:
        yield from check_same_features(tables, [source.pool, table.pool], where)
        return
    covered = tables.labels[str(source.label_set)].over
    if table.pool not in covered:
        yield (
            f"{where} = {structure!r}: it sees values of {source.of}, which does not cover"
            f" pools.{table.pool}. Add {table.pool!r} to {source.of}.over."
        )


def _labels(tables: JobTables, table: Select, where: str) -> Problems:
    by = table.by
    if not isinstance(by, Uncertain):
        return
    label_set = by.labels
    labels = tables.labels[label_set]
    key = f"{where}.by.labels = {label_set!r}"
    if table.pool not in labels.over:
        yield (
            f"{key}: it covers {list(labels.over)}, and rows of pools.{table.pool} are to be"
            f" chosen. Add {table.pool!r} to labels.{label_set}.over."
        )
    try:
        outputs = tables.label_outputs(label_set)
    except JobError:
        return  # said of the label set
    if by.measure == "disagreement":
        if not labels.has_disagreement:
            yield f"{key}: one labeler alone does not disagree. Say measure = 'entropy'."
    elif outputs.kind == "value":
        yield f"{key}: says {outputs.in_words}, which is not sure or unsure. Name one of classes."
    encoding = labels.encoding
    temperatures = getattr(encoding, "temperatures", None)
    if temperatures is not None and by.temperature not in temperatures:
        yield (
            f"{where}.by.temperature = {by.temperature:g}: labels.{label_set} keeps its largest"
            f" logits at {list(temperatures)}. Use one of those."
        )


def _former(tables: JobTables, name: str, where: str) -> Problems:
    table = tables.select[name]
    try:
        former = tables.former_selections(name)
    except JobError as error:
        yield str(error)
        return
    for each in former:
        other = tables.select[each]
        if other.pool != table.pool:
            yield (
                f"{where}.after = {table.after!r}: select.{each} is of pools.{other.pool}, and this"
                f" of pools.{table.pool}. Rows of two pools have nothing in common: leave it out."
            )


def _rows(table: Select) -> str:
    """The keys that say how many rows are chosen."""
    if table.rounds == 1:
        return f"rows = {table.rows}"
    return f"rounds = {table.rounds} (of {table.rows} and then {table.later_rows} rows)"


def _rounds(tables: JobTables, name: str, where: str) -> Problems:
    """Whether rounds can be measured, and nothing else changes with them."""
    table = tables.select[name]
    if table.rounds == 1:
        return
    key = f"{where}.rounds = {table.rounds}"
    if tables.evaluate is None or not tables.pool_outputs(tables.evaluate.on).classes:
        yield f"{key}: a round is measured by accuracy. Add [evaluate] on a pool with classes."
    if not list(learners(tables, name)):
        yield f"{key}: no student learns from it, by which a round is measured. Teach one on it."
    pool = f"{SELECT}{name}"
    users = [f"fit.{fit}" for fit, spec in tables.fit.items() if spec.on == pool]
    users += [f"structure.{each}" for each in tables.structure if pool in _fitted_on(tables, each)]
    users += [f"{SELECT}{each}" for each, spec in tables.select.items() if spec.former == name]
    if users:
        yield (
            f"{key}: {users[0]} is made of its rows, and would be another after each round."
            " Make it of a selection of one round."
        )


def _fitted_on(tables: JobTables, structure: str) -> tuple[str, ...]:
    """The pools whose rows, or labels of rows, a structure is fitted on."""
    source = tables.structure_source(structure)
    label_set = source.label_set
    if label_set is not None:
        return tables.labels[label_set].over
    return (str(source.pool),)


def _rows_due(workspace: Workspace, name: str) -> int:
    """Rows of the rounds that are still to come."""
    tables = workspace.tables
    table = tables.select[name]
    rounds = workspace.rounds(name)
    if not rounds:
        return table.most_rows
    measures = workspace.measures(name)
    if measures and measures[-1].promises_less(table.stop_below):
        return 0
    return max(0, table.rounds - len(rounds)) * table.later_rows


def check_stored_selections(workspace: Workspace) -> None:
    """Refuse selections of more rows than there are, or than former ones leave, and those that have
    rows of files which changed since. Raises PoolError."""
    tables = workspace.tables
    problems = []
    for name, table in tables.select.items():
        rounds = workspace.rounds(name)
        if rounds:
            require_live(workspace, name)
        there = workspace.pool(table.pool).inventory.rows
        former = tables.former_selections(name)
        taken = sum(tables.select[each].most_rows for each in former)
        done = sum(each.rows for each in rounds)
        due = _rows_due(workspace, name)
        if due > there - taken - done:
            left = f", of which former selections take {taken:,}" if taken else ""
            own = f", {done:,} of them done" if done else ""
            problems.append(
                f"{tables.path}: select.{name}.{_rows(table)}{own}: pools.{table.pool} has"
                f" {there:,} rows{left}. Choose at most {max(0, there - taken):,}."
            )
    if problems:
        raise PoolError("\n".join(problems))
