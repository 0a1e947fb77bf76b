"""Where the calibration of a label set lies, and the temperature that was found."""

from __future__ import annotations

from dataclasses import asdict

from distill.core.errors import ContractError
from distill.core.schema import digest
from distill.job.job import Job
from distill.labelers.calibration import read_calibration
from distill.labels.contract import Contract
from distill.plan.outputs import pool_outputs
from distill.plan.pools import open_pool
from distill.storage.base import Storage
from distill.storage.open import open_storage


def calibration_folder(job: Job, name: str, contract: Contract) -> Storage:
    """Where the calibration of `labels.<name>` lies, given its contract without one and the
    labelled pool as it is now."""
    on = str(job.labels[name].calibrate_on)
    pool = open_pool(job, on)
    outputs = pool_outputs(job, on)
    identity = [
        contract.digest,
        pool.inventory.content,
        pool.spec.target,
        asdict(outputs),
        job.fragment_rows,
    ]
    return open_storage(job.root_uri).folder("calibrations", name, digest(identity)[:16])


def stored_temperature(job: Job, name: str, contract: Contract) -> float:
    """1 where the job asks for no calibration. Raises ContractError where it was not done yet."""
    labels = job.labels[name]
    if labels.calibrate_on is None:
        return 1.0
    found = read_calibration(calibration_folder(job, name, contract))
    if found is None:
        raise ContractError(
            f"labels.{name} is not calibrated on pools.{labels.calibrate_on} yet. Run `distill"
            f" label {job.path} {name}`."
        )
    return found.temperature
