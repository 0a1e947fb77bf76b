"""What `[fit.NAME]` says of the pool that it learns from, and of the rest of a job."""

from __future__ import annotations

from distill.plan.checks.early_stop import check_fit_stop
from distill.plan.checks.evaluation import is_judged_on
from distill.plan.checks.networks import (
    check_custom_network,
    check_pretrained,
    check_seen,
    check_size,
)
from distill.plan.checks.pate import check_teachers
from distill.plan.checks.private import check_private_fit
from distill.plan.checks.problems import Problems
from distill.plan.checks.training import check_augment, check_tokens, check_training
from distill.plan.checks.zero_shot import check_descriptions
from distill.plan.tables import JobTables
from distill.spec.models import Eszsl


def check_fits(tables: JobTables) -> Problems:
    """Yield all problems of fits, whose names exist."""
    for name in tables.fit:
        yield from _fit(tables, name)


def _fit(tables: JobTables, name: str) -> Problems:
    fit = tables.fit[name]
    where = f"fit.{name}"
    on = f"{where}.on = {fit.on!r}"
    if tables.pools[fit.on].target is None:
        yield f"{on}: that pool has no target to learn. Name its target column."
        return
    if is_judged_on(tables, fit.on):
        yield f"{on}: students are judged on that pool. Fit it on another one."
    pools = [fit.on]
    stop = fit.early_stop
    if stop is not None and stop.pool is not None:
        pools.append(stop.pool)
    yield from check_seen(tables, pools, fit.model, fit.features, where)
    yield from check_size(fit.model, f"{where}.model")
    yield from check_custom_network(tables, fit.model, f"{where}.model")
    yield from check_pretrained(tables, fit.model, f"{where}.model")
    yield from check_fit_stop(tables, name)
    yield from check_teachers(tables, name)
    yield from check_private_fit(tables, name)
    if isinstance(fit.model, Eszsl):
        yield from check_descriptions(tables, name, fit.model)
    else:
        yield from check_training(fit.training, f"{where}.training")
        yield from check_tokens(fit.training, fit.model, f"{where}.training")
        features = None if fit.features else tables.pools[fit.on].features
        yield from check_augment(fit.training, {fit.on: features}, f"{where}.training")
