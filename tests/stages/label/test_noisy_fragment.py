"""Label sets of noisy votes, from a job to what is stored of them; killed for real."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from distill.core.dp.allowance import spent_epsilon
from distill.core.errors import ContractError, JobError, LabelerError, StorageError
from distill.core.schema import bytes_table
from distill.job.job import Job
from distill.labels.encoding import best_class
from distill.labels.files import read_data
from distill.labels.vote_answers import AnswerJournal, VoteAnswers
from distill.labels.vote_entries import read_ledger
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.plan.votes import other_accounts, votes_account, votes_statement
from distill.run import fit_labelers, label_pool, preview_labels, verify_labels
from distill.storage.open import open_storage
from tests.command import distill, kill_session, start
from tests.resolved import label_set
from tests.stages.label.pate_job import pate_job, truth
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> Path:
    """A job whose teachers are fitted."""
    folder = tmp_path_factory.mktemp("fitted")
    job = pate_job(folder)
    fit_labelers(job, engine="local")
    return folder


@pytest.fixture
def folder(fitted, tmp_path) -> Path:
    """The same, a test's own."""
    shutil.copytree(fitted, tmp_path / "job")
    return tmp_path / "job"


def account_of(folder: Path):
    (account,) = (folder / "root" / "votes" / "voters").iterdir()
    return open_storage(str(account))


def journal_of(folder: Path) -> dict[str, bytes]:
    answers = (folder / "root" / "votes").glob("*/*/answers/*/*.json")
    return {str(file): file.read_bytes() for file in answers}


def classes(labels) -> np.ndarray:
    """The class of each row, -1 of rejected ones."""
    return np.concatenate(
        [best_class(labels.read(entry), labels.contract) for entry in labels.entries]
    )


def label(folder: Path):
    (summary,) = label_pool(load_job(folder / "job.toml"), "votes", engine="local")
    return summary


def test_rows_beyond_the_budget_are_asked_about_or_lost(folder):
    summary = label(folder)
    (entry,) = read_ledger(account_of(folder))
    asked = entry.allowance.asked
    assert 0 < asked < 160
    assert summary.labelled == asked
    assert summary.rows == summary.labelled + summary.rejected
    found = classes(summary.labels)
    assert (found[:asked] >= 0).all()
    assert (found[asked:] == -1).all()
    # teachers of 37 rows agree, and the noise is small
    assert (found[:asked] == truth(folder)[:asked]).mean() > 0.5
    statement = votes_statement(Plan(load_job(folder / "job.toml")).workspace, "votes")
    assert statement is not None
    assert 0 < statement.data_dependent_epsilon <= statement.epsilon <= 20
    assert statement.over == ("private",)
    assert statement.unit == "person (all rows of it)"


def test_votes_are_stored(folder):
    """An answered row is one class and nothing else: its logits are those of no count."""
    summary = label(folder)
    for entry in summary.labels.entries:
        table = summary.labels.read(entry)
        data = np.frombuffer(table["logits"].combine_chunks().buffers()[1], np.float32)
        assert set(np.unique(data)) <= {0.0, 30.0}
    (verified,) = verify_labels(load_job(folder / "job.toml"), "votes", canaries=2)
    assert not verified.problems


FAILPOINTS = [
    "pate.after_claim",
    "pate.before_answers",
    "pate.after_answers",
    "label.before_data",
    "label.after_data",
    "label.after_commit",
]


@pytest.mark.parametrize("place", FAILPOINTS)
def test_a_killed_run_asks_or_pays_twice(folder, place):
    job = folder / "job.toml"
    marker = folder / "reached"
    process = start("label", job, "--local", DISTILL_FAILPOINT=f"{place}:1:{marker}")
    wait_until(marker.exists, process)
    kill_session(process.pid)
    process.communicate()
    marker.unlink()
    before = journal_of(folder)
    answered = place not in ("pate.after_claim", "pate.before_answers")
    assert bool(before) == answered
    ended = distill("label", job, "--local")
    assert ended.code == 0, ended.output
    after = journal_of(folder)
    for file, content in before.items():
        assert after[file] == content
    (entry,) = read_ledger(account_of(folder))
    labels = label_set(load_job(job), "votes", "unlabelled")
    found = classes(labels)
    assert (found >= 0).sum() == entry.allowance.asked
    # whatever any attempt wrote, committed or not, says what was answered first
    files = list(Path(labels.folder.uri, "data").rglob("*.arrow"))
    assert files
    for file in files:
        table = read_data(file.read_bytes(), labels.contract, str(file))
        written = best_class(table, labels.contract)
        start_row = 0 if file.parent.name.startswith("000000") else 96
        start_row += 64 * int(file.parent.name.split("-")[1])
        np.testing.assert_array_equal(written, found[start_row : start_row + len(written)])


