"""Faults that stop, start or starve processes. Each strikes one labelling of a run, and leaves what
can be gone on with."""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, suppress

from tests.chaos.runs import LABELER_SECONDS, Run
from tests.command import processes
from tests.raylets import two_raylets
from tests.waiting import slowness, wait_until

ZOMBIE_SECONDS = 15.0
NAMED = (0, 1)
"""What a command may end with that met a fault while it worked: it got over it, or says what it
was."""


def actor_killed(run: Run, variant: str) -> None:
    """SIGKILL of an actor in mid-batch (once, or three times): Ray starts another, the command goes
    on."""
    begun = run.start()
    for _ in range(3 if variant == "thrice" else 1):
        if run.in_the_middle(begun):
            with suppress(ProcessLookupError):
                os.kill(run.told("calls")[-1], signal.SIGKILL)
    run.expect(begun.end(), (0,))


def actor_start_fails(run: Run, variant: str) -> None:
    """An actor's start raises once: its fragments fail by the labeler's own words, and the command
    ends with 1 after three of them. An actor that dies in its start is Ray's to replace."""
    (run.folder / f"{variant}-at-start").touch()
    run.expect(run.label(), NAMED, "this start fails once")


def _killed_at(run: Run, place: str, variant: str) -> None:
    marker = run.folder / f"reached-{len(run.started)}"
    begun = run.start(failpoint=f"{place}:{run.draw.randint(1, 5)}:{marker}")
    if begun.wait(marker.exists, place):
        run.say(f"{place} reached")
    (run.folder / "failpoint").unlink()
    begun.kill_group() if variant == "group" else run.kill_everything(begun)


def killed_before_data(run: Run, variant: str) -> None:
    """SIGKILL with a fragment labelled and nothing of it written."""
    _killed_at(run, "label.before_data", variant)


def killed_after_data(run: Run, variant: str) -> None:
    """SIGKILL between data and commit: garbage that no reader may see."""
    _killed_at(run, "label.after_data", variant)


def killed_after_commit(run: Run, variant: str) -> None:
    """SIGKILL when the commit is there and nobody was told."""
    _killed_at(run, "label.after_commit", variant)


def group_killed(run: Run, variant: str) -> None:
    """SIGKILL of the driver's process group, and at once the same command: its actors outlive it
    and may commit (zombies)."""
    for _ in range(2 if variant == "twice" else 1):
        begun = run.start()
        if run.in_the_middle(begun):
            begun.kill_group()
        run.expect(begun.end(), (0, -signal.SIGKILL))


def power_cut(run: Run, variant: str) -> None:
    """SIGKILL of every process at any moment: while Ray starts, in the middle, or with all
    fragments asked for."""
    begun = run.start(own_ray=True)
    if variant == "starting":
        begun.wait(lambda: run.local or "starting a Ray" in begun.output, "the start of Ray")
        time.sleep(run.draw.uniform(0, 6))
    elif variant == "ending":
        due = run.calls() + run.case.fragments - run.commits()
        begun.wait(lambda: run.calls() >= due, "the last call")
    else:
        run.in_the_middle(begun)
    begun.kill_everything()
    run.say(f"cut with {run.commits()} commits")


def stopped_writer(run: Run, variant: str) -> None:
    """A stopped process wakes after others have finished its work, and must lose: one actor with
    its data written and its commit still to come, or driver and all in mid-batch."""
    marker = run.folder / "reached-stopped"
    place = f"label.after_data:{run.draw.randint(1, 4)}:{marker}"
    begun = run.start(own_ray=True, failpoint=place if variant == "actor" else "")
    if variant == "actor":
        reached = begun.wait(lambda: marker.exists() and bool(marker.read_text()), place)
    else:
        reached = run.in_the_middle(begun)
    (run.folder / "failpoint").unlink(missing_ok=True)
    if not reached:
        # what actors of a killed driver had left was less than was drawn
        run.expect(begun.end(), (0,))
        return
    begun.is_stopped = True
    stopped = [int(marker.read_text())] if variant == "actor" else processes(begun.process.pid)
    _signal(stopped, signal.SIGSTOP)
    _signal([pid for pid in processes(begun.process.pid) if pid not in stopped], signal.SIGKILL)
    forget_lease(run)
    run.finish()
    there = run.commits()
    marker.unlink(missing_ok=True)
    _signal(stopped, signal.SIGCONT)
    until = time.monotonic() + ZOMBIE_SECONDS
    while time.monotonic() < until and set(stopped) & set(processes(begun.process.pid)):
        time.sleep(0.1)
    run.say(f"woke {len(stopped)} processes, which added {run.commits() - there} commits")
    begun.kill_everything()


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def two_drivers(run: Run, variant: str) -> None:
    """Two drivers on one job: the lease refuses the second by name. Correctness does not rest on
    it: it is also removed by hand."""
    run.write_job(seconds=4 * LABELER_SECONDS)  # the first is still at work when the second comes
    first = run.start()
    run.in_the_middle(first)
    if variant == "without lease":
        run.say(f"{forget_lease(run)} leases removed")
    second = run.start()
    run.expect(
        second.end(),
        (2,) if variant == "with lease" else (0,),
        f"process {first.process.pid} on .* is at work on it",
    )
    run.expect(first.end(), (0,))
    run.write_job()


