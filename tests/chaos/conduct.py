"""From a seed to its outcome: which faults it draws, where it runs, and the line that is kept of
it."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from distill.plan.load import load_job
from distill.storage.base import Storage
from distill.storage.open import open_storage
from tests.chaos import faults, stored
from tests.chaos.cases import Case, case_of
from tests.chaos.places import S3Server
from tests.chaos.runs import Run
from tests.command import distill
from tests.conftest import has_ceph
from tests.raylets import Raylets, static_raylet
from tests.resolved import label_set
from tests.waiting import wait_until

Strike = Callable[[Run, str], None]

KINDS: dict[Strike, tuple[str, ...]] = {**faults.KINDS, **stored.KINDS}
_INTERRUPTED_FIRST = 0.35
"""Share of the runs in which the fault meets a label set that another one left in the middle."""


def drawn(seed: int) -> list[tuple[Strike, str]]:
    """The faults of a seed, in order."""
    draw, kinds = random.Random(seed), list(KINDS)
    strike = kinds[seed % len(kinds)]
    found = [(strike, KINDS[strike][seed // len(kinds) % len(KINDS[strike])])]
    if draw.random() < _INTERRUPTED_FIRST:
        first = draw.choice(faults.INTERRUPTIONS)
        found.insert(0, (first, draw.choice(KINDS[first])))
    return found


class Conductor:
    """Runs seeds one after the other in a folder that it empties behind itself; one S3 server
    serves them all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.server = S3Server(folder / "s3")
        self._undisturbed: dict[int, str] = {}
        self._cluster: Raylets | None = None
        self._end = ExitStack()

    def run(self, seed: int) -> dict[str, Any]:
        """The line that is kept of one seed."""
        case, struck, began = case_of(seed), drawn(seed), time.monotonic()
        plain = {
            "seed": seed,
            "day": datetime.now(timezone.utc).date().isoformat(),
            "faults": [f"{strike.__name__}: {variant}" for strike, variant in struck],
        }
        if missing := _missing(struck[-1][0]):
            return {**plain, "outcome": "not run", "happened": missing}
        made = self._run(seed, case, struck[-1][0])
        try:
            for strike, variant in struck:
                made.say(f"{strike.__name__}, {variant}:")
                strike(made, variant)
            made.finish()
            calls = made.calls()
            made.judge()
        except Exception:  # noqa: BLE001  one run's trouble is that run's outcome
            made.problems.append(traceback.format_exc())
            calls = made.calls()
        finally:
            made.end()
        line = {
            **plain,
            "place": made.root.uri.split("://")[0] if "://" in made.root.uri else "disk",
            "pool": case.number,
            "happened": " ".join(made.happened),
            "seconds": round(time.monotonic() - began, 1),
            "reruns": made.reruns,
            "fragments": case.fragments,
            "computed_again": calls - case.fragments,
            "longest_silence": round(made.longest_silence, 1),
            "doubled": made.doubled,
            "missing": made.missing,
            "refused": made.refused,
            "outcome": "broken" if made.problems else "whole",
            "problems": made.problems,
        }
        self._forget(made)
        return line

    def end(self) -> None:
        """Stop the Ray and the S3 server."""
        self._end.close()
        self.server.stop()

    def cluster(self) -> Raylets:
        """A Ray of two nodes with a CPU each, started when the first run joins it; its actors find
        the S3 server. For a node that a run killed another comes."""
        if self._cluster is None:
            if has_ceph():
                self.server.bucket()
            self._cluster = self._end.enter_context(static_raylet())
        raylets = self._cluster
        if len(raylets.nodes()) < 2:
            raylets.join()
            wait_until(lambda: len(raylets.nodes()) == 2)
        return raylets

    def _run(self, seed: int, case: Case, strike: Strike) -> Run:
        undisturbed = self._hash(case)
        kinds, folder = list(KINDS), self.folder / str(seed)
        on_s3 = strike in stored.NEEDS_S3 or (
            has_ceph()
            and strike not in stored.NEEDS_DISK
            and (kinds.index(strike) + seed // len(kinds)) % 3 == 0
        )
        place = open_storage(
            f"{self.server.bucket()}/{seed}-{time.time_ns()}" if on_s3 else str(folder / "store")
        )
        if strike is stored.disk_full:
            stored.mount_small_disk(str(folder / "store" / "root"))
        return Run(
            seed,
            case,
            folder,
            place.folder("root"),
            place.folder("pool"),
            random.Random(seed + 1),
            self.server,
            undisturbed,
            local=strike not in faults.ABOUT_RAY and not case.kind.prepare,
            cluster=self.cluster,
        )

    def _hash(self, case: Case) -> str:
        """The label hash of an undisturbed run over a case, made once."""
        if case.number not in self._undisturbed:
            folder = self.folder / f"undisturbed-{case.number}"
            pool: Storage = open_storage(str(folder / "pool"))
            for key, content in case.shards.items():
                pool.put(key, content)
            job = case.write_job(folder, pool=pool.uri, root=str(folder / "root"), seconds=0)
            # what prepares its rows on a cluster labels the same without one
            text = job.read_text("utf-8").replace(case.kind.prepare, "")
            job.write_text(text, "utf-8")
            ended = distill("label", job, "--local")
            assert ended.code == 0, ended.output
            self._undisturbed[case.number] = label_set(load_job(job), "teacher", "rows").label_hash
        return self._undisturbed[case.number]

    def _forget(self, run: Run) -> None:
        root = Path(run.root.uri)
        if root.is_mount():
            subprocess.run(["umount", root], check=True)
        shutil.rmtree(run.folder)


def _missing(strike: Strike) -> str:
    """What this machine lacks for a fault; empty where it can be done."""
    if strike in stored.NEEDS_S3 and not has_ceph():
        return "needs Ceph's radosgw, ceph-mon and ceph-osd"
    if strike is stored.disk_full and os.geteuid():
        return "needs the right to mount a small tmpfs"
    return ""
