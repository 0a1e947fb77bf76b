"""What is asked of the model: which labeler at how many GPUs is how near to linear, what binds
first, and what would bind last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.benchmarks.simulation import published
from tests.benchmarks.simulation.costs import Costs
from tests.benchmarks.simulation.model import Case, Outcome, simulate, start_seconds

FRAGMENT_ROWS = 50_000
FILE_ROWS = 1_000_000
IMAGE_BYTES = 20_000.0
TEXT_BYTES = 300.0
NUMBERS_BYTES = 256.0
LINEAR = 0.90
"""Within a tenth of linear."""
FOOTER_READERS = 64
"""At once: a CPU reader each, by `fold`."""


@dataclass(frozen=True)
class Studied:
    """One case of the study."""

    labeler: str
    case: Case
    outcome: Outcome
    start: float
    """Seconds from the command to the first task, without what nodes take to come."""


def labelling(labeler: str, rows: int, gpus: int, **changes: object) -> Case:
    """Return a labelling on S3, on spot machines of the worst published class."""
    is_image = labeler.startswith("image")
    row_bytes = IMAGE_BYTES if is_image else TEXT_BYTES
    if labeler.startswith("features"):
        row_bytes = NUMBERS_BYTES
    case = Case(
        rows=rows,
        fragment_rows=FRAGMENT_ROWS,
        gpus=gpus,
        rows_a_second=published.ROWS_A_SECOND[labeler],
        decodes=is_image,
        losses_an_hour=published.LOSSES["20% a month"],
        replaced_seconds=published.START_SECONDS,
        gets_a_second=published.GETS_A_SECOND,
        puts_a_second=published.PUTS_A_SECOND,
        request_seconds=published.REQUEST_SECONDS,
        bytes_a_second=published.BYTES_A_SECOND,
        row_bytes=row_bytes,
    )
    return replace(case, **changes)  # type: ignore[arg-type]


def study(
    costs: Costs, labelers: Iterable[str], rows: Sequence[int], gpus: Sequence[int]
) -> Iterator[Studied]:
    """Yield what each labeler, size of pool and number of GPUs comes to."""
    for labeler in labelers:
        for number in rows:
            for count in gpus:
                yield studied(labeler, labelling(labeler, number, count), costs)


def studied(labeler: str, case: Case, costs: Costs) -> Studied:
    """Return what one case comes to."""
    files = -(-case.rows // FILE_ROWS)
    start = start_seconds(case, costs, files, published.LIST_KEYS, FOOTER_READERS)
    return Studied(labeler, case, simulate(case, costs), start)


def remedies(case: Case, gpus: int) -> dict[str, Case]:
    """Return a case as it is, and with what is there already that would help."""
    larger = 10 * case.fragment_rows
    drivers = min(64, gpus)
    found = {
        "as it is": case,
        f"fragments of {larger:,} rows": replace(case, fragment_rows=larger),
        f"{drivers} drivers (--part n/{drivers})": replace(case, drivers=drivers),
        f"{drivers} drivers, {larger:,} rows": replace(case, drivers=drivers, fragment_rows=larger),
        f"{drivers} drivers, 16 prefixes": replace(case, drivers=drivers, prefixes=16),
    }
    if case.decodes:
        found["32 CPUs a GPU"] = replace(case, cpus=32.0)
    return found
