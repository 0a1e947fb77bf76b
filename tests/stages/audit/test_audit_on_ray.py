"""An audit on Ray: its shadows are trained side by side in one group of workers, and asked there."""

from __future__ import annotations

import textwrap

import pytest

from distill.core.audit_results import LIRA_OFFLINE, LIRA_ONLINE, LOSS
from distill.plan.load import load_job
from distill.run import audit_models, fit_labelers, label_pool, run_job, train_students
from tests.stages.audit.leaking import leaking_job
from tests.tiny import write_job


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_an_audit_ends_in_this_process_alone(tmp_path):
    """What it audits is made by one process, which is as on Ray; shadows and questions are Ray's."""
    text = leaking_job(tmp_path, rows=200, epochs=4, shadows=4, audit="canaries = 40")
    text = textwrap.dedent(text).replace("batch_rows = 64,", "batch_rows = 64, workers = 1,")
    text = text.replace('["unlabelled", "test", ', "[")
    job = load_job(write_job(tmp_path, text))
    fit_labelers(job, engine="local")
    label_pool(job, "large", engine="local")
    train_students(job, engine="local")
    audit, _ = audit_models(job, lambda _line: None)
    assert audit.shadows == 4
    assert {each.at for each in audit.subjects} == {"fit.large", "labels.large", "students.small"}
    for subject in audit.subjects:
        assert [each.kind for each in subject.attacks] == [LOSS, LIRA_ONLINE, LIRA_OFFLINE]
        assert subject.bound is not None
    # the whole job finds it done
    assert run_job(job, lambda _line: None, engine="local").evaluation.audit == audit
    # one process says the same of the same rows
    elsewhere = load_job(write_job(tmp_path, text.replace('"root"', '"elsewhere"'), "local.toml"))
    alone = run_job(elsewhere, lambda _line: None, engine="local").evaluation.audit
    for mine, theirs in zip(audit.subjects, alone.subjects, strict=True):
        assert mine.strongest.auc == pytest.approx(theirs.strongest.auc, abs=1e-6)
