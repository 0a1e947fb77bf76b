"""What a training says of the rows of a step: how lanes, workers and sources share them."""

from __future__ import annotations

from collections.abc import Mapping

from distill.plan.checks.problems import Problems
from distill.spec.models import Training, worker_range
from distill.spec.networks import FitModel
from distill.spec.pools import Features
from distill.spec.students import Student

_ROUNDING = 0.01  # of a row. A share is written with a few digits, such as 0.333 of 24 rows.


def check_training(training: Training, where: str) -> Problems:
    """Yield where a batch is not whole lanes, or lanes are not whole workers."""
    yield from _ways(training, where)
    lanes = training.lanes
    if training.batch_rows % lanes:
        yield (
            f"{where}.batch_rows = {training.batch_rows}: not a multiple of lanes = {lanes}."
            " Each lane gives the same share of a batch."
        )
    fewest, most = worker_range(training.workers)
    workers_range = f"{where}.workers = [{fewest}, {most}]"
    if training.workers is None:
        if lanes % most:
            yield (
                f"{where}.lanes = {lanes}: not a multiple of the workers; workers is left out,"
                f" {most} on Ray. Say workers = 1."
            )
    elif fewest > most:
        yield f"{workers_range}: the fewest come first, then the most."
    elif most > lanes:
        yield (
            f"{workers_range}: more than lanes = {lanes}. Each worker takes one lane at the least."
        )
    elif fewest == most and lanes % most:
        yield (
            f"{where}.workers = {most}: does not divide lanes = {lanes}."
            " Each worker takes whole lanes."
        )


def _ways(training: Training, where: str) -> Problems:
    """Where two keys do not go together."""
    parts = training.accumulate_batches
    if parts > 1 and training.gradients == "lanes":
        yield (
            f'{where}.accumulate_batches = {parts}: with gradients = "lanes" memory holds one lane'
            " already. Leave it out."
        )
    if parts > 1 and training.tokens is not None:
        yield (
            f"{where}.accumulate_batches = {parts}: tokens = {training.tokens} says how much is"
            " computed at once. Leave one out."
        )
    if training.batch_norm is None:
        return
    norm = f"{where}.batch_norm = {training.batch_norm!r}"
    if training.compile or training.activation_checkpoints:
        other = "compile" if training.compile else "activation_checkpoints"
        yield (
            f"{norm}: not with {other}, by which layers are computed where their statistics are not"
            f" looked after. Leave {other} out."
        )
    in_parts = "tokens" if training.tokens is not None else f"accumulate_batches = {parts}"
    if training.batch_norm == "sync" and (parts > 1 or training.tokens is not None):
        yield (
            f"{norm}: statistics are those of a whole step's rows, but {in_parts} takes them in"
            ' parts. Leave that out, or say batch_norm = "frozen".'
        )


def check_tokens(training: Training, model: FitModel, where: str) -> Problems:
    """Yield why texts of like length are not for this network; `where` is the training's key."""
    if training.tokens is None:
        return
    key = f"{where}.tokens = {training.tokens}"
    if model.kind == "custom":
        yield f"{key}: a custom network is given `most` n-grams of each text. Leave it out."
    elif model.text_hashing is None and not getattr(model, "reads_text", False):
        yield f"{key}: {model.kind!r} reads no text. Leave it out."


def check_augment(training: Training, seen: Mapping[str, Features | None], where: str) -> Problems:
    """Yield why what is seen of pools, by the pool, cannot be altered as the training says."""
    if training.augment is None:
        return
    for pool, features in seen.items():
        for problem in training.augment.misfits(features, pool):
            yield f"{where}.{problem}"


def check_shares(student: Student, where: str) -> Problems:
    """Yield sources whose share of a batch is not whole rows a lane."""
    targets = {term.pool for term in student.terms if term.pool}
    has_label_sets = any(term.label_set for term in student.terms)
    for pool, share in student.batch_share.items():
        share_key = f"{where}.batch_share.{pool} = {share:g}"
        if pool not in targets:
            there = ", ".join(sorted(targets)) or "none"
            yield f"{share_key}: no term learns the target of that pool. There is: {there}."
        elif has_label_sets and student.on == (pool,):
            yield (
                f"{share_key}: its rows are seen with label sets, and those give batch_rows."
                " Leave it out."
            )
        else:
            yield from _whole_rows(student.training, share, share_key)


def check_row_limits(student: Student, where: str) -> Problems:
    """Yield pools of `rows` that teach nothing, and those that are seen together with others that
    have no limit; `where` is the student's key."""
    for pool in student.rows:
        if pool not in student.taught_on:
            there = ", ".join(student.taught_on)
            yield f"{where}.rows.{pool}: that pool teaches nothing. There is: {there}."
    limited = set(student.rows).intersection(student.on)
    if limited and limited != set(student.on) and any(term.label_set for term in student.terms):
        others = sorted(set(student.on) - limited)
        yield (
            f"{where}.rows: {sorted(limited)} are seen together with {others}, which have no limit."
            " Name all of them, or none."
        )


def _whole_rows(training: Training, share: float, share_key: str) -> Problems:
    rows = training.batch_rows // training.lanes
    wanted = share * rows
    if wanted >= 1 and abs(wanted - round(wanted)) < _ROUNDING:
        return
    below = max(1, int(wanted))
    above = min(rows, int(wanted) + 1)
    shares = [f"{count / rows:.6g}" for count in sorted({below, above})]
    yield (
        f"{share_key}: is {wanted:.4g} of the {rows} rows that each of {training.lanes} lanes gives"
        " to a step, where whole rows are due, one at the least."
        f" Write {' or '.join(shares)}, or change batch_rows."
    )
