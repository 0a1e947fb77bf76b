"""Around every command: logging, where Ray comes from, progress, Ctrl-C, and errors as messages with an exit code."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distill.cli.terminal import TerminalDisplay, console, say
from distill.engine import connect, disconnect, start_ray_by
from distill.errors import DistillError
from distill.job import Job, load_job
from distill.progress import show_on


@contextmanager
def edge(address: str | None, *, verbose: bool) -> Iterator[TerminalDisplay]:
    """Run a command's body: a DistillError becomes its message and exit code, everything else passes."""
    _log(verbose)
    display = TerminalDisplay()
    show_on(display)
    _offer_ray(address, verbose=verbose)
    try:
        yield display
    except DistillError as error:
        console.print(str(error), style="red", markup=False, soft_wrap=True)
        sys.exit(1 if display.worked else error.exit_code)
    except KeyboardInterrupt:
        say("Stopped. What was committed stays; run the same command again to go on.")
        sys.exit(1)
    finally:
        disconnect()


def load(path: Path, root: str | None) -> Job:
    """The checked job, its custom root in place."""
    return load_job(path, root=root)


def _offer_ray(address: str | None, *, verbose: bool) -> None:
    """Connect when a stage first needs Ray; a set RAY_ADDRESS is used, and announced."""
    named = address or os.environ.get("RAY_ADDRESS")

    def start() -> None:
        where = f"joining the Ray at {named}" if named else "starting a Ray on this machine"
        say(f"({where}{', from RAY_ADDRESS' if named and not address else ''})")
        connect(named, verbose=verbose)

    start_ray_by(start)


def _log(verbose: bool) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="%(message)s", force=True)
    logging.getLogger("distill").setLevel(logging.INFO)