def test_two_parts_answer_one_fragment_differently(folder):
    """Two drivers that share the root alone; each fragment's answers are those of whoever was
    first."""
    job = folder / "job.toml"
    both = [start("label", job, "--local", "--part", f"{part}/2") for part in (0, 1)]
    for process in both:
        output, _ = process.communicate()
        assert process.returncode == 0, output
    (entry,) = read_ledger(account_of(folder))
    found = classes(label_set(load_job(job), "votes", "unlabelled"))
    journal = AnswerJournal(account_of(folder), entry.label_set)
    kept = [VoteAnswers.from_bytes(each, "") for _, each in sorted(journal_of(folder).items())]
    np.testing.assert_array_equal(
        np.concatenate([answers.codes for answers in kept]), found[: entry.allowance.asked]
    )
    assert len(journal.spent_by_votes()) == len(kept)


def test_mending_asks_again(folder):
    summary = label(folder)
    before = journal_of(folder)
    data = sorted(Path(summary.labels.folder.uri, "data").rglob("*.arrow"))[0]
    data.unlink()
    again = label(folder)
    assert again.labelled_now == 1
    assert again.label_hash == summary.label_hash
    assert journal_of(folder) == before


def test_answers_that_are_gone_are_asked_for_again(folder):
    summary = label(folder)
    for file in journal_of(folder):
        Path(file).unlink()
    sorted(Path(summary.labels.folder.uri, "data").rglob("*.arrow"))[0].unlink()
    with pytest.raises((LabelerError, ContractError), match="would spend privacy again"):
        label(folder)


def test_a_look_shows_votes(folder):
    with pytest.raises(JobError, match="would spend privacy"):
        preview_labels(load_job(folder / "job.toml"), "votes", 3, engine="local")


def test_a_second_label_set_has_a_budget_of_its_own(folder):
    first = label(folder)
    text = (folder / "job.toml").read_text("utf-8")
    text += text[text.index("[labels.votes]") :].replace("votes", "more").replace("20.0", "25.0")
    (folder / "job.toml").write_text(text, "utf-8")
    job = load_job(folder / "job.toml")
    (second,) = label_pool(job, "more", engine="local")
    entries = read_ledger(account_of(folder))
    assert [entry.name for entry in entries] == ["votes", "more"]
    assert second.labelled < first.labelled
    statement = votes_statement(Plan(job).workspace, "more")
    assert statement is not None
    assert 20 < statement.epsilon <= 25


def add_label_set(folder: Path) -> None:
    """Another one of the same teachers, with the same budget."""
    text = (folder / "job.toml").read_text("utf-8")
    more = text[text.index("[labels.votes]") :].replace("votes", "more")
    text += more.replace("scale = 1.5", "scale = 1.4")
    (folder / "job.toml").write_text(text, "utf-8")


@pytest.mark.parametrize("place", ["votes", "fits"])
def test_teachers_that_are_deleted_and_fitted_again_have_a_fresh_budget(folder, place):
    label(folder)
    (before,) = read_ledger(account_of(folder))
    if place == "fits":  # where accounts lay before
        (fit,) = (folder / "root" / "fits" / "voters").iterdir()
        shutil.copytree(account_of(folder).uri.removeprefix("file://"), fit, dirs_exist_ok=True)
        shutil.rmtree(folder / "root" / "votes")
    else:
        shutil.rmtree(folder / "root" / "fits")
    add_label_set(folder)
    job = load_job(folder / "job.toml")
    with pytest.raises(JobError, match="after what labels votes have spent"):
        label_pool(job, "more", engine="local")
    account = votes_account(Plan(job).workspace, "voters")
    assert read_ledger(account) == [before]
    assert f"/root/{place}/voters/" in account.uri