def forget_lease(run: Run) -> int:
    """Take the advisory lease away, as a person would whose driver is dead; how many there were."""
    leases = [entry.key for entry in run.labels.list_objects() if "lease" in entry.key]
    for key in leases:
        run.labels.delete(key)
    return len(leases)


def raylet_killed(run: Run, variant: str) -> None:
    """One of two nodes dies under the actors: the worker's raylet, or the head with everything."""
    with ExitStack() as own:
        raylets = run.cluster() if variant == "worker" else own.enter_context(two_raylets())
        begun = run.start("--ray", raylets.address, **raylets.environment)
        run.in_the_middle(begun)
        if variant == "worker":
            raylets.kill_raylet(raylets.joined[-1].pid)
        else:
            _signal(processes(raylets.session), signal.SIGKILL)
        # one CPU is left, and an actor and what prepares its rows need two: it says that it waits,
        # until a person ends it
        stuck = variant == "worker" and run.case.kind.prepare
        if stuck and begun.wait(
            lambda: "waits for" in begun.output, "a line that says what is waited for"
        ):
            begun.signal(signal.SIGINT)
            begun.wait(lambda: "Finishing the fragments" in begun.output, "the answer to Ctrl-C")
            begun.signal(signal.SIGINT)
        run.expect(begun.end(), (0, 128 + signal.SIGINT))
        if variant == "worker":
            # else the next run believes that it is there
            wait_until(lambda: len(raylets.nodes()) == 1)


def asked_to_end(run: Run, variant: str) -> None:
    """SIGTERM (two minutes' notice) or Ctrl-C: what is in work is committed, the rest is left."""
    begun = run.start()
    run.in_the_middle(begun)
    number = signal.Signals[variant]
    begun.signal(number)
    run.expect(begun.end(), (0, 128 + number), "Stopped. What was committed stays")


def too_few_resources(run: Run, variant: str) -> None:
    """What the cluster can never give is refused within seconds, by name and number."""
    run.write_job(("min = 1, max = 2", {"CPU": "min = 64, max = 64", "GPU": "gpus = 1"}[variant]))
    run.expect(
        run.start().end(limit_seconds=60 * slowness()),
        (2,),
        rf"needs 64 × 1 {variant}|needs 1 {variant}|needs 1 × 1 {variant}",
    )
    run.write_job()


ABOUT_RAY = (
    actor_killed,
    actor_start_fails,
    group_killed,
    stopped_writer,
    raylet_killed,
    too_few_resources,
)
"""What strikes Ray's own processes; the other kinds strike a command that works by itself."""

KINDS = {
    actor_killed: ("once", "thrice"),
    actor_start_fails: ("raise", "die"),
    killed_before_data: ("group", "session"),
    killed_after_data: ("session", "group"),
    killed_after_commit: ("group", "session"),
    group_killed: ("once", "twice"),
    power_cut: ("middle", "starting", "ending"),
    stopped_writer: ("actor", "all"),
    two_drivers: ("with lease", "without lease"),
    raylet_killed: ("worker", "head"),
    asked_to_end: ("SIGTERM", "SIGINT"),
    too_few_resources: ("CPU", "GPU"),
}
INTERRUPTIONS = (killed_before_data, killed_after_data, killed_after_commit, group_killed)
"""What may strike before another fault does: it leaves a label set in the middle."""
