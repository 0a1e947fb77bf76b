"""An audit on Ray: its shadows are trained side by side in one group of workers, and asked there."""

from __future__ import annotations

import textwrap

import pytest

from distill.core.audit_results import LIRA_OFFLINE, LIRA_ONLINE, LOSS
from distill.plan.load import load_job
from distill.run import audit_models, run_job
from tests.stages.audit.leaking import leaking_job
from tests.tiny import write_job


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("ray")
def test_an_audit_ends_in_this_process_alone(tmp_path):
    text = leaking_job(tmp_path, rows=200, epochs=4, shadows=4, audit="canaries = 40")
    text = textwrap.dedent(text).replace("batch_rows = 64,", "batch_rows = 64, workers = 1,")
    job = load_job(write_job(tmp_path, text))
    finished = run_job(job, lambda _line: None)
    audit = finished.evaluation.audit
    assert audit.shadows == 4
    assert {each.at for each in audit.subjects} == {"fit.large", "labels.large", "students.small"}
    for subject in audit.subjects:
        assert [each.kind for each in subject.attacks] == [LOSS, LIRA_ONLINE, LIRA_OFFLINE]
        assert subject.bound is not None
    again, _ = audit_models(job, lambda _line: None)
    assert again == audit
    # one process says the same of the same rows
    elsewhere = load_job(write_job(tmp_path, text.replace('"root"', '"elsewhere"'), "local.toml"))
    alone = run_job(elsewhere, lambda _line: None, engine="local").evaluation.audit
    for mine, theirs in zip(audit.subjects, alone.subjects, strict=True):
        assert mine.strongest.auc == pytest.approx(theirs.strongest.auc, abs=1e-6)
