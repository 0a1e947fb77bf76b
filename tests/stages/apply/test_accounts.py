"""Which rows a cascade's teacher is asked about, counted by the teacher itself: none of them twice,
whatever becomes of the pool, the threshold, the student, or the command that was asking."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from distill.core.errors import StorageError
from distill.plan.load import load_job
from distill.run import apply_student, label_pool, train_students
from tests.stages.apply.conftest import CASCADE, TABLES, write_rows_of
from tests.tiny import pixels, write_job

COUNTING = """
from pathlib import Path

class Labeler:
    revision = "1"
    classes = ("a", "b", "c")
    first = None

    def label(self, features):
        rows = set(features[:, 0].tolist())  # a short batch is filled with rows of its own
        if self.first is None:
            self.first = rows
        elif rows <= self.first:  # of a label set's first batch a few are asked about twice
            return 2 * features[:, :3]
        with open(Path(__file__).with_name("asked.jsonl"), "a") as file:
            print(*rows, sep=chr(10), file=file)
        return 2 * features[:, :3]
"""
MORE = """
    [labels.counting]
    labeler = { kind = "custom", file = "counting.py" }
    over = ["OVER"]
"""
CHANGING = TABLES.replace('path = "rows"', 'path = "rows"\n    on_change = "relabel"')

# what the student learns stays, whatever else its teacher labels
LINEAR = 'model = { kind = "linear" }\non = ["taught"]'


class Story:
    """A job whose pool and tables change, and what its teacher was asked meanwhile."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "counting.py").write_text(COUNTING, "utf-8")
        self.tables = CHANGING
        self.over = "taught"
        self.at_least = 0.9
        self.known: dict[float, tuple[str, int]] = {}

    def job(self):
        """The job as it is now."""
        cascade = CASCADE.format(to="labels.counting", at_least=self.at_least, by="confidence")
        more = MORE.replace("OVER", self.over)
        return load_job(write_job(self.folder, self.tables + more + cascade))

    def apply(self) -> set[float]:
        """Apply the cascade; return the rows that the teacher has answered, each by its class."""
        found = apply_student(self.job(), "sure", "rows", str, engine="local", verify=True)
        assert not found.problems
        query = f"FROM read_parquet('{found.applied.uri}/*.parquet') ORDER BY shard, row"
        written = duckdb.sql(query).to_arrow_table()
        numbers = self.numbers()
        first = np.concatenate(list(numbers.values()))
        kinds = [pq.read_table(each)["kind"].to_pylist() for each in self.files]
        assert len(written) == len(first)
        sent = np.array(written["answered_by"].to_pylist()) == "labels.counting"
        due = np.concatenate(kinds)
        assert (np.array(written["class"].to_pylist())[sent] == due[sent]).all()
        return set(first[sent].tolist())

    @property
    def files(self) -> list[Path]:
        """Those of the pool."""
        return sorted((self.folder / "rows").iterdir())

    def numbers(self):
        """What the rows of each file are known by."""
        return {each.name: pixels(pq.read_table(each))[:, 0] for each in self.files}

    def asked(self) -> Counter[float]:
        """How often the teacher was asked about each row."""
        file = self.folder / "asked.jsonl"
        return Counter(map(float, file.read_text("utf-8").split()))

    def add(self, name: str, rows: int, seed: int) -> None:
        """Put a file into the pool, or in place of another."""
        write_rows_of(self.folder / f"more-{seed}", [rows], seed=seed)
        (self.folder / f"more-{seed}/part-00000.parquet").rename(self.folder / "rows" / name)


@pytest.fixture
def story(trained, tmp_path):
    """A story over a copy of the trained root."""
    folder = tmp_path / "job"
    shutil.copytree(trained, folder, copy_function=shutil.copy2)
    return Story(folder)


@pytest.fixture
def cut_off(monkeypatch):
    """A function that lets a command end after some fragments of the teacher's are committed."""
    from distill.labels import commit

    class Killed(BaseException):
        pass

    def apply(story: Story, fragments: int) -> None:
        committed = []

        def reach(name: str) -> None:
            if name == "label.after_commit" and list(story.folder.glob("asked.jsonl")):
                committed.append(name)
                if len(committed) == fragments:
                    raise Killed

        with monkeypatch.context() as patched:
            patched.setattr(commit, "reach", reach)
            with pytest.raises(Killed):
                story.apply()

    return apply


