"""Everything that is checked before any work and needs the pools: the one list of such checks.

What the job file alone shows is checked when it is loaded (`distill.plan.checks.static`). Every
command that would begin work goes through both.
"""

from __future__ import annotations

from distill.core.errors import JobError
from distill.core.secret_keys import wrap_key
from distill.plan.checks.budgets import check_budgets
from distill.plan.checks.custom_losses import check_custom_losses
from distill.plan.checks.judging import check_sliced_columns
from distill.plan.checks.network_builds import check_networks_build
from distill.plan.checks.pool_files import check_pool_files
from distill.plan.checks.selections import check_stored_selections
from distill.plan.checks.structures import check_structures_fit
from distill.plan.checks.targets import check_targets
from distill.plan.tables import JobTables
from distill.plan.widths import head_widths
from distill.plan.workspace import Workspace

_TRIED = bytes(32)  # in place of a data key


def check_inputs(workspace: Workspace) -> None:
    """Refuse keys that are missing, selections of rows that are gone, pools that cannot be read, what
    does not fit them, targets without a known one, losses that do not answer. Raises InputError."""
    _check_encryption_keys(workspace.tables)
    check_stored_selections(workspace)
    check_pool_files(workspace)
    check_targets(workspace)
    check_sliced_columns(workspace)
    check_structures_fit(workspace)
    check_networks_build(workspace)
    check_budgets(workspace)
    for variant in workspace.tables.job.variants:
        student = variant.student
        where = f"students.{student}"
        spec = variant.spec
        head_widths(workspace, spec, where)
        check_custom_losses(workspace, spec, where)


def _check_encryption_keys(tables: JobTables) -> None:
    # there before anything is paid for: labels that nothing can encrypt are lost
    named = {f"labels.{name}": labels.encryption for name, labels in tables.labels.items()}
    named |= {f"apply.{name}": settings.encryption for name, settings in tables.apply.items()}
    for where, encryption in named.items():
        if encryption is None:
            continue
        try:
            wrap_key(encryption.key, _TRIED)
        except JobError as error:
            raise JobError(f"{tables.path}: {where}.encryption.key: {error}") from None
