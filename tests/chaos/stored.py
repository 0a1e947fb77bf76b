"""Faults of stores, inputs, jobs, and of stored bytes."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.bitflips import flipped
from tests.chaos.faults import NAMED
from tests.chaos.runs import Run
from tests.faulty_store import Fault, FaultyStore

OFTEN = {
    "503": "503:::0.1",
    "500 before": "500_before:::0.1",
    "500 after": "500_after:PUT::0.3",
    "reset before": "reset_before:::0.1",
    "reset after": "reset_after:PUT::0.3",
    "truncated": "truncated:GET::0.1",
    "slow": "slow:::0.02",
    "timeout": "timeout:PUT:commits/:#5",
}
"""Which requests go wrong, and how many of them."""
_DISK_BYTES = 64 << 20


def disk_full(run: Run, variant: str) -> None:
    """The root's disk is full in the middle: an error by name; with room again the same command
    goes on."""
    where, room = run.root.uri, {"early": 110 << 10, "late": 180 << 10}[variant]
    disk = os.statvfs(where)
    _remount(where, (disk.f_blocks - disk.f_bfree) * disk.f_frsize + room)
    run.expect(run.label(), (1,), "No space left on device")
    run.say(f"full at {run.commits()} commits")
    _remount(where, _DISK_BYTES)


def mount_small_disk(where: str) -> None:
    """A disk of its own for a root that will be full: before anything lies there."""
    Path(where).mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={_DISK_BYTES}", "chaos"]
    subprocess.run(["mount", *options, where], check=True, capture_output=True)


def _remount(where: str, size_bytes: int) -> None:
    subprocess.run(
        ["mount", "-o", f"remount,size={size_bytes}", where], check=True, capture_output=True
    )


def store_answers_errors(run: Run, variant: str) -> None:
    """Errors for a part of all requests, some of which were kept: the writer reads the commit
    before it believes a lost race."""
    _fails(run, variant)


def store_cuts_lines(run: Run, variant: str) -> None:
    """Lines that are reset, cut in the middle of a body, slow, or dead."""
    _fails(run, variant)


def _fails(run: Run, variant: str) -> None:
    with FaultyStore(
        os.environ["AWS_ENDPOINT_URL"], [Fault.parse(OFTEN[variant])], seed=run.seed
    ) as store:
        run.expect(
            run.label(AWS_ENDPOINT_URL=store.url, AWS_ENDPOINT_URL_S3=store.url), (*NAMED, 2)
        )
        run.say(f"{store.did.total()} × {variant} in {store.asked.total()} requests")


def store_killed(run: Run, variant: str) -> None:
    """SIGKILL of the store's processes in the middle; it comes back at once, or after the command
    has given up."""
    server = run.server
    begun = run.start()
    if run.in_the_middle(begun):
        server.kill()
    if variant == "back at once":
        server.start()
    ended = begun.end()
    server.start()
    run.expect(ended, NAMED)


def input_changed(run: Run, variant: str) -> None:
    """A file of the pool is another, or gone, when the labelling goes on: refused by name;
    restored, it goes on."""
    _interrupt(run)
    key = run.draw.choice(run.case.filled)
    with _Another(run, key, variant):
        run.expect(run.label(), (2,), key, "changed|vanished")


def input_changed_meanwhile(run: Run, variant: str) -> None:
    """A file is replaced after it was listed and before it is read: what is labelled must be what
    was listed."""
    begun, key = run.start(), run.case.filled[-1]
    struck = run.in_the_middle(begun)
    with _Another(run, key, variant):
        run.expect(
            begun.end(),
            (1,) if struck else (0,),
            f"{key} (changed since it was listed|vanished while|is not there)",
        )


class _Another:
    """Another content under a key, or none; the listed one again at the end, to the nanosecond."""

    def __init__(self, run: Run, key: str, variant: str) -> None:
        self.pool, self.case, self.key, self.variant = run.pool, run.case, key, variant

    def __enter__(self) -> None:
        file = Path(self.pool.url(self.key))
        self.times = (file.stat().st_atime_ns, file.stat().st_mtime_ns) if file.exists() else None
        self.pool.delete(self.key)
        if self.variant == "changed":
            self.pool.put(self.key, self.case.other(self.key))

    def __exit__(self, *_: object) -> None:
        self.pool.put(self.key, self.case.shards[self.key])
        if self.times:
            os.utime(self.pool.url(self.key), ns=self.times)


def job_changed(run: Run, variant: str) -> None:
    """Labeler or job mean something else when the labelling goes on: refused by name, with the way
    out; restored, it goes on."""
    changes = {
        "revision": ('revision = "1"', 'revision = "2"'),
        "classes": ('("a", "b", "c", "d", "e")', '("b", "a", "c", "d", "e")'),
        "preprocessing": ('kind = "vector",', 'kind = "vector", scale = 0.5,'),
        "fragment_rows": ("fragment_rows = 64", "fragment_rows = 96"),
        "temperature": ("encoding = ", 'encoding = { kind = "topk", k = 4, temperatures = [3] } #'),
    }
    _interrupt(run)
    run.write_job(changes[variant])
    run.expect(run.label(), (2,), variant, "version = 2")
    run.write_job()


def _interrupt(run: Run) -> None:
    begun = run.start()
    run.in_the_middle(begun)
    begun.kill_everything()


DAMAGED = {
    "data": ("/data/", "mend"),
    "commit": ("/commits/", "mend"),
    "manifest": ("/manifest/", "run again"),
    "rejects": ("/rejects/", "mend"),
    "inventory or contract": ("inventories/|contract.json", "restore"),
}
"""Which objects they are (a regular expression), and what is said to make the set whole again."""


def damaged(run: Run, variant: str) -> None:
    """A flipped bit, then a truncation, in a stored object of a finished set: named, or no value is
    another; the remedy told makes it whole."""
    run.finish()
    which, remedy = DAMAGED[variant]
    for how in ("flipped", "truncated"):
        key = run.draw.choice(
            [entry.key for entry in run.root.list_objects() if re.search(which, entry.key)]
        )
        content = run.root.read(key)
        at = run.draw.randrange(8 * len(content))
        run.root.put(key, flipped(content, at) if how == "flipped" else content[: at // 8])
        _look_at_damage(run, key, how)
        if remedy == "restore":
            run.root.put(key, content)
        else:
            run.expect(run.start(*(["--mend"] if remedy == "mend" else [])).end(), (0,))


def _look_at_damage(run: Run, key: str, how: str) -> None:
    verified = run.verify()
    named = key.rsplit("/", 1)[1] in verified.output
    run.say(f"{key} {how}: verify ends with {verified.code}{', named' if named else ''}")
    if "Traceback" in verified.output or (verified.code and not named):
        run.problems.append(f"{key} {how}, and verify says: {verified.output[-800:]}")
    if not verified.code and not named and run.label_hash() != run.undisturbed:
        run.problems.append(f"{key} {how}: another label hash, and verify found nothing")


KINDS = {
    disk_full: ("early", "late"),
    store_answers_errors: ("500 after", "503", "500 before"),
    store_cuts_lines: ("reset after", "truncated", "timeout", "reset before", "slow"),
    store_killed: ("back at once", "back later"),
    input_changed: ("changed", "vanished"),
    input_changed_meanwhile: ("changed", "vanished"),
    job_changed: ("revision", "classes", "preprocessing", "fragment_rows", "temperature"),
    damaged: ("data", "commit", "manifest", "inventory or contract", "rejects"),
}
NEEDS_S3 = (store_answers_errors, store_cuts_lines, store_killed)
NEEDS_DISK = (disk_full,)
