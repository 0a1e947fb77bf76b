"""A cascade by workers of Ray writes what one process writes."""

from __future__ import annotations

import pytest

from distill.run import apply_student
from tests.command import distill
from tests.stages.apply.conftest import CASCADE
from tests.stages.apply.test_kills import files_of, require_once


@pytest.mark.ray
def test_workers_of_ray_write_other_files_than_one_process(applying, joining):
    more = CASCADE.format(to="labels.teacher", at_least=0.9, by="confidence")
    job = applying(more)
    ended = distill(
        "apply", job.path, "sure", "rows", "--verify", *joining.options, **joining.environment
    )
    assert ended.code == 0, ended.output
    require_once(job.folder / "runs")
    here = applying(more, "here")
    apply_student(here, "sure", "rows", lambda _line: None, engine="local")
    assert files_of(job.folder / "runs") == files_of(here.folder / "runs")
