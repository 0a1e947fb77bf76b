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
from distill.job.job import Job
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.code import fit_code, student_code
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.outputs import pool_outputs
from distill.plan.pools import open_pool
from distill.plan.remember import remember
from distill.pools.open_pool import OpenPool
from distill.spec.models import Cnn, Eszsl, Rnn


def check_networks_build(job: Job) -> None:
    """Try every network of the user's own, or with a shape, that the job names, and the pools that
    each sees. Raises JobError, ContractError."""
    for where, pools, plan in _plans(job):
        require_one_width(job, pools, where)
        if _tried(plan):
            seen = open_pool(job, pools[0])
            told = [
                "own",
                seen.inventory.content,
                seen.features.model_dump(mode="json"),
                plan.to_plain(),
            ]
            remember(job, "checks", told, partial(_try, job, where, plan, seen))


def require_one_width(job: Job, pools: tuple[str, ...], where: str) -> None:
    """Refuse pools of different widths, which one network cannot see; `where` is the key of who
    sees them. Raises ContractError."""
    opened = [open_pool(job, pool) for pool in dict.fromkeys(pools)]
    if len(opened) > 1:
        told = [
            "widths",
            *([pool.inventory.content, pool.features.model_dump(mode="json")] for pool in opened),
        ]
        remember(job, "checks", told, lambda: _look_alike(opened, f"{job.path}: {where}"))


def _look_alike(opened: Sequence[OpenPool], where: str) -> None:
    if len({pool.width for pool in opened}) > 1:
        said = ", ".join(f"pools.{pool.name} has {pool.width}" for pool in opened)
        raise ContractError(
            f"{where}: sees pools whose rows have different numbers of features: {said}. "
            "Give them columns of one width, or leave out those of another."
        )


def _try(job: Job, where: str, plan: NetworkPlan, seen: OpenPool) -> None:
    check_network(replace(plan, in_features=seen.width), f"{job.path}: {where}")


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
    """Whether it has a network of the user's own, or one whose shape may be another than the rows'."""
    networks = (plan.model, *(head.model for head in plan.heads.values()))
    return bool(plan.own) or any(isinstance(network, Cnn | Rnn) for network in networks)


def _plans(job: Job) -> Iterator[tuple[str, tuple[str, ...], NetworkPlan]]:
    """Of fits and students: the key, the pools that are seen, and the networks, as far as the job
    alone tells."""
    trunk, judged = {"": HeadPlan(1)}, (job.evaluate.on,) if job.evaluate else ()
    for name, fit in job.fit.items():
        if not isinstance(fit.model, Eszsl):
            student = fit_student(fit, usual_loss(pool_outputs(job, fit.on)))
            yield (
                f"fit.{name}",
                student.pools,
                NetworkPlan(0, fit.model, trunk, fit_code(job, name)),
            )
    for variant in job.variants:
        where, student = f"students.{variant.student}", variant.spec
        heads = {name: HeadPlan(1, head.model) for name, head in student.heads.items()}
        yield (
            where,
            (*student.pools, *judged),
            NetworkPlan(0, student.model, {**trunk, **heads}, student_code(job, student, where)),
        )
