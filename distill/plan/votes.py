"""Label sets of noisy votes: what they claim of their teachers' budget, and what is promised by it.

votes/<fit>/<digest of the fit>/{spent, answers}/…          the account of its teachers

Teachers of other settings, or of rows that changed, are others and have an account of their own. What
they answered is about the same people all the same, so it is said beside each statement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from distill.core.dp.allowance import Allowance, spent_epsilon
from distill.core.dp.renyi import ORDERS, epsilon_of, no_cost
from distill.core.privacy import PrivacyStatement
from distill.labels.vote_answers import AnswerJournal
from distill.labels.vote_ledger import SPENT, LedgerEntry, VoteClaim, read_ledger
from distill.plan.identity import fit_folder
from distill.plan.workspace import Workspace
from distill.spec.labels import Labels
from distill.spec.pate import Pate, Teachers
from distill.storage.base import Storage

_NOT_PROTECTED = (
    "The rows that are labelled are not protected, nor is what else the private rows taught.",
    "The teachers themselves, and what lies beside them, are as private as the rows.",
)
_OF_ADDRESSES = (
    "Rows are told apart by their place in the files: the bound is for one row replaced by another,"
    " and not for all rows of one person."
)


@dataclass(frozen=True)
class VotesStep:
    """What a label set asks of its teachers; the digest of the set is added when it is begun."""

    account: str
    """URI of the folder that says what the teachers have answered."""
    labeler: Pate
    answered: Mapping[str, str]
    """Label sets of the job that they have labelled rows of: names by digest."""
    elsewhere: str
    """What other teachers of the fit have spent on the same people, in words; "" where nothing."""

    def claim(self, name: str, label_set: str, rows: int) -> VoteClaim:
        """Return the claim of a label set over so many rows."""
        table = self.labeler
        asked = rows if table.asked is None else min(rows, table.asked)
        is_limited = table.asked is not None
        return VoteClaim(
            name, label_set, table.vote, table.epsilon, table.delta, asked, limited=is_limited
        )


def votes_step(workspace: Workspace, name: str) -> VotesStep | None:
    """Return what `labels.<name>` asks of its teachers; None of any other labeler."""
    labeler = workspace.tables.labels[name].labeler
    if not isinstance(labeler, Pate):
        return None
    account = votes_account(workspace, labeler.fit)
    others = _entries_elsewhere(workspace, labeler.fit, account)
    answered = _answered(workspace, labeler.fit)
    # of a stale label set: not lost, but of the teachers of before
    for entry in others:
        answered.pop(entry.label_set, None)
    return VotesStep(account.uri, labeler, answered, _elsewhere(labeler, others))


def votes_account(workspace: Workspace, fit: str) -> Storage:
    """Return the folder of the account of a fit's teachers."""
    folder = fit_folder(workspace, fit)
    # where accounts lay before; what is begun there goes on there
    if folder.folder(SPENT).list_objects():
        return folder
    return workspace.root_of(f"fit.{fit}").folder("votes", fit, folder.uri.rsplit("/", 1)[1])


def _entries_elsewhere(workspace: Workspace, fit: str, account: Storage) -> list[LedgerEntry]:
    """What former teachers of a fit were given. Raises StorageError where an entry is lost."""
    root = workspace.root_of(f"fit.{fit}")
    found = []
    # the second is where accounts lay before
    for folder in (root.folder("votes", fit), root.folder("fits", fit)):
        paths = [entry.key.split("/") for entry in folder.walk()]
        digests = {path[0] for path in paths if path[1:2] == [SPENT]}
        for each in sorted(digests):
            other = folder.folder(each)
            if other.uri != account.uri:
                found += read_ledger(other)
    return found


def _elsewhere(labeler: Pate, others: Sequence[LedgerEntry]) -> str:
    if not others:
        return ""
    spent = spent_epsilon([entry.allowance for entry in others], labeler.delta)
    return (
        f"Former teachers of fit.{labeler.fit} (of other settings, or before rows changed) have"
        f" answered with epsilon = {spent:.3g}. Of people among their rows too, both add up."
    )


def _answered(workspace: Workspace, fit: str) -> dict[str, str]:
    found = {}
    for name, labels in workspace.tables.labels.items():
        if not isinstance(labels.labeler, Pate) or labels.labeler.fit != fit:
            continue
        for pool in labels.over:
            label_set = workspace.label_set(name, pool)
            if label_set.stored is not None and len(label_set.entries):
                found[label_set.stored.label_set] = name
    return found


def allowed_fraction(labels: Labels) -> float:
    """Return which share of a label set's rows may be rejected: of noisy votes all, unless the job
    says otherwise, since what is beyond the budget is."""
    is_said = "max_rejected_fraction" in labels.model_fields_set
    if isinstance(labels.labeler, Pate) and not is_said:
        return 1.0
    return labels.max_rejected_fraction


def votes_statement(workspace: Workspace, name: str) -> PrivacyStatement | None:
    """Return what is promised by `labels.<name>`, those that asked its teachers before it included;
    None of any other labeler, or before anything was asked. Raises StorageError."""
    labeler = workspace.tables.labels[name].labeler
    if not isinstance(labeler, Pate):
        return None
    account = votes_account(workspace, labeler.fit)
    (pool,) = workspace.tables.labels[name].over
    stored = workspace.label_set(name, pool).stored
    if stored is None:
        return None
    entries = read_ledger(account)
    digests = [entry.label_set for entry in entries]
    if stored.label_set not in digests:
        return None
    own = digests.index(stored.label_set)
    spent = [entry.allowance for entry in entries[: own + 1]]
    fit = workspace.tables.fit[labeler.fit]
    assert fit.teachers is not None
    curve = no_cost()
    for label_set in digests[: own + 1]:
        curve = sum(AnswerJournal(account, label_set).spent_by_votes(), curve)
    notes = _NOT_PROTECTED if fit.teachers.by else (*_NOT_PROTECTED, _OF_ADDRESSES)
    elsewhere = _elsewhere(labeler, _entries_elsewhere(workspace, labeler.fit, account))
    if elsewhere:
        notes = (*notes, elsewhere)
    return PrivacyStatement(
        mechanism=labeler.vote.kind,
        epsilon=spent_epsilon(spent, labeler.delta),
        delta=labeler.delta,
        unit=_unit(fit.teachers),
        over=(workspace.tables.base_pool(fit.on),),
        accounting=_accounting(spent, fit.teachers),
        notes=notes,
        data_dependent_epsilon=epsilon_of(curve, labeler.delta),
    )


def _unit(teachers: Teachers) -> str:
    return "row" if teachers.by is None else f"{teachers.by} (all rows of it)"


def _accounting(spent: Sequence[Allowance], teachers: Teachers) -> str:
    asked = sum(each.asked for each in spent)
    answered = sum(each.answered for each in spent)
    return (
        f"Rényi DP at {len(ORDERS)} orders of at most {answered:,} answers to {asked:,} questions by"
        f" {teachers.count} teachers, whatever their votes"
    )
