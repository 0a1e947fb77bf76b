"""What a student inherits of the answers that taught it, on its way to record, card and report."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from distill.core.privacy import NO_STATEMENT, PrivacyStatement, with_totals
from distill.models.record import read_record
from distill.plan import privacy
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.plan.privacy import bare_pools, stored_statements
from distill.run import export_students, run_job
from distill.stages.train.private_account import PrivateAccount, statement_of
from distill.storage.open import open_storage
from tests.stages.label.pate_job import pate_job
from tests.tiny import write_job, write_pool

STUDENTS = """
    [pools.test]
    path = "test"
    target = "kind"
    classes = ["a", "b", "c"]
    [evaluate]
    on = "test"

    [students.noisy]
    model = { kind = "linear" }
    training = { epochs = 2, workers = 1 }
    [[students.noisy.terms]]
    learns = "labels.votes"
    loss = { kind = "cross_entropy" }

    [students.leaky]
    model = { kind = "linear" }
    training = { epochs = 2, workers = 1 }
    [[students.leaky.terms]]
    learns = "labels.votes"
    loss = { kind = "cross_entropy" }
    [[students.leaky.terms]]
    learns = "pools.private"
    loss = { kind = "cross_entropy" }
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("students")
    job = pate_job(folder)
    write_pool(folder / "test", (50,))
    text = job.path.read_text("utf-8") + STUDENTS.replace("\n    ", "\n")
    job.path.write_text(text, "utf-8")
    job = load_job(job.path)
    return job, run_job(job, engine="local")


def record_of(job, name: str):
    (folder,) = Path(job.root_uri, "students", name).iterdir()
    record = read_record(open_storage(str(folder)))
    assert record is not None
    return record


def test_a_student_of_noisy_votes_promises_nothing(finished):
    job, _ = finished
    (statement,) = stored_statements(record_of(job, "noisy"))
    assert statement.mechanism == "gnmax"
    assert 0 < statement.epsilon <= 20


def test_a_student_that_saw_the_rows_themselves_promises_what_its_labels_do(finished):
    job, _ = finished
    assert stored_statements(record_of(job, "leaky")) == []


def test_card_and_report_leave_out_what_is_promised_and_what_is_not(finished):
    job, run = finished
    cards = {
        exported.name: Path(exported.uri, "README.md").read_text("utf-8")
        for exported in export_students(job, engine="local")
    }
    assert "differential privacy of one person (all rows of it) of private" in cards["noisy"]
    assert "The rows that are labelled are not protected" in cards["noisy"]
    assert NO_STATEMENT in cards["leaky"]
    assert NO_STATEMENT not in cards["noisy"]
    page = Path(run.report.removeprefix("file://")).read_text("utf-8")
    assert "<h2>Privacy</h2>" in page
    assert "one person (all rows of it) of private" in page
    assert f"Of leaky: {NO_STATEMENT}" in page


MERGED = """
    [fit.plain]
    model = { kind = "linear" }
    on = "private"
    training = { epochs = 1, workers = 1 }
    [labels.plain]
    labeler = { kind = "fitted", fit = "plain" }
    over = ["unlabelled"]
    [labels.both]
    labeler = { kind = "merge", of = ["labels.votes", "labels.plain"] }
    over = ["unlabelled"]
    [students.merged]
    model = { kind = "linear" }
    [[students.merged.terms]]
    learns = "labels.both"
    loss = { kind = "cross_entropy" }
"""


def test_rows_that_come_by_way_of_a_merge_are_overlooked(tmp_path):
    job = pate_job(tmp_path)
    job.path.write_text(job.path.read_text("utf-8") + MERGED.replace("\n    ", "\n"), "utf-8")
    tables = Plan(load_job(job.path)).tables
    assert bare_pools(tables, tables.job.students["merged"]) == {"private"}


ENSEMBLE = """
    root = "root"
    [pools.private]
    path = "private"
    target = "kind"
    classes = ["a", "b", "c"]
    features = { kind = "vector", columns = ["pixels"] }
    [pools.others]
    path = "others"
    features = { kind = "vector", columns = ["pixels"] }
    [fit.one]
    model = { kind = "linear" }
    on = "private"
    training = { private = { epsilon = 3.0, delta = 1e-4 } }
    [fit.two]
    model = { kind = "linear" }
    on = "private"
    seed = 7
    training = { private = { epsilon = 3.0, delta = 1e-4 } }
    [labels.both]
    labeler = { kind = "ensemble", members = [
        { kind = "fitted", fit = "one" }, { kind = "fitted", fit = "two" } ] }
    over = ["others"]
    [students.small]
    model = { kind = "linear" }
    [[students.small.terms]]
    learns = "labels.both"
    loss = { kind = "kl" }
"""


def test_two_fits_that_promise_the_same_are_paid_for_once(tmp_path, monkeypatch):
    job = load_job(write_job(tmp_path, ENSEMBLE))
    plan = Plan(job)
    one = PrivacyStatement("dp_sgd", 3.0, 1e-4, "row", ("private",), "rdp")
    record = SimpleNamespace(details={"privacy": [one.as_json()]})
    monkeypatch.setattr(privacy, "find_fit", lambda *_: (None, record))
    found = privacy.inherited_statements(plan.workspace, job.students["small"])
    assert found == [one, one]
    assert with_totals(found)[-1].epsilon == 6.0


CORRECTED = """
    [pools.checked]
    path = "checked.csv"
    corrects = "pools.private"
    target = "kind"
    classes = ["a", "b", "c"]
    [fit.private]
    model = { kind = "linear" }
    on = "checked"
    training = { private = { epsilon = 3.0, delta = 1e-4 }, batch_rows = 16 }
"""


def test_what_corrections_and_their_pool_promise_stands_side_by_side(tmp_path):
    """One row's promises add up, whichever of both pools it was learned from."""
    job = pate_job(tmp_path)
    (file,) = (tmp_path / "private").iterdir()
    lines = [f"{file.name},{row},{'abc'[row % 3]}" for row in range(40)]
    (tmp_path / "checked.csv").write_text("shard,row,kind\n" + "\n".join(lines) + "\n", "utf-8")
    job.path.write_text(job.path.read_text("utf-8") + CORRECTED.replace("\n    ", "\n"), "utf-8")
    (step,) = Plan(load_job(job.path)).trained_fits(["private"])
    assert step.plan.base_pools == ("private",)
    account = PrivateAccount(noise=1.0, sample_rate=0.4, steps=10, epsilon=3.0)
    of_corrections = statement_of(step.plan, account)
    votes = PrivacyStatement("gnmax", 2.0, 1e-5, "row", ("private",), "votes")
    assert with_totals([votes, of_corrections])[-1].epsilon == 5.0
