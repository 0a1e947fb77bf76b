"""A whole job with an audit, in this process: what leaks is told, in every place where one looks."""

from __future__ import annotations

import re
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pytest

from distill.cli.audit_command import print_audit
from distill.core.audit_results import LIRA_OFFLINE, LIRA_ONLINE, LOSS, AuditResult
from distill.core.errors import JobError, LimitError, PoolError
from distill.core.judgement import FAILED, PASSED
from distill.job.job import Job
from distill.plan.audit.audit_plan import AuditPlan
from distill.plan.load import load_job
from distill.plan.plan import Plan
from distill.plan.workspace import Workspace
from distill.run import (
    Finished,
    audit_models,
    export_students,
    fit_labelers,
    garbage,
    run_job,
    status,
)
from tests.command import REPOSITORY
from tests.stages.audit.leaking import leaking_job, write_rows
from tests.tiny import write_job

GATE = """
    [gate]
    audit = [{ most_auc = 0.55, at = "fit.large" }, { most_auc = 1.0, at = "students.small" }]
"""
ENGINE = "local"


@dataclass(frozen=True)
class Audited:
    """A job that was run, and what came of it."""

    folder: Path
    job: Job
    finished: Finished
    lines: list[str]

    @property
    def audit(self) -> AuditResult:
        assert self.finished.evaluation is not None
        assert self.finished.evaluation.audit is not None
        return self.finished.evaluation.audit


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    folder = tmp_path_factory.mktemp("leaking")
    text = leaking_job(folder, rows=400, epochs=14, shadows=4, audit="canaries = 60")
    job = load_job(write_job(folder, textwrap.dedent(text) + textwrap.dedent(GATE)))
    lines: list[str] = []
    return Audited(folder, job, run_job(job, lines.append, engine=ENGINE), lines)


def test_an_overfitted_teacher_and_what_it_labels_are_exposed(audited):
    audit = audited.audit
    assert audit.members + audit.others == 400
    assert audit.members_pool == "labelled"
    assert audit.others_pool == "labelled.held_out"
    for at in ("fit.large", "labels.large"):
        (subject,) = audit.of(at)
        assert subject.loss_of_members < subject.loss_of_others
        for attack in subject.attacks:
            low, _ = attack.interval(audit.members, audit.others)
            assert low > 0.52, attack.kind
        kinds = [attack.kind for attack in subject.attacks]
        assert kinds == [LOSS, LIRA_ONLINE, LIRA_OFFLINE]


def test_a_plain_student_of_it_is_told_to_leak(audited):
    (subject,) = audited.audit.of("students.small")
    low, _ = subject.strongest.interval(audited.audit.members, audited.audit.others)
    assert low > 0.5
    assert subject.statement is None
    (line,) = [each for each in audited.lines if each.startswith("students.small: rows")]
    assert "it leaks who taught it" in line


def test_canaries_bound_the_teachers_epsilon_from_below(audited):
    (subject,) = audited.audit.of("fit.large")
    assert subject.bound.epsilon > 0.3
    assert subject.bound.canaries <= 60
    assert any("it promises no ε" in line for line in audited.lines)


def test_the_labels_say_of_rows_what_the_network_that_wrote_them_says(audited):
    """The stored float16 logits, joined to the same rows by another way."""
    (network,) = audited.audit.of("fit.large")
    (labels,) = audited.audit.of("labels.large")
    assert labels.loss_of_members == pytest.approx(network.loss_of_members, rel=1e-3)
    assert labels.loss_of_others == pytest.approx(network.loss_of_others, rel=1e-3)
    assert labels.attacks[1].auc == pytest.approx(network.attacks[1].auc, abs=0.01)


def test_the_gate_fails_what_is_beyond_and_passes_what_is_not(audited):
    gate = audited.finished.evaluation.gate
    states = {(each.name, each.state) for each in gate.results}
    assert states == {("fit.large", FAILED), ("students.small", PASSED)}
    assert any(
        "AUC of membership at most 0.55, by LiRA" in each for each in audited.finished.beyond
    )


def test_the_report_and_the_card_say_what_was_found(audited):
    page = Path(audited.finished.report.removeprefix("file://")).read_text("utf-8")
    assert "What can be told of the labelled rows" in page
    assert "distillation by itself protects nothing" in page
    assert "ROC curves; AUC: loss threshold" in page
    (exported,) = export_students(audited.job, engine=ENGINE)
    card = Path(exported.uri, "README.md").read_text("utf-8")
    assert "students.small: rows that taught are told from others with AUC" in card
    assert card.count("distillation by itself protects nothing") == 1


def test_a_finished_audit_is_found_again_without_any_work(audited, capsys):
    class Refusing:
        """An engine that nothing may be asked of."""

    found, gate = audit_models(audited.job, lambda _: None, engine=Refusing())
    assert found == audited.audit
    assert gate.state == FAILED
    print_audit(found)
    said = capsys.readouterr()
    assert "AUC 0.5 is guessing" in said.out + said.err


