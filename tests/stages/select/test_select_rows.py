"""Selections from the job's table to labels and students over them."""

from __future__ import annotations

import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distill.labels
from distill.core.errors import ContractError, JobError, PoolError
from distill.plan.load import load_job
from distill.pools.chosen import chosen_addresses, read_rounds, selection_folder
from distill.run import label_pools, run_job, select_pool_rows, status, verify_labels
from distill.storage.open import open_storage
from tests.command import distill as distill_command
from tests.engine.here import without_ray
from tests.stages.select.conftest import Selecting
from tests.tiny import tiny_job

METHODS = {
    "random": '{ kind = "random" }',
    "typical": '{ kind = "typical", structure = "groups" }',
    "cover": '{ kind = "cover", structure = "groups" }',
    "balanced": '{ kind = "balanced", structure = "groups" }',
    "novel": '{ kind = "novel", structure = "groups" }',
}


@pytest.fixture(autouse=True)
def _no_ray():
    with without_ray():
        yield


def select(job):
    return list(select_pool_rows(job, engine="local"))


def first(by: str, rows: int = 60, more: str = "") -> str:
    return f"""
    [select.first]
    of = "pools.rows"
    by = {by}
    rows = {rows}
    {more}
    """


def addresses(job, name: str = "first") -> pa.Table:
    folder = selection_folder(open_storage(job.root_uri), name)
    return chosen_addresses(folder, read_rounds(folder))


def pairs(table: pa.Table) -> list[tuple[str, int]]:
    columns = ("selected_shard", "selected_row")
    return list(zip(*(table[name].to_pylist() for name in columns), strict=True))


@pytest.mark.parametrize("method", METHODS)
def test_a_method_chooses_other_rows_twice_or_rows_that_are_not_there(selecting, method):
    job = selecting.job(first(METHODS[method]))
    lines = []
    run_job(job, lines.append, engine="local")
    assert f"select.first: 60 of 2,300 rows by {method}, chosen now" in lines
    chosen = addresses(job)
    assert len(set(pairs(chosen))) == 60
    assert pairs(chosen) == sorted(pairs(chosen))
    for shard, row in pairs(chosen):
        assert 0 <= row < pq.read_metadata(selecting.folder / "rows" / shard).num_rows
    assert all(chosen["reason"].to_pylist())
    elsewhere = load_job(job.path, root=str(selecting.folder / "other"))
    run_job(elsewhere, lines.append, engine="local")
    assert addresses(elsewhere).equals(chosen)
    (again,) = select(job)
    assert not again.now


def test_the_command_chooses_without_saying_what(selecting):
    job = selecting.job(first(METHODS["random"]))
    ended = distill_command("select", job.path, "first", "--local")
    assert ended.code == 0, ended.output
    assert "select.first: 60 of 2,300 rows by random, chosen now" in ended.output
    ended = distill_command("select", job.path, "nobody", "--local")
    assert ended.code == 2
    assert "there is no selection 'nobody'. There is: first." in ended.output.replace("\n", " ")


def test_a_teacher_computes_rows_that_were_not_chosen(tmp_path):
    selecting = Selecting(tmp_path, [20_000, 20_000, 20_000])
    job = selecting.job(first(METHODS["random"], rows=1_000))
    list(select_pool_rows(job, engine="local"))
    (labelled,) = label_pools(job, "teacher", engine="local")
    assert (labelled.rows, labelled.rejected) == (1_000, 0)
    # a hundredth of the rows is asked about twice, to notice a teacher that draws its answers
    assert selecting.counted == 1_000 + 10
    (proven,) = verify_labels(job, "teacher", canaries=2)
    assert (proven.rows, proven.labelled, proven.problems) == (1_000, 1_000, ())


def test_a_label_stands_beside_another_row_than_its_own(selecting):
    job = selecting.job(first(METHODS["typical"], rows=700), over='["test", "select.first"]')
    run_job(job, lambda _: None, engine="local")
    root = selecting.folder / "root"
    labels = distill.labels.open(root / "labels" / "teacher" / "v1" / "select.first")
    table = pa.concat_tables([each.combine_chunks() for each in labels.decoded()])
    assert pairs(table) == pairs(addresses(job))
    shards = {}
    for shard, row, logits in zip(
        table["selected_shard"].to_pylist(),
        table["selected_row"].to_pylist(),
        table["logits"].to_pylist(),
        strict=True,
    ):
        if shard not in shards:
            shards[shard] = pq.read_table(selecting.folder / "rows" / shard)["pixels"].to_pylist()
        assert logits == [2 * number for number in shards[shard][row][:3]]
    # rows of a pool that is no selection are their own addresses
    tested = distill.labels.open(root / "labels" / "teacher" / "v1" / "test")
    table = pa.concat_tables(list(tested))
    assert table["selected_row"].to_pylist() == table["row"].to_pylist()
    assert table["selected_shard"].to_pylist() == table["shard"].to_pylist()