def test_rows_are_asked_about_again_where_other_files_came_changed_or_went(story):
    first = story.apply()
    assert story.asked() == Counter(first)
    story.add("part-00009.parquet", 70, seed=9)
    story.at_least = 0.85
    story.apply()
    story.at_least = 0.9
    grown = story.apply()
    assert max(story.asked().values()) == 1
    (story.folder / "rows/part-00000.parquet").unlink()
    fewer = story.apply()
    assert fewer < grown
    assert max(story.asked().values()) == 1
    # the same rows in another file are other rows: theirs alone are asked about again
    file = story.folder / "rows/part-00001.parquet"
    own = set(story.numbers()[file.name].tolist())
    pq.write_table(pq.read_table(file), file, compression="none", row_group_size=16)
    changed = story.apply()
    assert changed == fewer
    again = {row for row, times in story.asked().items() if times > 1}
    assert again == changed & own
    assert again
    assert max(story.asked().values()) == 2
    asked = story.asked()
    story.add("part-00010.parquet", 30, seed=10)
    last = story.apply()
    due = last - (asked.keys() - own) - changed
    assert story.asked() - asked == Counter(due)
    # a finished one asks nobody, whatever accounts there are
    assert story.apply() == last
    assert story.asked() - asked == Counter(due)


def test_a_file_came_and_went_and_what_was_sent_on_before_is_lost(story):
    """The pool is again the one that a choice was made on, whose account is another one."""
    before = story.apply()
    story.add("part-00009.parquet", 70, seed=9)
    story.apply()
    (story.folder / "rows/part-00009.parquet").unlink()
    assert story.apply() == before
    assert story.apply() == before
    assert max(story.asked().values()) == 1


@pytest.mark.parametrize("then", ["another threshold", "more rows", "fewer rows"])
def test_a_teacher_is_paid_again_where_what_was_sent_on_is_lost(story, then):
    story.apply()
    asked = story.asked()
    shutil.rmtree(story.folder / "runs/selections")
    if then == "another threshold":
        story.at_least = 0.85
    elif then == "more rows":
        story.add("part-00009.parquet", 70, seed=9)
    else:
        (story.folder / "rows/part-00002.parquet").unlink()
    with pytest.raises(StorageError, match="Restore it from a copy, or give the cascade another"):
        story.apply()
    assert story.asked() == asked


def test_another_student_sends_on_rows_that_were_answered_before(story):
    story.apply()
    story.tables = CHANGING.replace("epochs = 20", "epochs = 12")
    train_students(story.job(), engine="local")
    (story.folder / "rows/part-00001.parquet").unlink()
    story.apply()
    assert max(story.asked().values()) == 1


def test_a_stopped_command_is_followed_by_one_over_fewer_files(story, cut_off):
    """What the first left to be asked is of a file that is gone, or is asked by the second."""
    cut_off(story, 2)
    before = story.asked()
    (story.folder / "rows/part-00002.parquet").unlink()
    cut_off(story, 1)
    sent = story.apply()
    assert sent & before.keys()
    assert max(story.asked().values()) == 1
    assert story.asked().keys() == sent | before.keys()


def test_a_pools_own_labels_are_behind_it_and_no_longer_count(story):
    story.over = "rows"
    story.tables = CHANGING.replace('model = { kind = "linear" }', LINEAR)
    train_students(story.job(), engine="local")
    label_pool(story.job(), "counting", engine="local")
    asked = story.asked()
    before = story.apply()
    assert story.asked() == asked
    story.add("part-00009.parquet", 70, seed=9)
    after = story.apply()
    assert story.asked() - asked == Counter(after - asked.keys())
    assert before & after
    assert len(asked) < len(story.asked())
    (story.folder / "rows/part-00000.parquet").unlink()
    story.apply()
    assert max(story.asked().values()) == 1


def test_a_stopped_command_is_gone_on_with_about_rows_that_were_labelled_since(story, cut_off):
    story.over = "rows"
    story.tables = CHANGING.replace('model = { kind = "linear" }', LINEAR)
    train_students(story.job(), engine="local")
    cut_off(story, 2)
    asked = story.asked()
    # the pool's own label set asks about all of its rows, whoever was asked before
    label_pool(story.job(), "counting", engine="local")
    assert story.asked() - asked == Counter(np.concatenate([*story.numbers().values()]).tolist())
    asked = story.asked()
    story.add("part-00009.parquet", 70, seed=9)
    after = story.apply()
    assert story.asked() - asked == Counter(after - asked.keys())