def test_status_or_gc_forgets_the_audit(audited):
    *_, line = status(audited.job)
    assert (line.name, line.done, line.total) == ("audit", 1, 1)
    assert "of fit.large" in line.note or "of labels.large" in line.note
    before = {each for each in (audited.folder / "root" / "audit").rglob("*") if each.is_file()}
    garbage(audited.job, delete=True)
    kept = {each for each in (audited.folder / "root" / "audit").rglob("*") if each.is_file()}
    assert kept == before


def test_shadows_of_rows_that_nobody_audits_any_more_stay_for_ever(audited):
    audits = audited.folder / "root" / "audit"
    (shadows,) = audits.glob("*/shadows")
    former = audits / "feedfeedfeedfeed"
    (former / "shadows" / "000").mkdir(parents=True)
    (former / "shadows" / "000" / "weights").write_bytes(b"of former rows")
    shutil.copytree(shadows.parent / "results", former / "results")
    other = audits / "00ba00ba00ba00ba" / "shadows"  # of an audit under way
    other.mkdir(parents=True)
    (other / "weights").write_bytes(b"of another job")
    found = {each.what: each for each in garbage(audited.job, delete=True)}
    assert found["shadows of former audits"].keys == ("feedfeedfeedfeed/shadows/000/weights",)
    assert not (former / "shadows" / "000" / "weights").exists()
    assert list((former / "results").iterdir())
    assert (other / "weights").exists()
    assert list(shadows.rglob("*.safetensors"))
    shutil.rmtree(former)
    shutil.rmtree(other.parent)


def test_no_value_of_a_private_column_lies_under_the_root(audited):
    canary = b"@example.org"
    assert canary in (audited.folder / "labelled" / "part-00000.parquet").read_bytes()
    files = [each for each in (audited.folder / "root").rglob("*") if each.is_file()]
    assert len(files) > 50
    assert not [each for each in files if canary in each.read_bytes()]


def test_shadows_make_nothing_anew_that_the_labelled_rows_did_not_teach(audited):
    (folder,) = (audited.folder / "root" / "audit").glob("*/shadows")
    for number in range(4):
        shadow = folder / f"{number:03d}"
        assert (shadow / "fits" / "large").is_dir()
        listed = {each.name for each in (shadow / "inventories").iterdir()}
        assert listed == {"labelled", "audit.tried_5000", "audit.canaries_60"}


def test_two_shadows_share_all_rows(audited):
    audit = AuditPlan(Workspace(audited.job))
    rows = [
        [set(rows.numbers().tolist()) for rows in audit.shadow(number).sets] for number in range(4)
    ]
    for one, other in ((rows[0], rows[1]), (rows[2], rows[3])):
        for mine, theirs in zip(one, other, strict=True):
            assert not mine & theirs
        assert sum(map(len, (*one, *other))) == 400
    assert rows[0] != rows[2]


def test_the_fits_do_not_see_what_is_held_out(audited):
    workspace = Plan(audited.job).workspace
    members = workspace.pool("labelled")
    others = workspace.pool("labelled.held_out")
    assert members.inventory.rows + others.inventory.rows == 400
    assert {each.name for each in (members, others)} == {"labelled", "labelled.held_out"}
    (record,) = (audited.folder / "root" / "fits" / "large").glob("*/done.json")
    assert f'"rows": [{members.inventory.rows}]' in record.read_text("utf-8")


def test_a_root_that_was_divided_otherwise_is_refused(audited):
    other = replace_in(audited.folder, "held_out = 0.5", "held_out = 0.4", "other.toml")
    with pytest.raises(PoolError, match=r"divided with another audit\.held_out or seed"):
        audit_models(load_job(other), engine=ENGINE)


def test_a_student_that_the_gate_does_not_let_pass_is_not_exported(audited):
    strict = replace_in(audited.folder, "most_auc = 1.0", "most_auc = 0.501", "strict.toml")
    with pytest.raises(LimitError, match=r"students\.small: AUC of membership at most 0.501"):
        export_students(load_job(strict), engine=ENGINE)


def replace_in(folder: Path, old: str, new: str, name: str) -> Path:
    """The job with something else, beside it."""
    text = (folder / "job.toml").read_text("utf-8")
    assert old in text
    file = folder / name
    file.write_text(text.replace(old, new), "utf-8")
    return file


NAMED = {"held_out": '"test"', "also": "", "shadows": 0, "epochs": 2}