STUDENT = """
    [students.small]
    model = {{ kind = "linear" }}
    on = {on}
    training = {{ epochs = 2, batch_rows = 64, workers = 1 }}
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = {{ kind = "kl", temperature = 1 }}
    [evaluate]
    on = "test"
"""


def test_a_later_round_loses_labels_or_buys_a_row_twice(selecting):
    job = selecting.job(first(METHODS["typical"]), more=STUDENT.format(on='["select.first"]'))
    run_job(job, lambda _: None, engine="local")
    before = addresses(job)
    asked = selecting.counted
    labels = selecting.folder / "root" / "labels" / "teacher" / "v1" / "select.first"
    hashes = distill.labels.open(labels)._labels.label_hash
    second = """
    [select.second]
    of = "pools.rows"
    by = { kind = "typical", structure = "groups" }
    rows = 40
    after = "select.first"
    """
    both = '["select.first", "select.second"]'
    job = selecting.job(first(METHODS["typical"]) + second, over=both, more=STUDENT.format(on=both))
    finished = run_job(job, lambda _: None, engine="local")
    assert addresses(job).equals(before)
    assert not set(pairs(before)) & set(pairs(addresses(job, "second")))
    assert distill.labels.open(labels)._labels.label_hash == hashes
    assert selecting.counted == asked + 40
    assert finished.evaluation.rows == 200
    left = [line.left for line in status(job)]
    assert left == [0] * len(left)
    for proven in verify_labels(job):
        assert proven.problems == ()


def test_fits_and_targets_go_without_selections(selecting):
    tables = (
        first(METHODS["balanced"], rows=300)
        + """
    [fit.small]
    model = { kind = "linear" }
    on = "select.first"
    training = { epochs = 2, workers = 1 }
    [labels.fitted]
    labeler = { kind = "fitted", fit = "small" }
    over = ["test"]
    """
    )
    lines = []
    run_job(selecting.job(tables), lines.append, engine="local")
    names = [line.partition(":")[0] for line in lines]
    assert names.index("select.first") < names.index("fit.small")


def test_unsure_rows_come_after_sure_ones(selecting):
    tables = """
    [labels.weak]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["rows"]
    [select.first]
    of = "pools.rows"
    by = { kind = "uncertain", labels = "weak" }
    rows = 50
    """
    job = selecting.job(tables)
    run_job(job, lambda _: None, engine="local")
    weak = distill.labels.open(selecting.folder / "root" / "labels" / "weak" / "v1" / "rows")
    table = pa.concat_tables([each.combine_chunks() for each in weak.decoded()])
    logits = np.array(table["logits"].to_pylist())
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1)
    surest = np.sort(entropy)[-50]
    rows = zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True)
    own = dict(zip(rows, entropy, strict=True))
    chosen = addresses(job)
    assert min(own[each] for each in pairs(chosen)) >= surest - 1e-9
    assert set(chosen["reason"].to_pylist()) == {"entropy"}


@pytest.mark.parametrize("method", METHODS)
def test_a_copy_is_bought_too(selecting, method):
    within = "" if "groups" in METHODS[method] else 'duplicates_within = "groups"'
    more = f"without_duplicates = 0.999999\n    {within}"
    job = selecting.job(first(METHODS[method], rows=400, more=more))
    lines = []
    run_job(job, lines.append, engine="local")
    (line,) = [line for line in lines if line.startswith("select.first")]
    assert "near-duplicates left out" in line
    bought = set()
    for shard, row in pairs(addresses(job)):
        pixels = pq.read_table(selecting.folder / "rows" / shard)["pixels"][row].as_py()
        assert tuple(pixels) not in bought
        bought.add(tuple(pixels))


