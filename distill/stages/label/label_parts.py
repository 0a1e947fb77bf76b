"""How the driver of one part labels: its own part, then what is left of others', until nothing is.

    own part ► look ► take over ► look ► … ► wait ► look ► … ► every fragment is committed

A look lists the commits and the leases of the label set (`distill.labels.takeover`). A call of the
engine makes its workers anew, so a takeover is large: a half of what another driver has left. Who
finds nothing to take waits for what others have in work, and for lost drivers to be known as such.

A driver on which a fragment failed does not wait: it takes over what it can, and then raises.
"""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

import numpy as np

from distill.core.progress import WaitLine
from distill.labels.part_leases import PartLease, PartWatch, hold_part, hold_takeover
from distill.labels.parts import Part
from distill.labels.pending import PendingFragments
from distill.labels.takeover import (
    NOBODY,
    choose_takeover,
    holders,
    meets,
    own_fragments,
    pending_codes,
    still_uncommitted,
)
from distill.pools.fragments import fragment_id
from distill.stages.label.labelling import Labelling

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
_MOST_PAUSE_SECONDS = 15.0
# Each pause is so much longer than the one before: who waits long costs few requests.
_PAUSE_GROWTH = 1.3
_MOST_NAMED = 4


def label_part(labelling: Labelling, part: Part) -> None:
    """Label as the driver of `part`, until every fragment of all pools is committed.

    Raises BusyError where another driver holds the part or the whole set, LabelerError where the
    labeler raises, RejectedError over the job's budget of bad rows."""
    pools = labelling.pools
    name = f"label {labelling.step.name}, part {part}"
    with ExitStack() as held:
        for pool in pools.values():
            where = f"labels.{labelling.step.name} over {pool.pool.name}"
            held.enter_context(hold_part(pool.labels.folder, where, part))
        others = _Others(labelling, part)
        own = {key: own_fragments(pool.left, part) for key, pool in pools.items()}
        if any(map(len, own.values())):
            labelling.label(own, name)
        while others.look():
            if others.take_over(name):
                continue
            labelling.require_none_failed()
            others.wait()
        labelling.require_none_failed()
        others.forget_dead()


class _Others:
    """What other drivers have left, and who of them is at work."""

    def __init__(self, labelling: Labelling, part: Part) -> None:
        self._labelling = labelling
        self._part = part
        self._pools = labelling.pools
        self._left = {key: pool.left for key, pool in self._pools.items()}
        pools = self._pools.items()
        self._watch = {key: PartWatch(pool.labels.folder, part) for key, pool in pools}
        self._leases: dict[str, list[PartLease]] = {}
        self._draw = random.Random()  # noqa: S311  of pauses and choices
        self._line = WaitLine()
        self._pause = _PAUSE_SECONDS
        for key, watch in self._watch.items():
            # so that who has not beaten since is known to be lost when the own part is done
            self._leases[key] = watch.look()

    def look(self) -> bool:
        """Look what is committed and who works; return whether anything is left."""
        before = self._count()
        for key, left in self._rest():
            pool = self._pools[key]
            rest = still_uncommitted(left, pool.labels.folder, pool.before.entries)
            self._left[key] = rest
            if len(rest):
                self._leases[key] = self._watch[key].look()
        if self._count() != before:
            self._pause = _PAUSE_SECONDS
        return self._count() > 0

    def take_over(self, name: str) -> bool:
        """Label some of what is left, if there is something that nobody has in work; what failed
        here is left to others."""
        in_work = self._labelling.step.compute.min
        for key, left in self._rest():
            possible = self._without_failed(key, left)
            chosen = choose_takeover(possible, self._leases[key], in_work, self._draw)
            if chosen is None:
                continue
            pool = self._pools[key]
            begin, end = _borders(chosen)
            with hold_takeover(pool.labels.folder, self._part, begin, end) as mine:
                lease = self._leases[key]
                known = set(lease)
                watch = self._watch[key]
                at_work = watch.look()
                # of two that chose at once, the later at least sees the other
                if not meets(mine, [each for each in at_work if each not in known]):
                    log.info("%s: takes over %s", name, _counted(chosen))
                    title = f"{name}, taken over"
                    self._labelling.label({key: chosen}, title, taken_over=True)
                    return True
            self._pause_a_little()
            return True
        return False

    def wait(self) -> None:
        """Wait for others, and say in a line a minute for whom."""
        what = "; ".join(_waits_for(key, left, self._leases[key]) for key, left in self._rest())
        self._line.tell(f"labels.{self._labelling.step.name}, part {self._part}: waits for {what}")
        self._pause_a_little()
        self._pause = min(_PAUSE_GROWTH * self._pause, _MOST_PAUSE_SECONDS)

    def forget_dead(self) -> None:
        """Delete what lost drivers left of their leases."""
        for watch in self._watch.values():
            watch.forget_dead()

    def _rest(self) -> list[tuple[str, PendingFragments]]:
        return [(key, left) for key, left in self._left.items() if len(left)]

    def _count(self) -> int:
        return sum(map(len, self._left.values()))

    def _pause_a_little(self) -> None:
        # drivers that began at one time should not look at one time
        time.sleep(self._pause * self._draw.uniform(0.7, 1.3))

    def _without_failed(self, key: str, left: PendingFragments) -> PendingFragments:
        failed = [code for pool, code in self._labelling.failed if pool == key]
        is_possible = ~np.isin(pending_codes(left), failed)
        positions = left.positions[is_possible]
        return replace(left, positions=positions)


def _borders(chosen: PendingFragments) -> tuple[str, str]:
    """The fragments that a takeover begins and ends with."""
    first, last = chosen.positions[[0, -1]]
    shard, number = chosen.cut.shard, chosen.cut.number
    begin = fragment_id(shard[first], number[first])
    return begin, fragment_id(shard[last], number[last])


def _counted(left: PendingFragments) -> str:
    return f"{len(left)} fragment" if len(left) == 1 else f"{len(left)} fragments"


def _waits_for(pool: str, left: PendingFragments, leases: Sequence[PartLease]) -> str:
    """Who has how much of a pool in work."""
    held = Counter(holders(left, leases).tolist())
    drivers = sorted({leases[each].part for each in held if each != NOBODY}, key=str)
    named = ", ".join(map(str, drivers[:_MOST_NAMED]))
    more = ", …" if len(drivers) > _MOST_NAMED else ""
    return f"{_counted(left)} of {pool} in work by part {named}{more}"
