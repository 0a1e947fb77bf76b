"""Selections, resolved: which rows are chosen, of which pool, seen through what.

What was chosen stays. A selection that is done is held against what the job says of it, and its
addresses against the shards that there are; that its pool grew since, or its structure was fitted
anew, changes nothing: the rows may be labelled already, which was paid for. A choice that is not
done is made from what there is now.
"""

from __future__ import annotations

from collections.abc import Iterator

from distill.core.errors import ContractError, PoolError
from distill.core.schema import digest
from distill.loader.dataset import Dataset
from distill.plan.label_values import label_values
from distill.plan.labelers import prepare_labels
from distill.plan.selection_steps import MeasureStep, SelectInputs, SelectStep
from distill.plan.structure_identity import find_structure, structure_recipe
from distill.plan.tables import JobTables
from distill.plan.workspace import Workspace
from distill.pools.chosen import chosen_addresses, selection_folder
from distill.pools.formats.selection import SELECTED_SHARD
from distill.pools.open_pool import OpenPool
from distill.spec.selections import SELECT

CLUSTERS = ("cluster", "unit")  # what structures give that is a cluster's number


def select_step(workspace: Workspace, name: str) -> SelectStep:
    """Return the choice of `select.<name>`, or what was chosen. Raises ContractError where the job
    asks for another one, or where what it is chosen by is missing; PoolError where rows that were
    chosen are no longer there."""
    tables = workspace.tables
    pool = workspace.pool(tables.select[name].pool)
    folder = selection_folder(workspace.root, name)
    rounds = tuple(workspace.rounds(name))
    inputs = None
    if rounds:
        _require_same(workspace, name)
        require_live(workspace, name)
    if round_due(workspace, name):
        inputs = _inputs(workspace, name, pool)
    return SelectStep(name, folder.uri, pool.inventory.rows, rounds, inputs)


def round_due(workspace: Workspace, name: str) -> bool:
    """Whether a round is to be chosen: the first, or one more where all before it are measured and
    promise enough."""
    tables = workspace.tables
    table = tables.select[name]
    rounds = workspace.rounds(name)
    done = len(rounds)
    if done in (0, table.rounds):
        return done == 0
    measures = workspace.measures(name)
    is_measured = len(measures) == done < table.rounds
    return is_measured and not measures[-1].promises_less(table.stop_below)


def measure_steps(workspace: Workspace) -> list[MeasureStep]:
    """Return the rounds that students have learned from and that are not measured yet."""
    found = []
    for name, table in workspace.tables.select.items():
        rounds = workspace.rounds(name)
        if table.rounds == 1 or len(workspace.measures(name)) == len(rounds):
            continue
        step = MeasureStep(
            name=name,
            folder=selection_folder(workspace.root, name).uri,
            number=len(rounds) - 1,
            rounds=table.rounds,
            rows=sum(each.rows for each in rounds),
            next_rows=table.later_rows,
            students=tuple(learners(workspace.tables, name)),
            stop_below=table.stop_below,
            seed=rounds[0].seed,
        )
        found.append(step)
    return found


def learners(tables: JobTables, name: str) -> Iterator[str]:
    """Yield the names of the students that learn from a selection, every variant."""
    for variant in tables.job.variants:
        if f"{SELECT}{name}" in variant.spec.taught_on:
            yield variant.name


def require_live(workspace: Workspace, name: str) -> None:
    """Refuse a selection with rows of files that changed or vanished since. Raises PoolError."""
    pool = workspace.pool(workspace.tables.select[name].pool)
    files = [key for each in workspace.rounds(name) for key in each.files]
    content = pool.inventory.content
    inputs = ["live addresses", files, content]
    workspace.remember("checks", inputs, lambda: _look(workspace, name, pool))


def _look(workspace: Workspace, name: str, pool: OpenPool) -> None:
    folder = selection_folder(workspace.root, name)
    rounds = workspace.rounds(name)
    addresses = chosen_addresses(folder, rounds)
    used = addresses.group_by([SELECTED_SHARD, "shard_id"], use_threads=False).aggregate([])
    known = pool.inventory.known
    gone = []
    for row in used.to_pylist():
        _, shard_id = known.get(row[SELECTED_SHARD], (-1, ""))
        if shard_id != row["shard_id"].hex():
            shard = row[SELECTED_SHARD]
            gone.append(shard)
    if gone:
        first = gone[:3]
        named = ", ".join(first)
        more = "…" if len(gone) > 3 else ""
        raise PoolError(
            f"select.{name}: rows of {len(gone)} files of pools.{pool.name} were chosen that"
            f" changed or vanished since ({named}{more}). Restore the files, or choose under"
            " another name."
        )