def test_a_killed_choice_is_another_one_afterwards(selecting, monkeypatch):
    job = selecting.job(first(METHODS["typical"]))

    class Killed(BaseException):
        pass

    def die(name):
        if name == "select.after_file":
            raise Killed

    monkeypatch.setattr("distill.pools.chosen.reach", die)
    with pytest.raises(Killed):
        run_job(job, lambda _: None, engine="local")
    rows = selecting.folder / "root" / "selections" / "first" / "v1" / "rows"
    (file,) = rows.iterdir()
    stamp = file.stat().st_mtime_ns
    with pytest.raises(ContractError, match=r"select\.first is not chosen yet"):
        list(label_pools(job, "teacher", engine="local"))
    monkeypatch.undo()
    run_job(job, lambda _: None, engine="local")
    assert [each.name for each in rows.iterdir()] == [file.name]
    assert file.stat().st_mtime_ns == stamp
    elsewhere = load_job(job.path, root=str(selecting.folder / "other"))
    run_job(elsewhere, lambda _: None, engine="local")
    assert addresses(job).equals(addresses(elsewhere))


def test_files_of_a_choice_that_was_cut_off_are_rows(selecting):
    job = selecting.job(first(METHODS["random"]))
    select(job)
    rows = selecting.folder / "root" / "selections" / "first" / "v1" / "rows"
    (file,) = rows.iterdir()
    (rows / f"001-00000-{'0' * 12}.selection").write_bytes(file.read_bytes())
    (labelled,) = label_pools(job, "teacher", engine="local")
    assert labelled.rows == 60


def test_another_choice_takes_the_place_of_one_that_is_labelled(selecting):
    select(selecting.job(first(METHODS["random"])))
    for other in (
        first(METHODS["random"], rows=61),
        first(METHODS["random"], more="seed = 8"),
        first('{ kind = "balanced", structure = "groups" }'),
    ):
        job = selecting.job(other)
        with pytest.raises(ContractError, match=r"select\.first: what is stored .* otherwise"):
            select(job)


def test_a_pool_that_grew_is_chosen_from_anew(selecting):
    job = selecting.job(first(METHODS["random"]))
    select(job)
    before = addresses(job)
    shard = selecting.folder / "rows" / "part-00000.parquet"
    (selecting.folder / "rows" / "part-00009.parquet").write_bytes(shard.read_bytes())
    (again,) = select(job)
    assert not again.now
    assert addresses(job).equals(before)


def test_a_moved_root_looks_for_rows_where_they_lay(selecting):
    job = selecting.job(first(METHODS["typical"]), more=STUDENT.format(on='["select.first"]'))
    run_job(job, lambda _: None, engine="local")
    moved = selecting.folder / "moved"
    for name in ("rows", "test", "root"):
        shutil.move(selecting.folder / name, moved / name)
    for name in ("job.toml", "teacher.py"):
        shutil.copy(selecting.folder / name, moved / name)
    job = load_job(moved / "job.toml")
    (proven,) = verify_labels(job, canaries=1)
    assert proven.problems == ()
    again = tiny_job(moved, job.path.read_text("utf-8").replace("students.small", "students.other"))
    finished = run_job(again, lambda _: None, engine="local")
    assert finished.evaluation.rows == 200


def test_a_file_that_changed_gives_the_rows_that_were_chosen(selecting):
    job = selecting.job(first(METHODS["random"]))
    select(job)
    shard = selecting.folder / "rows" / "part-00001.parquet"
    table = pq.read_table(shard)
    pq.write_table(table.slice(1), shard)
    message = r"^[^\n]*pools\.rows: 1 files [^\n]* changed since they were listed[^\n]*$"
    with pytest.raises(PoolError, match=message):  # told once
        list(label_pools(job, "teacher", engine="local"))
    text = job.path.read_text("utf-8").replace(
        'path = "rows"', 'path = "rows"\non_change = "relabel"'
    )
    job.path.write_text(text, "utf-8")
    with pytest.raises(PoolError, match=r"select\.first: rows of 1 files of pools\.rows were"):
        list(label_pools(load_job(job.path), "teacher", engine="local"))


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (first(METHODS["random"], rows=2_301), "has 2,300 rows. Choose at most 2,300"),
        (
            first(METHODS["random"], rows=2_000)
            + """
    [select.second]
    of = "pools.rows"
    by = { kind = "random" }
    rows = 301
    after = "select.first"
    """,
            r"select\.second\.rows = 301: .* former selections take 2,000\. Choose at most 300",
        ),
    ],
)
def test_more_rows_are_chosen_than_are_left(selecting, tables, message):
    job = selecting.job(tables)
    with pytest.raises(PoolError, match=message):
        select(job)
    assert not (selecting.folder / "root" / "selections").exists()


