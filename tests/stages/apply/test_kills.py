"""`distill apply`, stopped at each of its failpoints one after another on one root: nothing is
doubled, missing or another than undisturbed, and the teacher's answers are bought once."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from distill.labels import commit
from distill.run import apply_student
from distill.stages.apply import asked_rows, send_on, write_rows
from tests.command import distill, kill_session, start
from tests.stages.apply.conftest import CASCADE
from tests.waiting import wait_until

KILLS = [
    ("label.after_data", 1),  # of the labelled rows
    ("label.after_commit", 9),  # seven fragments of those, then the pool's
    ("cascade.after_file", 3),
    ("cascade.before_record", 1),
    ("cascade.before_result", 1),
    ("label.after_data", 2),  # the teacher's
    ("apply.before_file", 1),
    ("apply.after_file", 4),
    ("apply.before_manifest", 1),
]
ROWS = 440
SURE = CASCADE.format(to="labels.teacher", at_least=0.9, by="confidence")


class Killed(BaseException):
    """Stands for a SIGKILL in this process."""


@pytest.fixture
def kill_at(monkeypatch):
    """A function that lets the process end at an arrival at a failpoint."""

    def set_point(place: str | None, arrival: int) -> None:
        arrivals = []

        def reach(name: str) -> None:
            arrivals.extend([name] * (name == place))
            if len(arrivals) == arrival:
                raise Killed

        for module in (commit, asked_rows, send_on, write_rows):
            monkeypatch.setattr(module, "reach", reach)

    return set_point


def files_of(root: Path) -> dict[str, bytes]:
    """What was written, by name."""
    (manifest,) = root.glob("applied/sure/rows/*/_manifest.json")
    return {each.name: each.read_bytes() for each in manifest.parent.glob("*.parquet")}


def require_once(root: Path) -> None:
    """Every row is written once, and every row that was sent on was answered once."""
    paths = [str(each) for each in root.glob("applied/sure/rows/*/*.parquet")]
    written = duckdb.sql(f"FROM read_parquet({paths})").to_arrow_table()
    rows = set(zip(written["shard"].to_pylist(), written["row"].to_pylist(), strict=True))
    assert len(written) == len(rows) == ROWS
    assert written["class"].null_count == 0
    sent = written["answered_by"].to_pylist().count("labels.teacher")
    commits = list(root.glob("labels/teacher/v1/select.*/commits/*"))
    answered = [json.loads(each.read_text("utf-8"))["body"]["rows"] for each in commits]
    assert sum(answered) == sent > 0


def test_no_stop_doubles_or_loses_a_row(applying, kill_at):
    job = applying(SURE)
    root = job.folder / "runs"

    def apply() -> None:
        apply_student(job, "sure", "rows", lambda _line: None, engine="local")

    for place, arrival in KILLS:
        kill_at(place, arrival)
        with pytest.raises(Killed):
            apply()
        assert not list(root.glob("applied/sure/rows/*/_manifest.json")), place
    kill_at(None, 1)
    apply()
    require_once(root)
    killed = files_of(root)
    whole = applying(SURE, "whole")
    apply_student(whole, "sure", "rows", lambda _line: None, engine="local")
    assert files_of(whole.folder / "runs") == killed


@pytest.mark.slow
def test_no_sigkill_doubles_or_loses_a_row(applying, tmp_path):
    job = applying(SURE)
    command = ("apply", job.path, "sure", "rows", "--local")
    for number, (place, arrival) in enumerate(KILLS):
        marker = tmp_path / f"reached-{number}"
        process = start(*command, DISTILL_FAILPOINT=f"{place}:{arrival}:{marker}")
        wait_until(marker.exists, process)
        kill_session(process.pid)
        process.communicate()
    resumed = distill(*command, "--verify")
    assert resumed.code == 0, resumed.output
    # the last kill left all nine
    assert "440 rows in 9 files (done before)" in " ".join(resumed.output.split())
    require_once(job.folder / "runs")
