"""Audits that are killed, for real: a SIGKILL at named places, then the same command."""

from __future__ import annotations

import json

import pytest

from tests.command import distill, kill_session, start
from tests.stages.audit.leaking import leaking_job
from tests.tiny import write_job
from tests.waiting import wait_until


def found_under(root):
    """What the audit under a root found."""
    (result,) = root.glob("audit/*/results/*.json")
    return json.loads(result.read_bytes())["body"]


@pytest.mark.slow
def test_kills_come_to_the_same_audit(tmp_path):
    """One while the halves of shadows are written, one while a shadow's teacher labels."""
    text = leaking_job(tmp_path, rows=300, epochs=6, shadows=4, audit="canaries = 40")
    job = write_job(tmp_path, text.replace('    [evaluate]\n    on = "test"\n', ""))
    marker = tmp_path / "reached"
    for place in ("audit.after_rows:9", "label.after_data:7"):
        process = start("run", job, "--local", DISTILL_FAILPOINT=f"{place}:{marker}")
        wait_until(marker.exists, process)
        kill_session(process.pid)
        process.communicate()
        marker.unlink()
        assert not list(tmp_path.glob("root/audit/*/results/*.json"))
    trained = list(tmp_path.glob("root/audit/*/shadows/*/fits/large/*/done.json"))
    assert len(trained) == 4
    before = {each: each.stat().st_mtime_ns for each in trained}
    resumed = distill("audit", job, "--local")
    assert resumed.code == 0, resumed.output
    assert {each: each.stat().st_mtime_ns for each in trained} == before
    whole = distill("run", job, "--local", "--root", tmp_path / "whole")
    assert whole.code == 0, whole.output
    assert found_under(tmp_path / "root") == found_under(tmp_path / "whole")