def test_an_account_that_is_gone_beside_what_was_answered_is_a_fresh_budget(folder):
    label(folder)
    shutil.rmtree(folder / "root" / "votes")
    add_label_set(folder)
    with pytest.raises(StorageError, match=r"no entry of labels\.votes.*spent again"):
        label_pool(load_job(folder / "job.toml"), "more", engine="local")


def changed(folder: Path, before: str, after: str, label_set: str = "more") -> Job:
    """The job with other teachers, whom another label set asks."""
    text = (folder / "job.toml").read_text("utf-8")
    more = text[text.index("[labels.votes]") :].replace("labels.votes", f"labels.{label_set}")
    # labels.votes is of the teachers of before, whose account is whole
    (folder / "job.toml").write_text((text + more).replace(before, after), "utf-8")
    return load_job(folder / "job.toml")


def test_teachers_of_changed_settings_have_a_fresh_budget_for_the_same_people(folder):
    label(folder)
    job = changed(folder, "epochs = 15", "epochs = 16")
    with pytest.raises(JobError, match=r"labels\.more.*what labels votes \(of teachers voters/"):
        fit_labelers(job, engine="local")
    # refused before the teachers were trained
    assert len(list((folder / "root" / "fits" / "voters").iterdir())) == 1
    (folder / "job.toml").write_text(
        (folder / "job.toml").read_text("utf-8").replace("epsilon = 20", "epsilon = 26"), "utf-8"
    )
    job = load_job(folder / "job.toml")
    fit_labelers(job, engine="local")
    (summary,) = label_pool(job, "more", engine="local")
    assert 0 < summary.labelled < 160
    workspace = Plan(job).workspace
    account = votes_account(workspace, "voters")
    both = [*other_accounts(workspace, "voters", account).read(), *read_ledger(account)]
    assert 25 < spent_epsilon([each.allowance for each in both], 1e-5) <= 26
    statement = votes_statement(workspace, "more")
    assert statement is not None
    assert re.search(r"labels\.votes of voters/.*epsilon = (19\.|20)", statement.notes[-1])


def test_two_fits_of_one_pool_have_a_budget_each(folder):
    label(folder)
    text = (folder / "job.toml").read_text("utf-8")
    other = text[text.index("[fit.voters]") :].replace("voters", "other").replace("votes", "more")
    (folder / "job.toml").write_text(text + other, "utf-8")
    job = load_job(folder / "job.toml")
    with pytest.raises(
        JobError, match=r"labels\.more.*rows of pools\.private, epsilon = .* together"
    ):
        fit_labelers(job, engine="local")
    # a fit that is gone from the job has told what it has told
    (folder / "job.toml").write_text(text[: text.index("[fit.voters]")] + other, "utf-8")
    with pytest.raises(JobError, match=r"labels\.more.*of teachers voters/"):
        fit_labelers(load_job(folder / "job.toml"), engine="local")


def test_a_job_whose_second_label_set_gets_nothing_is_begun(tmp_path):
    pate_job(tmp_path)
    add_label_set(tmp_path)
    with pytest.raises(JobError, match=r"labels\.more.*after what labels votes have spent"):
        fit_labelers(load_job(tmp_path / "job.toml"), engine="local")
    assert not (tmp_path / "root" / "fits").exists()


def test_confident_votes_leave_rows_unlabelled_for_no_reason(tmp_path):
    labeler = "scale = 3.0, epsilon = 30.0, delta = 1e-5, threshold = 7.5, threshold_sigma = 3.0"
    job = pate_job(tmp_path, f"{labeler}, asked = 100")
    fit_labelers(job, engine="local")
    (summary,) = label_pool(job, "votes", engine="local")
    (entry,) = read_ledger(account_of(tmp_path))
    assert summary.labelled <= entry.allowance.answered < entry.allowance.asked == 100
    rejects = Path(summary.labels.folder.uri, "rejects").rglob("*.arrow")
    reasons = [reason for file in rejects for reason in _reasons(file)]
    assert len(reasons) == summary.rejected
    assert {"unsure", "budget"} == set(reasons)


def _reasons(file: Path) -> list[str]:
    from distill.core.schema import REJECTS

    return bytes_table(file.read_bytes(), REJECTS, str(file))["reason"].to_pylist()
