"""Where the calibration of a label set lies, and the temperature that was found."""

from __future__ import annotations

from dataclasses import asdict

from distill.core.errors import ContractError
from distill.core.schema import digest
from distill.labelers.calibration import read_calibration
from distill.labels.contract import Contract
from distill.plan.workspace import Workspace
from distill.storage.base import Storage


def calibration_folder(workspace: Workspace, name: str, contract: Contract) -> Storage:
    """Where the calibration of `labels.<name>` lies, given its contract without one and the
    labelled pool as it is now."""
    on = str(workspace.tables.labels[name].calibrate_on)
    pool = workspace.pool(on)
    tables = workspace.tables
    outputs = tables.pool_outputs(on)
    content = pool.inventory.content
    identity = [contract.digest, content, pool.spec.target, asdict(outputs), tables.fragment_rows]
    return workspace.root_of(f"labels.{name}").folder("calibrations", name, digest(identity)[:16])


def stored_temperature(workspace: Workspace, name: str, contract: Contract) -> float:
    """1 where the job asks for no calibration. Raises ContractError where it was not done yet."""
    tables = workspace.tables
    labels = tables.labels[name]
    if labels.calibrate_on is None:
        return 1.0
    found = read_calibration(calibration_folder(workspace, name, contract))
    if found is None:
        raise ContractError(
            f"labels.{name} is not calibrated on pools.{labels.calibrate_on} yet. Run `distill"
            f" label {tables.path} {name}`."
        )
    return found.temperature
