"""Everything that is checked before any work and needs the pools: the one list of such checks.

What the job file alone shows is checked when it is loaded (`distill.plan.checks.static`). Every
command that would begin work goes through both.
"""

from __future__ import annotations

from distill.plan.checks.custom_losses import check_custom_losses
from distill.plan.checks.encryption import check_encryption_keys
from distill.plan.checks.judging import check_sliced_columns
from distill.plan.checks.network_builds import check_networks_build
from distill.plan.checks.pool_files import check_pool_files
from distill.plan.checks.selections import check_stored_selections
from distill.plan.checks.structures import check_structures_fit
from distill.plan.checks.targets import check_targets
from distill.plan.widths import head_widths
from distill.plan.workspace import Workspace


def check_inputs(workspace: Workspace) -> None:
    """Refuse keys that are missing, selections of rows that are not there, pools that cannot be read, structures and
    networks that do not fit them, heads whose terms have other widths, targets without a known one,
    and losses that do not answer. Raises InputError."""
    check_encryption_keys(workspace.tables)
    check_stored_selections(workspace)
    check_pool_files(workspace)
    check_targets(workspace)
    check_sliced_columns(workspace)
    check_structures_fit(workspace)
    check_networks_build(workspace)
    for variant in workspace.tables.job.variants:
        student = variant.student
        where = f"students.{student}"
        spec = variant.spec
        head_widths(workspace, spec, where)
        check_custom_losses(workspace, spec, where)
