"""Label sets of noisy votes: what they claim of their teachers' budget, and what is promised by it.

votes/<fit>/<digest of the fit>/{spent, answers}/…          the account of its teachers

Teachers of other settings, of rows that changed, or of another fit are others and have an account of
their own. What they answered is about the same people where their rows are of the same pool: all of
them spend one budget (`labels.vote_ledger`), and each statement says what the others have spent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from distill.core.dp.allowance import Allowance, spent_epsilon
from distill.core.dp.renyi import ORDERS, epsilon_of, no_cost
from distill.core.privacy import PrivacyStatement
from distill.labels.vote_answers import AnswerJournal
from distill.labels.vote_entries import SPENT, LedgerEntry, OtherAccounts, read_ledger
from distill.labels.vote_ledger import VoteClaim
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
    over: str
    """Pool of the private rows."""
    others: OtherAccounts
    """Those of other teachers of the same people."""

    def claim(self, name: str, label_set: str, rows: int) -> VoteClaim:
        """Return the claim of a label set over so many rows."""
        table = self.labeler
        asked = rows if table.asked is None else min(rows, table.asked)
        is_limited = table.asked is not None
        return VoteClaim(
            name,
            label_set,
            table.vote,
            table.epsilon,
            table.delta,
            asked,
            limited=is_limited,
            over=self.over,
        )


def votes_step(workspace: Workspace, name: str) -> VotesStep | None:
    """Return what `labels.<name>` asks of its teachers; None of any other labeler."""
    step = budget_of(workspace, name)
    if step is None:
        return None
    answered = _answered(workspace, step.labeler.fit)
    # of a stale label set: not lost, but of the teachers of before
    for entry in step.others.read():
        answered.pop(entry.label_set, None)
    return replace(step, answered=answered)


def budget_of(workspace: Workspace, name: str) -> VotesStep | None:
    """Return the same without a look at label sets: `answered` is empty."""
    labeler = workspace.tables.labels[name].labeler
    if not isinstance(labeler, Pate):
        return None
    account = votes_account(workspace, labeler.fit)
    others = other_accounts(workspace, labeler.fit, account)
    over = private_pool(workspace, labeler.fit)
    return VotesStep(account.uri, labeler, {}, over, others)


def votes_account(workspace: Workspace, fit: str) -> Storage:
    """Return the folder of the account of a fit's teachers."""
    folder = fit_folder(workspace, fit)
    # where accounts lay before; what is begun there goes on there
    if folder.folder(SPENT).list_objects():
        return folder
    return workspace.root_of(f"fit.{fit}").folder("votes", fit, folder.uri.rsplit("/", 1)[1])


def private_pool(workspace: Workspace, fit: str) -> str:
    """Return the pool whose rows a fit's teachers have seen."""
    tables = workspace.tables
    return tables.base_pool(tables.fit[fit].on)


def other_accounts(workspace: Workspace, fit: str, account: Storage) -> OtherAccounts:
    """Return the accounts of all other teachers that have seen the same rows."""
    tables = workspace.tables
    uri = tables.pool_uri(private_pool(workspace, fit))
    # two names of one folder are the same rows
    pools = frozenset(name for name in tables.pools if tables.pool_uri(name) == uri)
    fits = [name for name in tables.fit if private_pool(workspace, name) in pools]
    root = workspace.root_of(f"fit.{fit}").uri
    return OtherAccounts(root, account.uri, pools, frozenset(fits))


def _elsewhere(labeler: Pate, others: Sequence[LedgerEntry], over: str) -> str:
    if not others:
        return ""
    spent = spent_epsilon([entry.allowance for entry in others], labeler.delta)
    names = sorted({f"labels.{entry.name} of {entry.account}" for entry in others})
    return (
        f"Other teachers on rows of pools.{over} ({', '.join(names)}) have answered with epsilon ="
        f" {spent:.3g}. Both add up, and no claim may make their sum exceed its own budget."
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
    others = other_accounts(workspace, labeler.fit, account).read()
    elsewhere = _elsewhere(labeler, others, private_pool(workspace, labeler.fit))
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
