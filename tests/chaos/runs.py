"""One run: its folder and store, the processes it started, what happened, and the verdict."""

from __future__ import annotations

import json
import os
import random
import re
import signal
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from distill.plan.load import load_job
from distill.storage.base import Storage
from tests.chaos.cases import Case
from tests.chaos.places import S3Server
from tests.chaos.watched import Watched
from tests.command import Ended, distill, kill_session
from tests.raylets import Raylets
from tests.resolved import label_set
from tests.waiting import slowness

MOST_RERUNS = 4
MOST_SILENT_SECONDS = 60
"""A line is due then, and comes some seconds later."""
LABELER_SECONDS = 0.15
LABELS = "labels/teacher/v1/rows"


@dataclass
class Run:
    """What a fault gets into its hands."""

    seed: int
    case: Case
    folder: Path
    root: Storage
    pool: Storage
    draw: random.Random
    server: S3Server
    undisturbed: str
    """Label hash."""
    environment: Mapping[str, str] = field(default_factory=dict)
    local: bool = False
    """Whether the commands work in their own process: where the fault is not about Ray."""
    cluster: Callable[[], Raylets] | None = None
    """The Ray that other commands join, unless they need one of their own."""
    happened: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    doubled: int = 0
    missing: int = 0
    refused: int = 0
    """Commands that had to refuse or to stop by name, and did."""
    started: list[Watched] = field(default_factory=list)
    reruns: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for key, content in self.case.shards.items():
            self.pool.put(key, content)
        self.write_job()

    def write_job(self, *changes: tuple[str, str], seconds: float = LABELER_SECONDS) -> None:
        """The job as it should be, or with pieces of its text, or of its labeler's, replaced;
        `seconds` a call of the labeler."""
        self.job = self.case.write_job(
            self.folder, pool=self.pool.uri, root=self.root.uri, seconds=seconds
        )
        for old, new in changes:
            file = next(
                file
                for file in (self.job, self.folder / "labeler.py")
                if old in file.read_text("utf-8")
            )
            file.write_text(file.read_text("utf-8").replace(old, new), "utf-8")

    def start(
        self, *options: str, own_ray: bool = False, failpoint: str = "", **environment: str
    ) -> Watched:
        """Begin `distill label`; `own_ray` is for a fault that kills or stops a whole Ray. An
        environment reaches the actors of an own one alone; a failpoint reaches all."""
        if failpoint:
            (self.folder / "failpoint").write_text(failpoint)
        if self.local and "--local" not in options:
            options = ("--local", *options)
        elif self.cluster and not (own_ray or environment or {"--ray", "--local"} & {*options}):
            raylets = self.cluster()
            options = ("--ray", raylets.address, *options)
            environment = raylets.environment
        begun = Watched(
            self.commits, "label", self.job, *options, **{**self.environment, **environment}
        )
        self.started.append(begun)
        return begun

    def kill_everything(self, begun: Watched) -> None:
        """SIGKILL of a command, and of its actors on a Ray that goes on."""
        for pid in self.told("actors"):
            with suppress(OSError):
                title = Path(f"/proc/{pid}/cmdline").read_bytes()
                if title.startswith(b"ray::"):
                    os.kill(pid, signal.SIGKILL)
        begun.kill_everything()

    def label(self, **environment: str) -> Ended:
        """`distill label` to its end."""
        return self.start(**environment).end()

    def commits(self) -> int:
        """Commits there are."""
        return len(self.labels.folder("commits").list_objects())

    @property
    def labels(self) -> Storage:
        """The label set's folder."""
        return self.root.folder(*LABELS.split("/"))

    def calls(self) -> int:
        """How often the labeler was asked."""
        return len(self.told("calls"))

    def told(self, name: str) -> list[int]:
        """Pids that labelers wrote to one of their files."""
        with suppress(FileNotFoundError):
            return [int(line) for line in (self.folder / name).read_text().split()]
        return []

    def in_the_middle(self, begun: Watched) -> bool:
        """Wait until the labeler was asked some more times; False where the command ended before."""
        due = self.calls() + self.draw.randint(2, 8)
        struck = begun.wait(lambda: self.calls() >= due, f"call {due} of the labeler")
        self.say(f"at call {self.calls()}" if struck else "came too late")
        return struck

    def say(self, what: str) -> None:
        """Note what happened."""
        self.happened.append(what)

    def expect(self, ended: Ended, codes: tuple[int, ...], *said: str) -> None:
        """Hold an end against what is documented: its exit code, and in its words each of `said`
        (regular expressions)."""
        self.say(f"exit {ended.code}")
        before = len(self.problems)
        if ended.code not in codes:
            self.problems.append(
                f"exit code {ended.code}, where {codes} was due: {ended.output[-600:]}"
            )
        if "Traceback (most recent call last)" in ended.output:
            self.problems.append(f"a traceback: {ended.output[-1500:]}")
        if ended.code:
            for words in said:
                if not re.search(words, ended.output):
                    self.problems.append(f"not said: {words!r} in {ended.output[-600:]}")
        self.refused += 0 not in codes and len(self.problems) == before

    def finish(self) -> None:
        """The same command until it ends with 0: by itself, which to a root is as on Ray, unless a
        cluster prepares its rows."""
        behind = () if self.case.kind.prepare else ("--local",)
        for _ in range(MOST_RERUNS):
            self.reruns += 1
            ended = self.start(*behind).end()
            self.expect(ended, (0, 1))
            if ended.code == 0:
                return
        self.problems.append(f"not done after {MOST_RERUNS} reruns: {ended.output[-600:]}")

    def verify(self) -> Ended:
        """`distill verify`; the canaries' calls are counted apart."""
        return distill("verify", self.job, **{**self.environment, "CHAOS_CALLS": "canaries"})

    def label_hash(self) -> str:
        """Of what is stored now."""
        return label_set(load_job(self.job), "teacher", "rows").label_hash

    def judge(self) -> None:
        """The verdict: what is wrong goes to `problems`."""
        verified = self.verify()
        if verified.code:
            self.problems.append(f"verify: {verified.output[-800:]}")
        if self.label_hash() != self.undisturbed:
            self.problems.append("the label hash is not that of the undisturbed run")
        self.doubled, self.missing = covered(self.committed(), self.case.rows)
        if self.doubled or self.missing:
            self.problems.append(f"{self.doubled} rows doubled, {self.missing} missing")
        if self.longest_silence > MOST_SILENT_SECONDS + 5 * slowness():
            self.problems.append(f"silent for {self.longest_silence:.0f} s")

    @property
    def longest_silence(self) -> float:
        """Of all its commands."""
        return max((begun.longest_silence for begun in self.started), default=0.0)

    def committed(self) -> list[tuple[int, int, int]]:
        """Shard, start and rows of every fragment's highest generation, read from the commits
        without the product's help."""
        folder, newest = (
            self.labels.folder("commits"),
            dict[tuple[int, int], tuple[int, tuple[int, int, int]]](),
        )
        for entry in folder.list_objects():
            try:
                body = json.loads(folder.read(entry.key))["body"]
            except (
                ValueError
            ):  # damaged, and mended in the next generation: if not, its rows are missing
                continue
            fragment = (body["shard"], body["number"])
            if newest.get(fragment, (-1,))[0] < body["generation"]:
                newest[fragment] = (
                    body["generation"],
                    (body["shard"], body["start"], body["rows"]),
                )
        return [where for _, where in newest.values()]

    def end(self) -> None:
        """End whatever of it still runs."""
        for begun in self.started:
            kill_session(begun.process.pid)


def covered(fragments: list[tuple[int, int, int]], shard_rows: tuple[int, ...]) -> tuple[int, int]:
    """Rows that more than one fragment has, and rows that none has."""
    times = [[0] * rows for rows in shard_rows]
    for shard, start, rows in fragments:
        for row in range(start, start + rows):
            times[shard][row] += 1
    flat = [count for shard in times for count in shard]
    return sum(count > 1 for count in flat), sum(count == 0 for count in flat)
