"""What is around every command: logging, where Ray comes from, progress, signals, and errors as
messages with an exit code (`distill.cli.ending`)."""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from types import FrameType

from distill.cli.ending import STOPPED
from distill.cli.json_log import JsonFormatter, write_event
from distill.cli.terminal import TerminalDisplay, console, say
from distill.core.errors import DistillError, InputError, JobError, LimitError, StorageError
from distill.core.events import forget, observe, tell
from distill.core.losses import Losses
from distill.core.progress import show_on
from distill.core.source import own_lines
from distill.engine.ray.session import connect, disconnect, start_ray_by
from distill.engine.stop import finish_and_stop
from distill.storage.open import close_stores


class LogFormat(str, Enum):
    """What is written to standard error."""

    text = "text"
    json = "json"


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C, a scheduler's notice, and a terminal that is closed."""


@dataclass(frozen=True)
class Process:
    """What a command's body works with."""

    display: TerminalDisplay
    engine: str
    """Name of the engine that the person chose."""


@contextmanager
def process_edge(
    address: str | None,
    *,
    local: bool = False,
    verbose: bool = False,
    log_format: LogFormat = LogFormat.text,
) -> Iterator[Process]:
    """Run a command's body: a DistillError becomes its message and exit code, everything else
    passes."""
    gc.enable()
    _log(log_format, verbose=verbose)
    _tell_crashes()
    display = TerminalDisplay()
    show_on(display)
    _offer_ray(address, verbose=verbose)
    stop = _Stop()
    _handle_signals(stop)
    losses = Losses()
    observe(losses)
    try:
        if local and address:
            raise JobError("--local and --ray exclude each other. Leave one out.")
        engine = "local" if local else "ray"
        yield Process(display, engine)
    except DistillError as error:
        message = str(error)
        console.print(message, style="red", markup=False, soft_wrap=True)
        tell("error", kind=type(error).__name__, message=message)
        code = _exit_code(error, display)
        sys.exit(code)
    except KeyboardInterrupt:
        say("Stopped. What was committed stays; run the same command again to go on.")
        sys.exit(STOPPED + stop.signal)
    except SystemExit as error:  # no exit of ours: it is the user's code that calls it
        lines = own_lines(error)
        say(f"Code that the job names ends the process. Take sys.exit out of it:\n{lines}")
        code = 1 if display.worked else 2
        sys.exit(code)
    finally:
        forget(losses)
        if losses.line:
            say(losses.line)
        forget(write_event)
        disconnect()
        close_stores()


def _exit_code(error: DistillError, display: TerminalDisplay) -> int:
    """Return 2 as long as no work was done: a wrong input, or a store that could not be reached
    before there was any; 3 where all was done, and a limit is passed; else 1."""
    if isinstance(error, LimitError):
        return 3
    wrong_input = isinstance(error, InputError) and not display.worked
    no_store = isinstance(error, StorageError) and not display.begun
    return 2 if wrong_input or no_store else 1


class _Stop:
    """What signals do: let fragments in work be committed, then leave. A second one, or one outside
    labelling, leaves at once."""

    signal = signal.SIGINT
    """The latest; Ray Train takes Ctrl-C to itself."""

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.signal = signal.Signals(number)
        # from here on any of them raises KeyboardInterrupt, wherever the process is
        _handle_signals(signal.default_int_handler)
        if number == signal.SIGHUP:
            _leave_terminal()
        if not finish_and_stop():
            raise KeyboardInterrupt
        say("Finishing the fragments in work. Ctrl-C again leaves at once.")


def _handle_signals(handler: Callable[[int, FrameType | None], object]) -> None:
    """Have all that ask to stop handled alike, but those that are to be ignored (`nohup`)."""
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _leave_terminal() -> None:
    """Write to nowhere what would go to a terminal that is no more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            os.dup2(nowhere, stream.fileno())


def _offer_ray(address: str | None, *, verbose: bool) -> None:
    """Have Ray connected when it first has work. RAY_ADDRESS is used where set, and announced."""
    from_environment = os.environ.get("RAY_ADDRESS") or None

    def start() -> None:
        if address:
            say(f"(joining the Ray at {address})")
        elif from_environment:
            say(f"(joining the Ray at {from_environment}, from RAY_ADDRESS)")
        else:
            say("(starting a Ray on this machine)")
        connect(address or from_environment, verbose=verbose)

    start_ray_by(start, joins=bool(address or from_environment))


def _tell_crashes() -> None:
    """Have a crash within a library tell the lines that led there."""
    if sys.__stderr__ is not None:
        faulthandler.enable(sys.__stderr__)


def _log(log_format: LogFormat, *, verbose: bool) -> None:
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(message)s", force=True)
    if log_format is LogFormat.json:
        for handler in logging.getLogger().handlers:
            handler.setFormatter(JsonFormatter())
        observe(write_event)
    logging.getLogger("distill").setLevel(logging.INFO)
