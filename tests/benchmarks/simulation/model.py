"""A labelling as events: fragments from drivers to workers, through the store, and back.

    driver (one server: a result, the next task; a segment each 1,000 commits)
      ► a worker's queue, four tasks deep
      ► one of its two calls: GET ► CPU: read, decode ► GPU, one call at a time ► CPU: encode
      ► PUT data ► PUT commit ► the driver

Waiting lines are first come, first served: a driver, a store's prefix (so many requests a second),
a worker's CPUs and its GPU each serve one at a time. Within a call, a fragment is read before it is
labelled, which is pessimistic: distill reads ahead by batches. A worker is lost at a moment of an
exponential law, with all it has in work; another comes in its place after some time. Drivers of
parts share the store, and nothing else; none takes over from another.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.simulation.costs import Costs

SEGMENT_COMMITS = 1_000
_QUEUE = 4
_CALLS = 2


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is labelled, by whom, and where."""

    rows: int
    fragment_rows: int
    gpus: int
    rows_a_second: float
    """Of one GPU."""
    cpus: float = 8.0
    """Beside each GPU."""
    decodes: bool = False
    """Whether rows are images."""
    drivers: int = 1
    losses_an_hour: float = 0.0
    """Of a worker."""
    replaced_seconds: float = 0.0
    calls: int = _CALLS
    """Fragments that a worker has in work at once."""
    prefixes: int = 1
    gets_a_second: float = 1e9
    """Of a prefix."""
    puts_a_second: float = 1e9
    request_seconds: float = 0.0
    bytes_a_second: float = 1e12
    row_bytes: float = 0.0
    """That are read."""

    @property
    def fragments(self) -> int:
        """In all."""
        return -(-self.rows // self.fragment_rows)

    @property
    def ideal_seconds(self) -> float:
        """If GPUs did nothing but label."""
        return self.rows / (self.gpus * self.rows_a_second)


@dataclass
class Outcome:
    """What came of a simulation."""

    seconds: float
    """From the workers' start to the last commit."""
    efficiency: float
    """Ideal seconds over those."""
    busy: dict[str, float]
    """Share of the time in which each kind of server worked."""
    lost: int
    """Workers."""
    repeated: int
    """Fragments that were labelled again, or begun again."""

    @property
    def binds(self) -> str:
        """The kind of server that had the least time to spare."""
        return max(self.busy, key=lambda name: self.busy[name])


class _Server:
    """Serves one after another."""

    def __init__(self) -> None:
        self.free_at = 0.0
        self.busy = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Return when what arrives now is done."""
        self.free_at = max(now, self.free_at) + seconds
        self.busy += seconds
        return self.free_at


@dataclass
class _Driver:
    server: _Server = field(default_factory=_Server)
    left: int = 0
    """Fragments that nobody has in work."""
    commits: int = 0
    idle: deque[tuple[_Worker, int]] = field(default_factory=deque)
    """Workers for which there was no task, each with its life then."""


@dataclass
class _Worker:
    driver: _Driver
    cpu: _Server = field(default_factory=_Server)
    gpu: _Server = field(default_factory=_Server)
    life: int = 0
    queued: int = 0
    calls: int = 0
    """In work."""


class _Simulation:
    def __init__(self, case: Case, costs: Costs, seed: int) -> None:
        self.case = case
        self.draw = random.Random(seed)
        self.events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self.order = 0
        self.counts: Counter[str] = Counter()
        self.gets = [_Server() for _ in range(case.prefixes)]
        self.puts = [_Server() for _ in range(case.prefixes)]
        self.costs = costs
        rows = case.fragment_rows
        decoding = costs.image_seconds if case.decodes else 0.0
        row_seconds = costs.worker_row_seconds + decoding
        self.cpu_seconds = (costs.worker_fragment_seconds + rows * row_seconds) / case.cpus
        self.gpu_seconds = rows / case.rows_a_second
        transfer = rows * case.row_bytes / case.bytes_a_second
        self.get_seconds = case.request_seconds + transfer
        self.put_seconds = (
            costs.puts * case.request_seconds + rows * costs.row_bytes / case.bytes_a_second
        )
        self.drivers = [_Driver() for _ in range(case.drivers)]
        for number in range(case.fragments):
            self.drivers[number % case.drivers].left += 1
        self.workers = [_Worker(self.drivers[n % case.drivers]) for n in range(case.gpus)]

    def run(self) -> Outcome:
        """Go through all events."""
        for worker in self.workers:
            self._begin(0.0, worker)
        now = 0.0
        due = self.case.fragments
        while self.counts["commits"] < due:
            now, _, happen, arguments = heapq.heappop(self.events)
            happen(now, *arguments)
        return self._outcome(now)

    def _outcome(self, seconds: float) -> Outcome:
        case = self.case
        busy = {
            "driver": [driver.server for driver in self.drivers],
            "GET": self.gets,
            "PUT": self.puts,
            "CPU": [worker.cpu for worker in self.workers],
            "GPU": [worker.gpu for worker in self.workers],
        }
        shares = {
            name: sum(server.busy for server in servers) / len(servers) / seconds
            for name, servers in busy.items()
        }
        efficiency = case.ideal_seconds / seconds
        return Outcome(seconds, efficiency, shares, self.counts["lost"], self.counts["repeated"])

    def _at(self, when: float, happen: Callable[..., None], *arguments: Any) -> None:
        self.order += 1
        heapq.heappush(self.events, (when, self.order, happen, arguments))

    def _begin(self, now: float, worker: _Worker) -> None:
        """A worker is there."""
        if self.case.losses_an_hour:
            hours = self.draw.expovariate(self.case.losses_an_hour)
            self._at(now + 3_600 * hours, self._lose, worker, worker.life)
        self._fill(now, worker, worker.life, _QUEUE)

    def _fill(self, now: float, worker: _Worker, life: int, tasks: int) -> None:
        """Hand out so many tasks, one a round: who came at the same time has one each before any
        has two."""
        if life != worker.life:
            return
        self._hand_out(now, worker)
        if tasks > 1:
            self._at(now, self._fill, worker, life, tasks - 1)

    def _lose(self, now: float, worker: _Worker, life: int) -> None:
        if life != worker.life:
            return
        in_work = worker.queued + worker.calls
        self.counts["lost"] += 1
        self.counts["repeated"] += worker.calls
        worker.life += 1
        worker.queued = worker.calls = 0
        worker.cpu.free_at = worker.gpu.free_at = now
        self._at(now + self.case.replaced_seconds, self._begin, worker)
        self._return(now, worker.driver, in_work)

    def _hand_out(self, now: float, worker: _Worker) -> None:
        """The driver gives a worker a task, where it has one."""
        driver = worker.driver
        if not driver.left:
            driver.idle.append((worker, worker.life))
            return
        driver.left -= 1
        done = driver.server.serve(now, self.costs.driver_fragment_seconds)
        self._at(done, self._receive, worker, worker.life)

    def _receive(self, now: float, worker: _Worker, life: int) -> None:
        if life != worker.life:
            self._return(now, worker.driver, 1)
            return
        worker.queued += 1
        self._take(now, worker, life)

    def _return(self, now: float, driver: _Driver, tasks: int) -> None:
        """Tasks of a lost worker are the driver's again."""
        driver.left += tasks
        waiting = list(driver.idle)
        driver.idle.clear()
        for worker, life in waiting:
            if worker.life == life:
                self._hand_out(now, worker)

    def _take(self, now: float, worker: _Worker, life: int) -> None:
        """A free call takes a task from the worker's queue."""
        if life != worker.life or not worker.queued or worker.calls >= self.case.calls:
            return
        worker.queued -= 1
        worker.calls += 1
        prefix = self._prefix(self.gets)
        request = self.costs.gets / self.case.gets_a_second
        done = prefix.serve(now, request) + self.get_seconds
        self._at(done, self._prepare, worker, life)

    def _prepare(self, now: float, worker: _Worker, life: int) -> None:
        if life == worker.life:
            self._at(worker.cpu.serve(now, self.cpu_seconds), self._infer, worker, life)

    def _infer(self, now: float, worker: _Worker, life: int) -> None:
        if life == worker.life:
            self._at(worker.gpu.serve(now, self.gpu_seconds), self._write, worker, life)

    def _write(self, now: float, worker: _Worker, life: int) -> None:
        if life == worker.life:
            prefix = self._prefix(self.puts)
            request = self.costs.puts / self.case.puts_a_second
            done = prefix.serve(now, request) + self.put_seconds
            self._at(done, self._commit, worker, life)

    def _commit(self, now: float, worker: _Worker, life: int) -> None:
        if life != worker.life:
            return  # a zombie's commit is harmless, and rare: it is labelled again
        self.counts["commits"] += 1
        worker.calls -= 1
        self._take(now, worker, life)
        driver = worker.driver
        driver.commits += 1
        if driver.commits % SEGMENT_COMMITS == 0:
            driver.server.serve(now, self.costs.driver_segment_seconds)
        self._hand_out(now, worker)

    def _prefix(self, prefixes: list[_Server]) -> _Server:
        # keys of fragments spread evenly over prefixes, if there are several
        return prefixes[self.order % len(prefixes)]


def simulate(case: Case, costs: Costs, seed: int = 0) -> Outcome:
    """Return what labelling would be like. Lost workers are drawn by `seed`."""
    return _Simulation(case, costs, seed).run()


def start_seconds(case: Case, costs: Costs, files: int, list_keys: int, readers: int) -> float:
    """Return how long it takes from the command to the first task: listing, footers read by so many
    at once, and the plan."""
    listing = -(-files // list_keys) * case.request_seconds
    footers = files / readers * (costs.footer_seconds + 2 * case.request_seconds)
    return listing + footers + case.fragments * costs.plan_fragment_seconds
