"""What `[audit]` says of its pools and of who is audited, and what a gate demands of it."""

from __future__ import annotations

from distill.plan.audit.subjects import audited_keys, why_not_audited
from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.audit import HELD_OUT, Audit


def check_audit(tables: JobTables) -> Problems:
    """Yield all problems of `[audit]`, and of the gate's rules about it."""
    audit = tables.audit
    if audit is None:
        if tables.gate is not None and tables.gate.audit:
            yield "gate.audit: the job has no [audit] that finds anything. Add one."
        return
    yield from _pools(tables, audit)


def check_audited(tables: JobTables) -> Problems:
    """Yield who cannot be audited, where the pools can be."""
    audit = tables.audit
    if audit is None:
        return
    yield from _trained_rows(tables, audit)
    for key in audit.of:
        kind, _, name = key.partition(".")
        there = {"fit": [*tables.fit], "labels": [*tables.labels]}
        if name not in there.get(kind, [*tables.students]):
            yield f"audit.of = {list(audit.of)}: there is no {key}. Take it out."
            continue
        for why in why_not_audited(tables, audit, key):
            yield f"audit.of: {key}: {why}"
    audited = audited_keys(tables, audit)
    for rule in tables.gate.audit if tables.gate else ():
        if rule.at not in audited:
            named = ", ".join(audited)
            known = named or "nothing"
            yield f"gate.audit: at = {rule.at!r}: is not audited. Audited is: {known}."


def _pools(tables: JobTables, audit: Audit) -> Problems:
    pools = tables.pools
    for key, name in (("members", audit.members), ("held_out", audit.others)):
        if name not in pools:
            there = ", ".join(each for each in pools if not each.endswith(HELD_OUT))
            yield f"audit.{key} = {name!r}: there is no such pool. There is: {there}."
            return
    members = pools[audit.members]
    others = pools[audit.others]
    if members.target is None:
        yield f"audit.members = {audit.members!r}: that pool has no target. Name a labelled pool."
    masked = sorted(set(members.mask) & set(members.read_columns))
    if audit.canaries and masked:
        yield (
            f"audit.canaries = {audit.canaries}: canaries are rows written anew, and {masked} of"
            f" pools.{audit.members} would be masked twice. Leave canaries out."
        )
    for what in ("features", "target", "classes", "outputs", "mask"):
        if getattr(members, what) != getattr(others, what):
            yield (
                f"audit.held_out = {audit.others!r}: its {what} are not those of"
                f" pools.{audit.members}, so other things than who taught would tell the rows"
                " apart. Hold out a share of the pool, or rows of the same form."
            )


def _trained_rows(tables: JobTables, audit: Audit) -> Problems:
    """Refuse rows for such that taught nothing, where something of the job is taught by them."""
    why = "taught by rows that are to have taught nothing. Hold out other ones."
    others = {audit.others, audit.whole}
    held_out = f"audit.held_out = {audit.held_out!r}"
    if tables.may_share_rows(audit.members, audit.others):
        yield f"{held_out}: has rows of pools.{audit.members}, which are {why}"
    for name, fit in tables.fit.items():
        if any(tables.may_share_rows(fit.on, each) for each in _known(tables, others)):
            yield f"{held_out}: fit.{name}.on = {fit.on!r} is {why}"
    for name, student in tables.students.items():
        for pool in student.taught_on:
            if any(tables.may_share_rows(pool, each) for each in _known(tables, others)):
                yield f"{held_out}: students.{name} learns from {pool!r}, and is {why}"


def _known(tables: JobTables, names: set[str]) -> list[str]:
    return [name for name in sorted(names) if name in tables.pools]
