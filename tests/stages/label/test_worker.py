from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.engine.journal import journaling
from distill.engine.protocol import StreamHere
from distill.labels.commit import read_labels, read_rejects
from distill.labels.encoding import decode
from distill.pools.formats.reader import RowReader
from distill.stages.label import worker as worker_module
from distill.stages.label.messages import FragmentResult
from distill.stages.label.priority_lock import PriorityLock
from distill.stages.label.row_reader import read_chunks
from distill.stages.label.worker import LabelWorker
from distill.storage.open import open_storage
from tests.stages.label.conftest import BAD, TWICE, features
from tests.stages.label.test_deadly_rows import Notes
from tests.waiting import LIMIT_SECONDS


def run(tried, task):
    return FragmentResult.from_plain(LabelWorker(tried.assignment, "cpu")(task.to_plain()))


def answering(expression):
    """A labeler whose answer is an expression of `features` and `np`."""
    return f"import numpy as np\n{TWICE.replace('2 * features[:, :3]', expression)}"


def stored(tried, commit, temperature=None):
    folder = open_storage(tried.folder)
    return decode(
        read_labels(folder, commit.data, commit.xxh3, tried.assignment.contract),
        tried.assignment.contract,
        temperature,
    )


def test_labels_differ_from_a_plain_loop_over_rows(tried):
    tried = tried()
    for task in tried.tasks:
        outcome = run(tried, task)
        assert outcome.failure is None
        read, x = stored(tried, outcome.commit), features(tried, task)
        bad = [
            row - task.intent.start
            for row in BAD
            if task.key == "part-00000.parquet" and row in covered(task)
        ]
        assert np.flatnonzero(~read.labelled).tolist() == bad
        for row in np.flatnonzero(read.labelled):
            np.testing.assert_array_equal(read.outputs[row], 2 * x[row, :3])
        assert (outcome.pool, outcome.fragment, outcome.commit.rows) == (
            "rows",
            task.intent.fragment,
            task.intent.rows,
        )
        assert outcome.commit.label_set == tried.assignment.pools["rows"].label_set


def covered(task):
    return range(task.intent.start, task.intent.start + task.intent.rows)


def test_topk_labels_differ_from_a_plain_loop(tried):
    tried = tried(
        encoding='encoding = { kind = "topk", k = 2, temperatures = [4], values = "float16" }'
    )
    task = tried.tasks[2]
    read, x = stored(tried, run(tried, task).commit, 4.0), features(tried, task)
    z = 2 * x[:, :3].astype(np.float64) / 4
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(read.log_probs, -np.sort(-log_p, axis=1)[:, :2], atol=2e-3)


def test_a_bad_row_moves_its_neighbours_or_loses_its_reason(tried):
    tried = tried()
    folder = open_storage(tried.folder)
    told = []
    for task in tried.tasks:
        commit = run(tried, task).commit
        told += read_rejects(folder, commit.rejects).to_pylist() if commit.rejects else []
    assert [(each["shard"], each["row"], each["reason"]) for each in told] == [
        ("part-00000.parquet", 4, "null"),
        ("part-00000.parquet", 70, "not_finite"),
        ("part-00000.parquet", 80, "not_finite"),
    ]


@pytest.mark.parametrize("said", ["np.nan", "np.inf", "-np.inf", "1e300"])
def test_an_answer_that_is_no_number_is_stored(tried, said):
    # in float64, as a labeler may answer; the row is known by its features, whatever batch it is in
    tried = tried(
        answering(f"np.where(features[:, 3:] > 0.5, {said}, features[:, :3].astype(float))")
    )
    task = tried.tasks[0]
    commit, x = run(tried, task).commit, features(tried, task)
    wrong = np.flatnonzero(x[:, 3] > 0.5)
    told = read_rejects(open_storage(tried.folder), commit.rejects).to_pylist()
    assert {each["row"] for each in told if each["reason"] == "output"} == set(wrong.tolist()) - {4}
    read = stored(tried, commit)
    assert not read.labelled[wrong].any()
    assert np.isfinite(read.outputs).all()
    good = np.setdiff1d(np.arange(64), [*wrong, 4])
    np.testing.assert_array_equal(read.outputs[good], x[good, :3])


