"""Networks that may not fit, the user's own and those with a shape, tried on the driver before any
work, and the widths of the pools that one network sees: what cannot be trained must not be found
out once the labels are paid for.

What was found right is kept under the root, so that a finished job opens no input for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

from distill.core.errors import ContractError, JobError
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.networks import Network


def check_networks_build(workspace: Workspace) -> None:
    """Try every network of the user's own, or with a shape, that the job names, and the pools that
    each sees. Raises JobError, ContractError."""
    for where, pools, plan in _plans(workspace):
        require_one_width(workspace, pools, where)
        if _tried(plan):
            seen = workspace.pool(pools[0])
            told = [
                "own",
                seen.inventory.content,
                seen.features.model_dump(mode="json"),
                plan.to_plain(),
            ]
            workspace.remember("checks", told, partial(_try, workspace, where, plan, seen))


def require_one_width(workspace: Workspace, pools: tuple[str, ...], where: str) -> None:
    """Refuse pools of different widths, which one network cannot see; `where` is the key of who
    sees them. Raises ContractError."""
    opened = [workspace.pool(pool) for pool in dict.fromkeys(pools)]
    if len(opened) > 1:
        told = [
            "widths",
            *([pool.inventory.content, pool.features.model_dump(mode="json")] for pool in opened),
        ]
        workspace.remember(
            "checks", told, lambda: _look_alike(opened, f"{workspace.tables.path}: {where}")
        )


def _look_alike(opened: Sequence[OpenPool], where: str) -> None:
    if len({pool.width for pool in opened}) > 1:
        said = ", ".join(f"pools.{pool.name} has {pool.width}" for pool in opened)
        raise ContractError(
            f"{where}: sees pools whose rows have different numbers of features: {said}. "
            "Give them columns of one width, or leave out those of another."
        )


def _try(workspace: Workspace, where: str, plan: NetworkPlan, seen: OpenPool) -> None:
    check_network(replace(plan, in_features=seen.width), f"{workspace.tables.path}: {where}")


def check_network(plan: NetworkPlan, where: str) -> None:
    """Build the plan's network and hold its user's parts against what training takes for granted.
    Raises JobError."""
    if not _tried(plan):
        return
    from distill.models.network import build_network, require_custom_trainable

    try:
        build_network(plan)
        require_custom_trainable(plan)
    except JobError as error:
        raise JobError(f"{where}.{error}") from error


def _tried(plan: NetworkPlan) -> bool:
    """Whether it has a network that may not fit the rows, or that distill's tests do not know."""
    return any(network.trial != "none" for network in plan.networks.values())


def _plans(workspace: Workspace) -> Iterator[tuple[str, tuple[str, ...], NetworkPlan]]:
    """Of fits and students: the key, the pools that are seen, and the networks, as far as the job
    alone tells."""
    trunk, judged = (
        {"": HeadPlan(1)},
        (workspace.tables.evaluate.on,) if workspace.tables.evaluate else (),
    )
    for name, fit in workspace.tables.fit.items():
        if isinstance(fit.model, Network):
            student = fit_student(fit, usual_loss(workspace.tables.pool_outputs(fit.on)))
            yield (
                f"fit.{name}",
                student.pools,
                NetworkPlan(0, fit.model, trunk, workspace.tables.fit_code(name)),
            )
    for variant in workspace.tables.job.variants:
        where, student = f"students.{variant.student}", variant.spec
        heads = {name: HeadPlan(1, head.model) for name, head in student.heads.items()}
        yield (
            where,
            (*student.pools, *judged),
            NetworkPlan(
                0, student.model, {**trunk, **heads}, workspace.tables.student_code(student, where)
            ),
        )
