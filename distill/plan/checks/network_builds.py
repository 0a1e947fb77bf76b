"""Whether networks can be built for the rows that they see, tried on the driver before any work:
what cannot be trained must not be found out once the labels are paid for.

Tried are the user's own networks and those with a shape; others fit any width. What was found right
is kept under the root, so that a finished job opens no input for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

from distill.core.errors import ContractError, JobError
from distill.models.augment import Augmentation
from distill.models.custom_source import TRUNK
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.held_out import fit_student, usual_loss
from distill.plan.pretrained import network_with_files, student_with_files
from distill.plan.widths import common_width, seen_width
from distill.plan.workspace import Workspace
from distill.pools.open_pool import OpenPool
from distill.spec.augment import Augment
from distill.spec.models import Fit, Training
from distill.spec.networks import Network
from distill.spec.students import Student


@dataclass(frozen=True)
class _Build:
    """A network of a fit or a student."""

    where: str  # key of the fit or student
    pools: tuple[str, ...]  # pools that it sees
    plan: NetworkPlan  # as far as the job alone tells: widths are not known yet
    student: Student  # whose network it is; a fit as one


def check_networks_build(workspace: Workspace) -> None:
    """Refuse networks that do not fit their pools, pools of different widths that one network sees,
    and what no library here computes. Raises JobError, ContractError, MissingExtraError."""
    for labels in workspace.tables.labels.values():
        views = labels.views
        if views is not None:
            _check_augmentation(workspace, views.augment)
    for build in _builds(workspace):
        augment = build.student.training.augment
        if augment is not None:
            _check_augmentation(workspace, augment)
        _check_widths(workspace, build)
        if _may_not_fit(build.plan) or build.student.training.activation_checkpoints:
            _check_build(workspace, build)


def _check_augmentation(workspace: Workspace, augment: Augment) -> None:
    # not first by a worker, when the teacher's labels are paid for
    plain = augment.model_dump(mode="json")
    inputs = ["augment", plain]
    workspace.remember("checks", inputs, partial(_require_augmentation, augment))


def _require_augmentation(augment: Augment) -> None:
    Augmentation(augment)


def _builds(workspace: Workspace) -> Iterator[_Build]:
    tables = workspace.tables
    for name, fit in tables.fit.items():
        if isinstance(fit.model, Network):
            yield _fit_build(workspace, name, fit, fit.model)
    for variant in tables.job.variants:
        yield _student_build(workspace, variant.spec, f"students.{variant.student}")


def _fit_build(workspace: Workspace, name: str, fit: Fit, model: Network) -> _Build:
    outputs = workspace.tables.pool_outputs(fit.on)
    loss = usual_loss(outputs)
    student = fit_student(fit, loss)
    model = network_with_files(workspace.tables, model, f"fit.{name}.{TRUNK}")
    tables = workspace.tables
    code = tables.fit_code(name)
    plan = NetworkPlan(0, model, {"": HeadPlan(1)}, code)
    return _Build(f"fit.{name}", student.pools, plan, student)


def _student_build(workspace: Workspace, student: Student, where: str) -> _Build:
    pools = student.pools
    evaluate = workspace.tables.evaluate
    if evaluate:
        pools = (*pools, evaluate.on)
    student = student_with_files(workspace.tables, student, where)
    own = {name: HeadPlan(1, head.model) for name, head in student.heads.items()}
    code = workspace.tables.student_code(student, where)
    plan = NetworkPlan(0, student.model, {"": HeadPlan(1), **own}, code)
    return _Build(where, pools, plan, student)


def _check_widths(workspace: Workspace, build: _Build) -> None:
    """Refuse pools of different widths, which one network cannot see. Raises ContractError."""
    pools = [workspace.pool_like(name) for name in dict.fromkeys(build.pools)]
    # a label set has one width over all its pools
    if len(pools) < 2 or build.student.features is not None:
        return
    contents = [[pool.inventory.content, _features(pool)] for pool in pools]
    where = f"{workspace.tables.path}: {build.where}"
    workspace.remember("checks", ["widths", *contents], partial(_require_one_width, pools, where))


def _require_one_width(pools: Sequence[OpenPool], where: str) -> None:
    widths = {f"pools.{pool.name}": pool.width for pool in pools}
    if common_width(widths) is None:
        listed = ", ".join(f"{pool} has {width}" for pool, width in widths.items())
        raise ContractError(
            f"{where}: sees pools whose rows have different numbers of features: {listed}."
            " Give them columns of one width, or leave out those of another."
        )


def _may_not_fit(plan: NetworkPlan) -> bool:
    """Whether it has a network that may not fit the rows, or that distill's tests do not know."""
    return any(network.trial != "none" for network in plan.networks.values())


def _check_build(workspace: Workspace, build: _Build) -> None:
    student = build.student
    if student.features is not None:
        width = seen_width(workspace, student)
        inputs = ["own", width, build.plan.to_plain(), *_asked_for(build)]
        workspace.remember("checks", inputs, partial(_build_for, workspace, build, width))
        return
    first = build.pools[0]
    pool = workspace.pool_like(first)  # the others are of its width
    plan = build.plan.to_plain()
    inputs = ["own", pool.inventory.content, _features(pool), plan, *_asked_for(build)]
    workspace.remember("checks", inputs, lambda: _build_for(workspace, build, pool.width))


def _features(pool: OpenPool) -> object:
    return pool.features.model_dump(mode="json")


def _build_for(workspace: Workspace, build: _Build, width: int) -> None:
    plan = replace(build.plan, in_features=width)
    where = f"{workspace.tables.path}: {build.where}"
    training = build.student.training
    check_network(plan, where, training=training)


def _asked_for(build: _Build) -> list[str]:
    """What the training asks of its network, where it does: how statistics of BatchNorm are kept,
    and layers that are computed again."""
    training = build.student.training
    asked = [] if training.batch_norm is None else [str(training.batch_norm)]
    return [*asked, "checkpoints"] if training.activation_checkpoints else asked


def check_network(plan: NetworkPlan, where: str, *, training: Training | None = None) -> None:
    """Hold the plan's networks against the rows; where some are not distill's own, build it, and
    hold those against what a training takes for granted and asks for. Raises JobError."""
    asked = training or Training()
    try:
        for key, network in plan.networks.items():
            seen = plan.input_of(key)
            network.require_fit(seen)
        if any(network.trial == "training" for network in plan.networks.values()):
            batch_norm = asked.batch_norm is not None
            _check_trainable(plan, batch_norm=batch_norm)
        if any(
            network.trial == "shape" and network.reads_text for network in plan.networks.values()
        ):
            _check_used(plan)
        if asked.activation_checkpoints:
            _check_checkpoints(plan)
    except JobError as error:
        raise JobError(f"{where}.{error}") from error


def _check_trainable(plan: NetworkPlan, *, batch_norm: bool) -> None:
    # imported here alone, so that a job of distill's own networks is checked without torch
    from distill.models.network import build_network, require_custom_trainable

    build_network(plan)
    require_custom_trainable(plan, batch_norm=batch_norm)


def _check_used(plan: NetworkPlan) -> None:
    from distill.models.network import require_used

    require_used(plan)


def _check_checkpoints(plan: NetworkPlan) -> None:
    from distill.models.activations import NOT_OFFERED, offers_checkpoints
    from distill.models.network import build_network

    if not offers_checkpoints(build_network(plan)):
        raise JobError(NOT_OFFERED)