RAISES = """
class Mine:
    revision = "1"
    classes = ("a", "b", "c")

    def label(self, features):
        return [self.one(row) for row in features]

    def one(self, row):
        if row[0] > 0.4:
            raise ValueError(f"too bright: {row[0]:.2f}")  # the user's own line
        return row[:3]
"""


def test_a_labeler_that_raises_does_not_say_on_which_row_or_line(tried, pool):
    tried = tried(RAISES)
    for task in tried.tasks[:2]:
        failure = run(tried, task).failure
        row = int(np.flatnonzero(features(tried, task)[:, 0] > 0.4)[0])
        assert failure.where == f"part-00000.parquet, row {task.intent.start + row}"
        line = (
            RAISES.splitlines().index(next(each for each in RAISES.splitlines() if "raise" in each))
            + 1
        )
        assert f'File "{pool / "mine.py"}", line {line}, in one' in failure.trace
        assert "# the user's own line" in failure.trace
        assert "ValueError: too bright" in failure.trace
        assert "distill/stages/label/worker.py" not in failure.trace
        assert failure.signature == f"ValueError at {pool / 'mine.py'}:{line}"
    assert open_storage(tried.folder).folder("commits").list_objects() == []


@pytest.mark.parametrize(
    ("expression", "shape"),
    [
        ("features", (10, 4)),
        ("features[:, 0]", (10,)),
        ("features[:, :3].T", (3, 10)),
        ("features[:, :3].ravel()", (30,)),
        ("features[1:, :3]", (9, 3)),
        ("features[:, :3, None]", (10, 3, 1)),
        ("np.float32(1)", ()),
    ],
)
def test_an_answer_of_another_shape_is_taken_for_labels(tried, expression, shape):
    tried = tried(answering(expression))
    failure = run(tried, tried.tasks[0]).failure
    assert f"label() answered with shape {shape} for 10 rows, where (10, 3) is due" in failure.trace
    assert "width" not in failure.trace.splitlines()[-1]  # of classes


def test_one_number_a_row_is_refused(tried):
    tried = tried(
        'class Mine:\n    revision = "1"\n    kind = "value"\n    def label(self, x):\n        return x.sum(axis=1)\n'
    )
    task = tried.tasks[2]
    np.testing.assert_array_equal(
        stored(tried, run(tried, task).commit).outputs[:, 0], features(tried, task).sum(axis=1)
    )


def test_who_answers_undeclared_numbers_is_not_told_where_to_declare_them(tried):
    tried = tried(
        'class Mine:\n    revision = "1"\n    kind = "value"\n    def label(self, x):\n        return x[:, :2]\n'
    )
    failure = run(tried, tried.tasks[0]).failure
    assert "where (10, 1) is due. Declare `width = 2` in the class." in failure.trace


def test_the_same_fragment_gives_other_bytes_at_the_second_time(tried):
    tried = tried(answering("features[:, :3] - features.mean()"))  # depends on the batch
    first = [run(tried, task).commit for task in tried.tasks]
    folder = Path(tried.folder)
    before = {commit.fragment: (folder / commit.data).read_bytes() for commit in first}
    shutil.rmtree(folder / "commits")
    worker = LabelWorker(tried.assignment, "cpu")
    with ThreadPoolExecutor(2) as threads:  # two fragments at once, the other way round
        again = list(threads.map(worker, [task.to_plain() for task in reversed(tried.tasks)]))
    for commit in (FragmentResult.from_plain(plain).commit for plain in again):
        mine = next(each for each in first if each.fragment == commit.fragment)
        assert commit.attempt != mine.attempt
        assert commit.columns_sha256 == mine.columns_sha256
        assert (folder / commit.data).read_bytes() == before[commit.fragment]


def test_batches_are_cut_elsewhere_than_from_the_fragments_start(tried):
    tried = tried(answering("np.full((len(features), 3), len(features))"))
    sizes = stored(tried, run(tried, tried.tasks[0]).commit).outputs[:, 0]
    due = [10] * 60 + [4] * 4
    due[4] = 0  # rejected
    assert sizes.tolist() == due


