"""Rows that people should see."""

from __future__ import annotations

from distill.engine.select import EngineChoice
from distill.job.job import Job
from distill.run.driver import Driver
from distill.stages.review.write_review import Reviewed, review_rows


def review_pool(job: Job, *, engine: EngineChoice = "ray") -> Reviewed:
    """Write the rows of `[review]`, each with its reasons, as JSON lines and Parquet, unless it is
    done. Raises JobError without `[review]`, ContractError where labels are not there."""
    driver = Driver(job, engine)
    driver.prepare()
    return review_rows(driver.plan.review(), driver.engine)