def test_rows_that_cannot_be_used_are_missing_without_a_word(selecting):
    shard = selecting.folder / "rows" / "part-00001.parquet"
    table = pq.read_table(shard)
    nulls = pa.nulls(len(table), table["pixels"].type)
    pq.write_table(table.set_column(0, "pixels", nulls), shard)
    job = selecting.job(first(METHODS["balanced"], rows=2_100))
    message = (
        r"only 2,000 can be chosen\. Of 2,300 .* 2,000 are usable, .* near-duplicates\. Choose"
    )
    with pytest.raises(PoolError, match=message):
        run_job(job, lambda _: None, engine="local")


BAD = {
    'by = { kind = "typical", structure = "nobody" }': "there is no such structure",
    'by = { kind = "typical", structure = "map" }': "is a pca, which has no clusters",
    'by = { kind = "uncertain", labels = "nobody" }': "there is no such label set",
    'by = { kind = "uncertain", labels = "elsewhere" }': r"covers \['test'\]",
    'by = { kind = "uncertain", labels = "both", measure = "disagreement" }': "does not disagree",
    'by = { kind = "random" }\nafter = "select.nobody"': "there is no such selection",
    'by = { kind = "random" }\nafter = "select.bad"': "select.bad, which needs select.bad",
    'by = { kind = "random" }\nafter = "select.tested"': r"is of pools\.test, and this of pools",
    'by = { kind = "random" }\nwithout_duplicates = 0.9': "are looked for within clusters",
}


@pytest.mark.parametrize(("table", "message"), BAD.items())
def test_a_wrong_selection_is_found_out_late(selecting, table, message):
    tables = f"""
    [structure.map]
    of = "pools.rows"
    model = {{ kind = "pca", components = 2 }}
    [labels.elsewhere]
    labeler = {{ kind = "custom", file = "teacher.py" }}
    over = ["test"]
    [labels.both]
    labeler = {{ kind = "custom", file = "teacher.py" }}
    over = ["rows"]
    [select.tested]
    of = "pools.test"
    by = {{ kind = "random" }}
    rows = 10
    [select.bad]
    of = "pools.rows"
    rows = 10
    {table}
    """
    with pytest.raises(JobError, match=message):
        selecting.job(tables, over='["select.tested"]')


@pytest.mark.parametrize(("on", "calibrated"), [("select.first", "rows"), ("rows", "select.first")])
def test_a_fit_is_calibrated_on_rows_that_it_has_seen(selecting, on, calibrated):
    more = f"""
    [fit.small]
    model = {{ kind = "linear" }}
    on = "{on}"
    training = {{ epochs = 2, workers = 1 }}
    [labels.fitted]
    labeler = {{ kind = "fitted", fit = "small" }}
    over = ["test"]
    calibrate_on = "{calibrated}"
    """
    with pytest.raises(JobError, match="the labeler is fitted on those rows"):
        selecting.job(first(METHODS["random"]), more=more)


HELD_OUT = """
    [students.small]
    model = {{ kind = "linear" }}
    on = ["{on}"]
    training = {{ epochs = 2, workers = 1 }}
    early_stop = {{ learns = "pools.{held_out}", patience = 1 }}
    [[students.small.terms]]
    learns = "pools.{on}"
    loss = {{ kind = "cross_entropy" }}
"""


@pytest.mark.parametrize(
    ("on", "held_out"),
    [("select.first", "rows"), ("rows", "select.first"), ("select.first", "select.other")],
)
def test_rows_are_held_out_that_are_trained_on(selecting, on, held_out):
    other = first(METHODS["random"]).replace("select.first", "select.other")
    tables = first(METHODS["random"]) + other
    with pytest.raises(JobError, match=f"measures on pools.{held_out}, which may have rows"):
        selecting.job(tables, more=HELD_OUT.format(on=on, held_out=held_out))
    later = first(METHODS["random"]) + other + 'after = "select.first"'
    selecting.job(later, more=HELD_OUT.format(on="select.first", held_out="select.other"))
    selecting.job(later, more=HELD_OUT.format(on="select.other", held_out="select.first"))


@pytest.mark.parametrize("of", ["select.first", "pools.select.first"])
def test_a_selection_is_chosen_of_another_one(selecting, of):
    second = f"""
    [select.second]
    of = "{of}"
    by = {{ kind = "random" }}
    rows = 10
    """
    with pytest.raises(JobError, match=r"Name that pool; .* say after = 'select\.first'"):
        selecting.job(first(METHODS["random"]) + second)


