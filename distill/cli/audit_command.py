"""`distill audit`: how well the rows that taught can be told from others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from distill.cli.options import JobFile, Work, working
from distill.cli.terminal import print_table, say
from distill.core.errors import LimitError

if TYPE_CHECKING:
    from distill.core.audit_results import Attack, AuditResult, SubjectResult

commands = typer.Typer()

_HEADS = ["", "attack", "AUC", "95%", "found at 1% false", "at 0.1%"]


@commands.command()
@working
def audit(job: JobFile, *, work: Work) -> None:
    """How well the rows that taught can be told from others, by attacks and by canaries."""
    with work.begin() as process:
        loaded = work.load(job)
        from distill.core.judgement import gate_sentences
        from distill.core.privacy import NO_STATEMENT
        from distill.run import audit_models

        found, gate = audit_models(loaded, say, engine=process.engine)
        print_audit(found)
        if any(each.statement is None for each in found.subjects):
            say(NO_STATEMENT)
        sentences = gate_sentences(gate) if gate else []
        if sentences:
            raise LimitError("\n".join(sentences))


def print_audit(audit: AuditResult) -> None:
    """Print what each attack found of each subject."""
    rows = [
        _cells(audit, subject, attack) for subject in audit.subjects for attack in subject.attacks
    ]
    print_table("Who taught it", _HEADS, rows)
    say(
        f"{audit.members:,} rows of {audit.members_pool} that taught, {audit.others:,} of"
        f" {audit.others_pool} that did not; {audit.left_out:,} left out, {audit.doubles:,} that"
        f" taught nothing have a double that did; {audit.shadows} shadows. AUC 0.5 is guessing."
    )


def _cells(audit: AuditResult, subject: SubjectResult, attack: Attack) -> list[str]:
    from distill.core.audit_results import RATES, TITLES

    low, high = attack.interval(audit.members, audit.others)
    tenth, one = (attack.rate(share) for share in RATES)
    cells = [subject.name, TITLES[attack.kind], f"{attack.auc:.3f}", f"{low:.3f} to {high:.3f}"]
    return [*cells, one.in_words, tenth.in_words]
