"""Every error that distill raises on purpose. A message says what is wrong with the value, where,
and what to do next.

DistillError
├── InputError            wrong before any work (exit code 2)
│   ├── JobError          the job file: unknown key, wrong type, impossible combination
│   ├── PoolError         a pool: unreachable, changed, a missing column
│   ├── ContractError     labels that do not mean what the job says they mean
│   ├── ResourceError     the cluster can never give what the job asks for
│   ├── BusyError         another driver is at work on the same label set or student
│   └── MissingExtraError an optional library is not installed
├── LimitError            a limit that the job sets is passed; all work is done (exit code 3)
│   └── BudgetError       the budget is spent; what is left is not begun
└── WorkError             failed after work began (exit code 1)
    ├── LabelerError      a labeler raised: its own traceback, shard and row
    ├── StorageError      an object is lost, damaged or cannot be written
    ├── TrainingError     a student could not be trained
    │   └── UnlearnableError  and that is the job's or the data's doing: others of its sweep can be
    ├── ExportError       a student could not be exported
    └── RejectedError     more rows were rejected than the job allows, or all of them
"""

from __future__ import annotations


class DistillError(Exception):
    """Base of all errors that carry a message for the person at the terminal."""


class InputError(DistillError):
    """What was given cannot work; nothing has been done yet."""


class JobError(InputError):
    """The job file is wrong."""


class PoolError(InputError):
    """A pool cannot be read as the job says."""


class ContractError(InputError):
    """Stored labels and the job do not mean the same."""


class ResourceError(InputError):
    """The cluster can never give what the job asks for."""


class BusyError(InputError):
    """Another driver is at work on the same label set or student."""


class MissingExtraError(InputError):
    """An optional library is not installed."""

    def __init__(self, library: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {library}, which is not installed."
            f" Run: pip install 'distill[{extra}]'"
        )
        self._arguments = (library, extra, purpose)

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str, str]]:
        # it travels from a worker by pickle, which would call the class with the message alone
        return type(self), self._arguments


class LimitError(DistillError):
    """All work is done, and what came of it is beyond a limit that the job sets."""


class BudgetError(LimitError):
    """The budget is spent: what was done is stored, and what is left is not begun."""


class WorkError(DistillError):
    """Work began and could not be finished; what was committed stays."""


class LabelerError(WorkError):
    """A labeler raised on a row."""


class StorageError(WorkError):
    """Object storage lost, damaged or refused an object."""


class TrainingError(WorkError):
    """A student could not be trained."""


class UnlearnableError(TrainingError):
    """What a student is to learn cannot be learned so; all ranks of its team find that alike."""


class ExportError(WorkError):
    """A student could not be exported."""


class RejectedError(WorkError):
    """More rows were rejected than the job allows, or all of them."""