def test_a_shard_that_vanished_kills_the_worker(tried, pool):
    tried = tried()
    (pool / "rows" / "part-00001.parquet").unlink()
    failure = run(tried, tried.tasks[2]).failure
    assert failure.where == "part-00001.parquet"
    assert "PoolError" in failure.trace
    assert "is not there" in failure.trace


def test_a_file_on_which_processes_die_is_not_named(tried):
    tried = tried()
    task = tried.tasks[0]
    name = f"{task.pool}/{task.intent.fragment}"
    journal = Notes({name: {"at": "elsewhere", "deaths": {"elsewhere": 2}}})
    with journaling(journal):
        failure = run(tried, task).failure
    assert failure.where == task.key
    assert "died 3 times while rows were read" in failure.trace
    assert not journal


def test_rows_of_a_file_that_was_replaced_since_it_was_listed_are_labelled(tried, pool):
    tried = tried()
    file = pool / "rows" / "part-00001.parquet"
    file.write_bytes(file.read_bytes())
    failure = run(tried, tried.tasks[2]).failure
    assert failure.where == "part-00001.parquet"
    assert "part-00001.parquet changed since it was listed" in failure.trace
    assert 'on_change = "relabel"' in failure.trace
    assert open_storage(tried.folder).folder("commits").list_objects() == []


def test_chunks_differ_from_the_fragment_decoded_at_once(tried, monkeypatch):
    tried = tried(answering("features[:, :3] - features.mean()"))  # depends on the batch
    task = tried.tasks[0]
    whole = run(tried, task).commit
    monkeypatch.setattr("distill.stages.label.row_reader._CHUNK_BYTES", 1)  # a batch a chunk
    request = LabelWorker(tried.assignment, "cpu")._request(task)
    chunks = list(read_chunks(request))
    assert [len(chunk.rows.values) for chunk in chunks] == [10] * 6 + [4]
    shutil.rmtree(Path(tried.folder) / "commits")
    again = run(tried, task).commit
    assert (again.columns_sha256, again.rejected) == (whole.columns_sha256, whole.rejected)


@pytest.fixture
def together(monkeypatch):
    """All batches of a chunk but the first go together; what is encoded at once, in rows."""
    monkeypatch.setattr("distill.stages.label.inference._RUN_SECONDS", 1e6)
    encoded, real = [], worker_module.encode
    monkeypatch.setattr(
        worker_module,
        "encode",
        lambda outputs, *told: encoded.append(len(outputs)) or real(outputs, *told),
    )
    return encoded


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize(
    "encoding", ["", 'encoding = { kind = "topk", k = 2, temperatures = [4], values = "float16" }']
)
def test_batches_that_go_together_are_answered_otherwise(tried, request, encoding, threads):
    tried = tried(answering("features[:, :3] - features.mean()"), encoding)  # depends on the batch
    alone = [run(tried, task).commit for task in tried.tasks]
    shutil.rmtree(Path(tried.folder) / "commits")
    encoded = request.getfixturevalue("together")
    worker = LabelWorker(tried.assignment, "cpu", StreamHere(threads=threads))
    for task, due in zip(tried.tasks, alone, strict=True):
        made = FragmentResult.from_plain(worker(task.to_plain())).commit
        assert (made.columns_sha256, made.rejected) == (due.columns_sha256, due.rejected)
    assert encoded[0] == 10
    assert max(encoded) > 30


@pytest.mark.parametrize("threads", [True, False])
@pytest.mark.parametrize("place", ["PREPARE", "LABEL"])
def test_of_batches_that_go_together_a_later_row_is_named(tried, together, place, threads):
    plain = tried()
    x = features(plain, plain.tasks[0])
    raises = (
        f"if np.isin(features[:, 1], {[float(x[25, 1]), float(x[47, 1])]}).any(): raise ValueError"
    )
    other = {"PREPARE": "LABEL", "LABEL": "PREPARE"}[place]
    text = PREPARING.replace(place, raises).replace(other, "pass")
    failing = tried("import numpy as np\n" + text)
    worker = LabelWorker(failing.assignment, "cpu", StreamHere(threads=threads))
    for _ in range(2):  # the first time, the batch may be prepared before the first was labelled
        failure = FragmentResult.from_plain(worker(failing.tasks[0].to_plain())).failure
        assert failure.where == "part-00000.parquet, row 25"


