"""Around every command: logging, where Ray comes from, progress, Ctrl-C, and errors as messages
with an exit code."""

from __future__ import annotations

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from distill.cli.terminal import TerminalDisplay, console, say
from distill.core.errors import DistillError, InputError, JobError, StorageError
from distill.core.progress import show_on
from distill.engine.ray.map import finish_and_stop
from distill.engine.ray.session import connect, disconnect, start_ray_by


@dataclass(frozen=True)
class Process:
    """What a command's body works with."""

    display: TerminalDisplay
    engine: str
    """Name of the engine that the person chose."""


@contextmanager
def process_edge(
    address: str | None, *, local: bool = False, verbose: bool = False
) -> Iterator[Process]:
    """Run a command's body: a DistillError becomes its message and exit code, everything else
    passes."""
    _log(verbose)
    display = TerminalDisplay()
    show_on(display)
    _offer_ray(address, verbose=verbose)
    for asked_to_end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_end, _interrupt)
    try:
        if local and address:
            raise JobError("--local and --ray exclude each other. Leave one out.")
        yield Process(display, "local" if local else "ray")
    except DistillError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(_exit_code(error, display))
    except KeyboardInterrupt:
        say("Stopped. What was committed stays; run the same command again to go on.")
        sys.exit(1)
    finally:
        disconnect()


def _exit_code(error: DistillError, display: TerminalDisplay) -> int:
    """2 as long as no work was done: a wrong input, or a store that could not be reached before
    there was any."""
    early = isinstance(error, InputError) and not display.worked
    return 2 if early or (isinstance(error, StorageError) and not display.begun) else 1


def _interrupt(_number: int, _frame: object) -> None:
    """One Ctrl-C or SIGTERM lets fragments in work be committed and leaves; another, or one outside
    labelling, leaves at once."""
    for asked_to_end in (signal.SIGINT, signal.SIGTERM):
        signal.signal(asked_to_end, signal.default_int_handler)
    if not finish_and_stop():
        raise KeyboardInterrupt
    say("Finishing the fragments in work. Ctrl-C again leaves at once.")


def _offer_ray(address: str | None, *, verbose: bool) -> None:
    """Connect when a stage first needs Ray; a set RAY_ADDRESS is used, and announced."""
    named = address or os.environ.get("RAY_ADDRESS")

    def start() -> None:
        where = f"joining the Ray at {named}" if named else "starting a Ray on this machine"
        say(f"({where}{', from RAY_ADDRESS' if named and not address else ''})")
        connect(named, verbose=verbose)

    start_ray_by(start)


def _log(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(message)s", force=True
    )
    logging.getLogger("distill").setLevel(logging.INFO)
