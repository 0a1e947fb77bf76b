"""What is sent to a labeler actor, and what comes back: plain values, for any scheduler."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import count, groupby
from typing import Any

from distill.labelers.recipe import Recipe
from distill.labels.commit import Commit, WriteIntent
from distill.labels.contract import Contract
from distill.loader.merged_values import StoredValues
from distill.spec.pools import Features
from distill.stages.label.asked_rows import AskedRows


@dataclass(frozen=True)
class PoolPart:
    """One pool of a labelling: where its files lie, where its label set lies, the set's digest, and
    the files' format."""

    files: str
    folder: str
    label_set: str
    format: str
    # the one device and libraries that labels may be made on; None where any will do
    made_on: str | None = None
    # as the stored contract of the set has it; the labelling's own contract is of all its sets
    digest_key: str = ""
    # what the labeler sees in place of the pool's features: another label set's values
    values: StoredValues | None = None

    def own(self, contract: Contract) -> Contract:
        """Return a labelling's contract as that of this pool's label set."""
        return replace(contract, digest_key=self.digest_key)


@dataclass(frozen=True)
class CompanionConfig:
    """A label set that is written along: another answer of the same network."""

    name: str
    recipe: Recipe
    contract: Contract
    pools: Mapping[str, PoolPart]


@dataclass(frozen=True)
class LabelConfig:
    """What an actor is given once."""

    name: str  # of the label set
    recipe: Recipe
    contract: Contract
    features: Features
    width: int
    pools: Mapping[str, PoolPart]
    strict: bool = False  # whether a labeler that answers differently each time is refused
    asked: AskedRows | None = None  # of noisy votes: which rows are asked about
    companions: tuple[CompanionConfig, ...] = ()


@dataclass(frozen=True)
class FragmentTask:
    """One fragment to label."""

    pool: str
    key: str  # of the shard
    intent: WriteIntent
    group: int | None = None  # the row group that it is a part of; None where it is whole ones
    ask_again: int = 0  # about so many rows of its first batch the labeler is asked a second time
    # whether an earlier attempt may have written it without committing it
    may_be_written: bool = False

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        # not `asdict`, which copies every value deeply: a second for 100,000 tasks
        return {**vars(self), "intent": vars(self.intent)}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> FragmentTask:
        """Return the task of which `to_plain` made `plain`."""
        intent_fields = plain["intent"]
        intent = WriteIntent(**intent_fields)
        fields = {**plain, "intent": intent}
        return cls(**fields)


def group_tasks(tasks: Iterable[FragmentTask]) -> Iterator[list[dict[str, Any]]]:
    """Yield plain tasks in groups that one actor works on: parts of one large row group together,
    so that it is decoded once; each other fragment alone."""
    numbers = count()

    def group_key(task: FragmentTask) -> object:
        if task.group is None:
            return next(numbers)
        return (task.pool, task.key, task.group)

    for _, group in groupby(tasks, group_key):
        yield [task.to_plain() for task in group]


@dataclass(frozen=True)
class Failure:
    """A fragment that could not be labelled, and what a person needs to mend it."""

    where: str  # shard and row
    signature: str  # the same for the same mistake in another fragment
    trace: str  # the user's own lines


@dataclass(frozen=True)
class FragmentResult:
    """One finished task: a commit, or a failure."""

    pool: str
    fragment: str
    commit: Commit | None = None
    failure: Failure | None = None
    # what a person should know of the labeler, found at its first batch
    notes: tuple[str, ...] = ()
    # whether it was committed before this task began, so that nothing was computed
    was_there: bool = False
    # whether an earlier attempt's data was committed, so that nothing was computed either
    was_written: bool = False
    # what was committed along, by the label set
    companions: Mapping[str, Commit] = field(default_factory=dict)
    worker: str = field(default="", compare=False)  # host and process id of who did it
    # in which the worker's labeler was at work, since its result before this one
    busy_seconds: float = field(default=0.0, compare=False)

    def to_plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> FragmentResult:
        """Return the result of which `to_plain` made `plain`."""
        commit = Commit(**plain["commit"]) if plain["commit"] else None
        failure = Failure(**plain["failure"]) if plain["failure"] else None
        listed = plain["notes"]
        notes = tuple(listed)
        companions = {name: Commit(**each) for name, each in plain["companions"].items()}
        return cls(
            plain["pool"],
            plain["fragment"],
            commit,
            failure,
            notes,
            was_there=plain["was_there"],
            was_written=plain["was_written"],
            companions=companions,
            worker=plain["worker"],
            busy_seconds=plain["busy_seconds"],
        )