def test_keys_of_other_rows_lie_beside_the_labels(tried, pool):
    request = replace(
        LabelWorker(tried().assignment, "cpu")._request(tried().tasks[2]), keys=("email", "size")
    )
    due = pq.read_table(pool / "rows" / "part-00001.parquet").select(["email", "size"])
    assert pa.concat_tables(chunk.keys for chunk in read_chunks(request)) == due


def test_parts_of_one_row_group_decode_it_each(tried, monkeypatch):
    request = replace(LabelWorker(tried().assignment, "cpu")._request(tried().tasks[0]), rows=10)
    opened = []
    monkeypatch.setattr(RowReader, "__init__", counted(RowReader.__init__, opened))
    monkeypatch.setattr("distill.stages.label.row_reader._local", threading.local())
    parts = [next(read_chunks(replace(request, start=start))).rows.values for start in (0, 10, 20)]
    assert len(opened) == 1
    again = [next(read_chunks(replace(request, start=start))).rows.values for start in (20, 10, 0)]
    assert len(opened) == 4
    for part, other in zip(parts, reversed(again), strict=True):
        np.testing.assert_array_equal(part, other)


def counted(make, made):
    def making(self, *told, **options):
        made.append(self)
        make(self, *told, **options)

    return making


PREPARING = """
import threading
class Mine:
    revision, classes = "1", ("a", "b", "c")
    def prepare(self, features):
        PREPARE
        return features
    def label(self, features):
        LABEL
        return 2 * features[:, :3]
"""


def test_rows_are_not_prepared_while_the_device_works(tried):
    waits = PREPARING.replace(
        "PREPARE", "prepared.append(len(features)); ready.set() if len(prepared) > 1 else None"
    )
    waits = waits.replace("LABEL", f"assert ready.wait({LIMIT_SECONDS})").replace(
        "class", "prepared, ready = [], threading.Event()\nclass", 1
    )
    tried = tried(waits)
    assert run(tried, tried.tasks[0]).failure is None


OWN_ARRAY = """
import numpy as np
class Mine:
    revision, classes = "1", ("a", "b", "c")
    answer = np.zeros((10, 3), np.float32)
    def label(self, features):
        self.answer[: len(features)] = 2 * features[:, :3]
        return self.answer[: len(features)]
"""
FINISHING = """
class Mine:
    revision, classes = "1", ("a", "b", "c")
    def label(self, features):
        return features
    def finish(self, answered):
        return 2 * answered[:, :3]
"""


@pytest.mark.parametrize(
    "text", [OWN_ARRAY, FINISHING, OWN_ARRAY.replace("answer =", "finish = None\n    answer =")]
)
def test_an_answer_is_overwritten_by_the_next_before_it_is_kept(tried, text):
    mine, due = tried(text), tried()
    worker = LabelWorker(mine.assignment, "cpu")
    with ThreadPoolExecutor(2) as threads:
        made = [
            FragmentResult.from_plain(plain)
            for plain in threads.map(worker, [task.to_plain() for task in mine.tasks])
        ]
    shutil.rmtree(Path(mine.folder) / "commits")
    for task, outcome in zip(due.tasks, made, strict=True):
        assert outcome.commit.columns_sha256 == run(due, task).commit.columns_sha256


def both_at_once(mine):
    """Two fragments through one worker; what their threads noted in `seen`, in order."""
    worker = LabelWorker(mine.assignment, "cpu")
    with ThreadPoolExecutor(2) as threads:
        made = list(threads.map(worker, [task.to_plain() for task in mine.tasks[:2]]))
    assert [FragmentResult.from_plain(plain).failure for plain in made] == [None, None]
    return worker.inference.labeler.labeler.label.__func__.__globals__["seen"]


NOTING = "import threading\nseen, both = [], threading.Event()\n"


