"""What a run lost on its way, counted from its events: nodes, labelling and training workers, and
the head node's answers. And what it did about it, in a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from distill.core.events import Event

NODE = "node"
WORKER = "worker"
GROUP = "training group"
HEAD = "head"
# of one, and of many
_NAMES = {
    NODE: ("node", "nodes"),
    WORKER: ("labelling worker", "labelling workers"),
    GROUP: ("group of training workers", "groups of training workers"),
}
_EVENTS = {
    "node_lost": NODE,
    "worker_restarted": WORKER,
    "workers_lost": GROUP,
    "head_silent": HEAD,
}


def lost_kind(event: Event) -> str | None:
    """Return what an event says was lost; None for an event of something else."""
    return _EVENTS.get(event.name)


def how_lost(event: Event) -> str:
    """Return in words how a node was lost (`preempted, spot`); "" where nobody knows."""
    known = [str(event.figures.get(name, "")) for name in ("why", "market")]
    listed = filter(None, known)
    return ", ".join(listed)


class Losses:
    """What was lost so far; an observer of events."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()  # by kind
        self.how: Counter[str] = Counter()  # of the nodes
        self.resumed = 0  # trainings that went on with another group

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if event.name == "training_resumed":
            self.resumed += 1
        kind = lost_kind(event)
        if kind is None:
            return
        self.counts[kind] += 1
        if kind == NODE:
            why = how_lost(event)
            self.how[why] += 1

    @property
    def line(self) -> str:
        """What was lost and what was done, in a line; "" where nothing was lost."""
        if not self.counts:
            return ""
        done = what_was_done(self.counts, self.resumed)
        return f"Lost on the way: {named_losses(self.counts, self.how)}. {done}".rstrip()


def named_losses(counts: Mapping[str, int], how: Mapping[str, int]) -> str:
    """Return `2 nodes (2 preempted, spot), 1 labelling worker`; "nothing" where all is 0."""
    names = []
    for kind, (one, many) in _NAMES.items():
        count = counts.get(kind, 0)
        if count:
            name = one if count == 1 else many
            names.append(f"{count:,} {name}")
            if kind == NODE and any(how):
                names[-1] += f" ({_named_ways(how)})"
    if HEAD in counts:
        times = "" if counts[HEAD] == 1 else f" ({_times(counts[HEAD])})"
        words = f"the head node for a time{times}"
        names.append(words)
    listed = ", ".join(names)
    return listed or "nothing"


def what_was_done(counts: Mapping[str, int], resumed: int) -> str:
    """Return a sentence for each thing that was done about it."""
    done = []
    if counts.get(NODE) or counts.get(WORKER):
        done.append("Fragments that were in work there were given out again.")
    if resumed:
        done.append(f"Training went on {_times(resumed)} from its newest checkpoint.")
    return " ".join(done)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _named_ways(how: Mapping[str, int]) -> str:
    ways = [f"{count} {way}" for way, count in sorted(how.items()) if way]
    return "; ".join(ways)
