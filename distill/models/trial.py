"""Networks that may not fit, the user's own and those with a shape, tried on the driver before any work: one that cannot be trained must not be found
out once the labels are paid for.

What was found right is kept under the root, so that a finished job opens no input for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from distill.errors import JobError
from distill.job import Eszsl, Job
from distill.job.models import Cnn, Rnn
from distill.job.own import fit_code, student_code
from distill.models.record import HeadPlan, NetworkPlan
from distill.pool import open_pool
from distill.schema import digest, seal
from distill.storage import open_storage


def try_networks(job: Job) -> None:
    """Try every network of the user's own, or with a shape, that the job names. Raises JobError."""
    for where, pool, plan in _plans(job):
        if _tried(plan):
            seen = open_pool(job, pool)
            told = ["own", seen.inventory.content, seen.features.model_dump(mode="json"), plan.to_plain()]
            checks, key = open_storage(job.root_uri).folder("checks"), digest(told)[:32]
            if checks.read_or_none(key) is None:
                try_own(replace(plan, in_features=seen.width), f"{job.path}: {where}")
                checks.put(key, seal({"own": where}))


def try_own(plan: NetworkPlan, where: str) -> None:
    """Build the plan's network and hold its user's parts against what training takes for granted. Raises JobError."""
    if not _tried(plan):
        return
    from distill.models.network import build_network, require_own_teachable

    try:
        build_network(plan)
        require_own_teachable(plan)
    except JobError as error:
        raise JobError(f"{where}.{error}") from error


def _tried(plan: NetworkPlan) -> bool:
    """Whether it has a network of the user's own, or one whose shape may be another than the rows'."""
    networks = (plan.model, *(head.model for head in plan.heads.values()))
    return bool(plan.own) or any(isinstance(network, Cnn | Rnn) for network in networks)


def _plans(job: Job) -> Iterator[tuple[str, str, NetworkPlan]]:
    """Of fits and students: the key, a pool that is seen, and the networks, as far as the job alone tells."""
    trunk = {"": HeadPlan(1)}
    for name, fit in job.fit.items():
        if not isinstance(fit.model, Eszsl):
            yield f"fit.{name}", fit.on, NetworkPlan(0, fit.model, trunk, fit_code(job, name))
    for variant in job.variants:
        where, student = f"students.{variant.student}", variant.spec
        pools = (*student.on, *(term.pool for term in student.terms if term.pool))
        heads = {name: HeadPlan(1, head.model) for name, head in student.heads.items()}
        yield where, pools[0], NetworkPlan(0, student.model, {**trunk, **heads}, student_code(job, student, where))