def test_the_device_is_held_while_an_answer_is_finished(tried):
    noted = "seen.append(threading.get_ident())\n        if len(set(seen)) == 2: both.set()\n        return features"
    waits = f"assert both.wait({LIMIT_SECONDS})\n        return 2"
    mine = tried(NOTING + FINISHING.replace("return features", noted).replace("return 2", waits))
    assert len(set(both_at_once(mine))) == 2


def test_a_younger_fragment_is_as_old_as_the_older_one(tried, monkeypatch):
    mine, ages, real = tried(), [], PriorityLock.hold
    monkeypatch.setattr(
        PriorityLock, "hold", lambda self, number: ages.append(number) or real(self, number)
    )
    worker = LabelWorker(mine.assignment, "cpu")
    for task in mine.tasks[:2]:
        assert FragmentResult.from_plain(worker(task.to_plain())).failure is None
    assert list(dict.fromkeys(ages)) == sorted(set(ages))
    assert len(set(ages)) == 2


@pytest.mark.parametrize("run_seconds", [0, 1e6])
def test_a_batch_that_cannot_be_prepared_hides_a_row_before_it(tried, monkeypatch, run_seconds):
    monkeypatch.setattr("distill.stages.label.inference._RUN_SECONDS", run_seconds)
    plain = tried()
    x = features(plain, plain.tasks[0])
    raises = "if (features[:, 1] == {}).any(): raise ValueError({!r})"
    later, earlier = (
        raises.format(float(x[25, 1]), "later"),
        raises.format(float(x[12, 1]), "earlier"),
    )
    failing = tried(PREPARING.replace("PREPARE", later).replace("LABEL", earlier))
    failure = run(failing, failing.tasks[0]).failure
    assert failure.where == "part-00000.parquet, row 12"
    assert "ValueError: earlier" in failure.trace
    failing = tried(PREPARING.replace("PREPARE", later).replace("LABEL", "pass"))
    failure = run(failing, failing.tasks[0]).failure
    assert failure.where == "part-00000.parquet, row 25"
    assert "ValueError: later" in failure.trace


def test_a_labeler_that_writes_into_its_rows_fails_when_they_come_from_elsewhere(tried):
    tried = tried(TWICE.replace("return", "features *= 1\n        return"))

    class FromElsewhere(StreamHere):
        def __call__(self, function, *args):
            for chunk in function(*args):
                chunk.rows.values.flags.writeable = False  # as Ray's object store gives it
                yield chunk

    worker = LabelWorker(tried.assignment, "cpu", FromElsewhere())
    assert FragmentResult.from_plain(worker(tried.tasks[0].to_plain())).failure is None


IN_THREADS = """
import threading
seen = []
class Mine:
    revision, classes = "1", ("a", "b", "c")
    def prepare(self, features):
        seen.append(("prepare", threading.get_ident()))
        return features - features.mean()  # depends on the batch
    def label(self, prepared):
        seen.append(("label", threading.get_ident()))
        return prepared
    def finish(self, answered):
        seen.append(("finish", threading.get_ident()))
        return 2 * answered[:, :3]
"""


def test_without_threads_the_users_code_runs_in_another_thread_or_says_something_else(tried):
    tried = tried(IN_THREADS)
    due = [run(tried, task).commit for task in tried.tasks]
    shutil.rmtree(Path(tried.folder) / "commits")
    worker = LabelWorker(tried.assignment, "cpu", StreamHere(threads=False))
    calls = worker.inference.labeler.labeler.label.__func__.__globals__["seen"]
    calls.clear()
    for task, commit in zip(tried.tasks, due, strict=True):
        mine = FragmentResult.from_plain(worker(task.to_plain())).commit
        assert mine.attempt != commit.attempt
        assert (mine.columns_sha256, mine.rejected) == (commit.columns_sha256, commit.rejected)
    assert {thread for _, thread in calls} == {threading.get_ident()}
    in_order = ["prepare", "label", "finish"]
    assert [call for call, _ in calls] == in_order * (len(calls) // len(in_order))


def test_without_threads_another_row_is_named(tried):
    tried = tried(RAISES)
    worker = LabelWorker(tried.assignment, "cpu", StreamHere(threads=False))
    for task in tried.tasks[:2]:
        assert FragmentResult.from_plain(worker(task.to_plain())) == run(tried, task)