def test_a_selection_of_the_test_pool_teaches(selecting):
    tables = """
    [select.first]
    of = "pools.test"
    by = { kind = "random" }
    rows = 10
    """
    with pytest.raises(JobError, match="which it is judged on"):
        selecting.job(tables, more=STUDENT.format(on='["select.first"]'))


def test_a_way_to_choose_from_outside_is_not_asked(selecting):
    (selecting.folder / "mine.py").write_text(
        """
from typing import Literal

import numpy as np

from distill.spec.selections import SelectBy


class Longest(SelectBy):
    kind: Literal["longest"]
    revision: Literal["1"] = "1"
    structure: str

    def choose(self, values, cluster, chosen, rows, seed):
        length = np.where(chosen, -1, np.linalg.norm(values.astype(float), axis=1))
        best = np.argsort(-length, kind="stable")[:rows]
        return best, length[best]
""",
        "utf-8",
    )
    text = selecting.job(first(METHODS["random"])).path.read_text("utf-8")
    text = text.replace('{ kind = "random" }', '{ kind = "longest", structure = "groups" }')
    job = tiny_job(selecting.folder, 'plugins = ["mine.py"]\n' + text)
    run_job(job, lambda _: None, engine="local")
    chosen = addresses(job)
    assert set(chosen["reason"].to_pylist()) == {"longest"}
    lengths = np.concatenate(
        [
            np.linalg.norm(np.array(pq.read_table(shard)["pixels"].to_pylist()), axis=1)
            for shard in sorted((selecting.folder / "rows").iterdir())
        ]
    )
    assert chosen["score"].to_numpy().min() == pytest.approx(np.sort(lengths)[-60], rel=1e-5)


def spoil(folder, rows):
    """Let those rows of the first shard of the pool be none that can be used."""
    file = folder / "rows" / "part-00000.parquet"
    table = pq.read_table(file)
    pixels = table["pixels"].to_pylist()
    for row in rows:
        pixels[row] = [float("nan")] * 4
    column = pa.array(pixels, pa.list_(pa.float32(), 4))
    pq.write_table(table.set_column(0, "pixels", column), file, row_group_size=256)


@pytest.mark.parametrize("spoilt", [range(0, 900, 3), range(890)])
@pytest.mark.parametrize("rows", [20, 600])
def test_rows_are_drawn_that_nobody_can_label(tmp_path, spoilt, rows):
    """Few of them, so that more have to be drawn, and so many that chunks are read whole."""
    selecting = Selecting(tmp_path, [900, 60, 140])
    undisturbed = selecting.job(first(METHODS["random"], rows=rows))
    if rows == 20:
        select(undisturbed)
        before = pairs(addresses(undisturbed))
        shutil.rmtree(tmp_path / "root")
    spoil(tmp_path, spoilt)
    job = selecting.job(first(METHODS["random"], rows=rows))
    if rows > 1_100 - len(spoilt):
        with pytest.raises(PoolError, match=r"only 210 can be chosen. Of 1,100 rows .* 210 are us"):
            select(job)
        return
    select(job)
    chosen = pairs(addresses(job))
    assert len(set(chosen)) == rows
    bad = {("part-00000.parquet", row) for row in spoilt}
    assert not bad & set(chosen)
    if rows == 20:
        assert set(before) - bad <= set(chosen)  # the others are those that were drawn before


@pytest.mark.parametrize(
    ("over", "more", "rows"),
    [
        (["select.first", "select.second"], "seed = 8", None),
        (["select.first", "select.second"], 'after = "select.first"', 0),
        (["rows", "select.first"], "", 60),
        (["test", "select.first"], "", 0),
    ],
)
def test_rows_are_labelled_twice_and_nobody_is_told(selecting, caplog, over, more, rows):
    second = first(METHODS["random"], rows=500).replace("select.first", "select.second") + more
    job = selecting.job(first(METHODS["random"]) + second, over=str(over).replace("'", '"'))
    list(select_pool_rows(job, engine="local"))
    list(label_pools(job, "teacher", engine="local"))
    told = [each.getMessage() for each in caplog.records if "labelled twice" in each.getMessage()]
    if rows is None:
        rows = len(set(pairs(addresses(job))) & set(pairs(addresses(job, "second"))))
        assert rows > 0
    if rows:
        assert [each.split(" rows")[0] for each in told] == [f"labels.teacher: {rows}"]
        assert f"{rows} rows are both in {over[0]} and in {over[1]}" in told[0]
    else:
        assert not told
    caplog.clear()
    list(label_pools(job, "teacher", engine="local"))
    assert "labelled twice" not in caplog.text  # it is done