def asked_for(workspace: Workspace, name: str) -> str:
    """Return the digest of what the job says of a selection: its table, the pool as it was first
    listed, and what it comes after."""
    tables = workspace.tables
    table = tables.select[name]
    pool = workspace.pool(table.pool)
    # without defaults, so that a key that came later changes no digest of before
    later = {"rounds", "per_round", "stop_below"}  # say nothing of rounds that are done
    plain = table.model_dump(mode="json", exclude_defaults=True, exclude=later)
    pinned = pool.inventory.digest
    return digest([plain, pinned])


def _require_same(workspace: Workspace, name: str) -> None:
    asked = asked_for(workspace, name)
    rounds = workspace.rounds(name)
    stored = rounds[0]
    if stored.asked == asked:
        return
    raise ContractError(
        f"select.{name}: what is stored under {workspace.tables.root_uri} was chosen otherwise"
        f" ({stored.rows:,} rows by {dict(stored.method)}, seed {stored.seed}), or of another pool,"
        " and its rows may be labelled. Undo the change, or give the new choice a name of its own."
    )


def _inputs(workspace: Workspace, name: str, pool: OpenPool) -> SelectInputs:
    tables = workspace.tables
    table = tables.select[name]
    assert table.seed is not None  # filled in as the job was read
    pins = {f"pools.{pool.name}": pool.inventory.content}
    structure = None
    has_clusters = False
    # rows alone are counted, unless those that were drawn are to be looked at
    is_read = table.by.is_blind and table.structure is None
    width = pool.width if is_read else 1
    dataset = Dataset((pool.inventory,), pool.seen_features if is_read else pool.features, width)
    if table.structure is not None:
        model = tables.structure[table.structure].model
        clusters = [each for each in model.gives if each in CLUSTERS]
        has_clusters = bool(clusters)
        gives = clusters[0] if clusters else model.features
        structure = structure_recipe(workspace, table.structure, gives)
        _, record = find_structure(workspace, table.structure)
        pins[f"structure.{table.structure}"] = record.sha256
        dataset = _seen(workspace, table.structure, pool)
    labels = None
    if table.by.by_labels is not None:
        _, contract = prepare_labels(workspace, table.by.by_labels)
        labels = workspace.whole_labels(table.by.by_labels, pool, contract)
        pins[f"labels.{table.by.by_labels} over {pool.name}"] = labels.label_hash
    former = tables.former_selections(name)
    for each in former:
        _require_former(workspace, name, each)
    rounds = workspace.rounds(name)
    return SelectInputs(
        by=table.by,
        number=len(rounds),
        rows=table.later_rows if rounds else table.rows,
        seed=table.seed,
        without_duplicates=table.without_duplicates,
        pool=pool,
        dataset=dataset,
        structure=structure,
        has_clusters=has_clusters,
        labels=labels,
        former=tuple(selection_folder(workspace.root, each).uri for each in [name, *former]),
        most_rows=tables.fragment_rows,
        asked=asked_for(workspace, name),
        pins=pins,
    )


def _seen(workspace: Workspace, structure: str, pool: OpenPool) -> Dataset:
    """The rows of a pool as the lowest structure of a chain sees them."""
    tables = workspace.tables
    source = tables.structure_source(structure)
    if source.label_set is None:
        return Dataset((pool.inventory,), pool.seen_features, pool.width)
    values = label_values(workspace, source.label_set, (pool.name,))
    return Dataset((pool.inventory,), values, values.width)


def _require_former(workspace: Workspace, name: str, former: str) -> None:
    """Refuse to come after rows unchosen or changed. Raises ContractError, PoolError."""
    if not workspace.rounds(former):
        tables = workspace.tables
        raise ContractError(
            f"select.{name} comes after select.{former}, which is not chosen yet under"
            f" {tables.root_uri}. Run `distill select {tables.path} {former}`."
        )
    require_live(workspace, former)