def test_rows_that_taught_are_not_taken_for_such_that_did_not(tmp_path):
    text = leaking_job(tmp_path, **NAMED)
    write_rows(tmp_path / "test", 600, 1)  # the very rows of `labelled`
    job = load_job(write_job(tmp_path, text))
    with pytest.raises(PoolError, match=r"audit\.held_out = 'test': 600 of 600 tried rows"):
        run_job(job, lambda _: None, engine=ENGINE)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('members = "labelled"', 'members = "labels"', "audit.members = 'labels': there is no"),
        ('held_out = "test"', 'held_out = "labelled"', "has rows of pools.labelled"),
        ("shadows = 0", "shadows = 5", "5 is not 0 or an even number from 4 on"),
        ("shadows = 0", 'of = ["fit.other"]', "there is no fit.other"),
        ('"test", "labelled"]', '"test"]', r"labels\.large: is not over the rows that are tried"),
    ],
)
def test_what_cannot_be_audited_is_refused_by_name(tmp_path, old, new, said):
    text = leaking_job(tmp_path, **NAMED)
    if "labels.large: is" in said.replace("\\", ""):
        text = text.replace("shadows = 0", 'of = ["labels.large"]')
        text = text.replace('on = ["labelled"]', 'on = ["unlabelled"]')
    assert old in text
    with pytest.raises(JobError, match=said):
        load_job(write_job(tmp_path, text.replace(old, new)))


@pytest.mark.parametrize("pool", ["labelled.held_out", "labelled.whole"])
def test_nothing_is_taught_by_what_is_held_out(tmp_path, pool):
    text = leaking_job(tmp_path)
    fitted = text.replace('on = "labelled"\n', f'on = "{pool}"\n')
    with pytest.raises(JobError, match=rf"fit\.large\.on = '{pool}' is taught by rows that"):
        load_job(write_job(tmp_path, fitted))
    text = text.replace('"labelled.held_out"]', '"labelled.held_out", "labelled.whole"]')
    taught = text.replace('on = ["labelled"]', f'on = ["{pool}"]')
    with pytest.raises(JobError, match=rf"students\.small learns from '{pool}'"):
        load_job(write_job(tmp_path, taught))
    # nor where the job leaves it to its label sets
    left = load_job(write_job(tmp_path, text.replace('    on = ["labelled"]\n', "")))
    assert "labelled.held_out" not in left.students["small"].on


def test_a_gate_about_nothing_that_is_audited_is_refused(tmp_path):
    text = textwrap.dedent(leaking_job(tmp_path, **NAMED)) + textwrap.dedent(GATE)
    with pytest.raises(JobError, match=r"students\.other'?: is not audited"):
        load_job(
            write_job(tmp_path, text.replace('at = "students.small"', 'at = "students.other"'))
        )
    begin, end = text.index("[audit]"), text.index("[gate]")
    with pytest.raises(JobError, match=r"the job has no \[audit\] that finds anything"):
        load_job(write_job(tmp_path, text[:begin] + text[end:]))


def test_a_pool_without_the_same_form_is_refused(tmp_path):
    text = leaking_job(tmp_path, **NAMED)
    with pytest.raises(JobError, match=r"its classes are not those of pools\.labelled"):
        load_job(write_job(tmp_path, text.replace('["no", "yes"]', '["yes", "no"]', 1)))


def test_the_guides_tables_are_no_job(tmp_path):
    guide = (REPOSITORY / "jobs" / "README.md").read_text("utf-8")
    (tables,) = re.findall(r"```toml\n# leak\.toml\n(.*?)```", guide, re.DOTALL)
    text = textwrap.dedent(leaking_job(tmp_path))
    job = load_job(write_job(tmp_path, text[: text.index("[audit]")] + tables))
    assert job.audit.shadows == 16
    assert [rule.limit for rule in job.gate.audit] == [0.6, 0.05]


def test_without_audit_a_job_is_the_same_as_before(tmp_path):
    text = leaking_job(tmp_path, also="", shadows=0)
    plain = load_job(write_job(tmp_path, text[: text.index("    [audit]")]))
    assert plain.audit is None
    assert set(plain.pools) == {"labelled", "unlabelled", "test"}


def test_a_private_teacher_is_exposed_as_a_plain_one_is(tmp_path):
    """ε = 1: what 300 rows' ranks say of it by chance is within 0.58; the plain one is far beyond."""
    pytest.importorskip("opacus")
    text = leaking_job(tmp_path, epochs=30, shadows=0, audit='of = ["fit.large", "fit.hidden"]')
    begin, end = text.index("[fit.large]"), text.index("[labels.large]")
    private = text[begin:end].replace("large", "hidden")
    private = private.replace("epochs =", "private = { epsilon = 1.0, delta = 1e-4 }, epochs =")
    text = text[: text.index("[evaluate]")] + private + text[text.index("    [audit]") :]
    text = text[: text.index("[labels.large]")] + text[text.index("[fit.hidden]") :]
    job = load_job(write_job(tmp_path, text))
    fit_labelers(job, engine=ENGINE)
    audit, _ = audit_models(job, lambda _line: None, engine=ENGINE)
    (plain,) = audit.of("fit.large")
    (hidden,) = audit.of("fit.hidden")
    assert plain.strongest.auc > 0.65
    assert hidden.strongest.auc < 0.58
    assert hidden.statement["epsilon"] <= 1.0
    assert plain.statement is None
