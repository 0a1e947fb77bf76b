"""Python files that a job names: the user's own code, run from its text and shipped to workers as
text, never imported by name.

A file becomes a module whose name is a digest of its path and text.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from distill.core.errors import JobError
from distill.core.neighbours import Neighbour, builtins_for, find_neighbours, run_text

# one file at a time: another thread would find a module that is half run, and `os._exit` replaced;
# by one thread again and again, since a file may have others loaded
_LOADING = threading.RLock()
# beginnings of files whose lines are not the user's
_OURS = (str(Path(__file__).parents[1]) + os.sep, "<frozen importlib")


def user_errors() -> tuple[type[BaseException], ...]:
    """Return what is caught of the user's code: neither its `sys.exit()` nor its `raise
    GeneratorExit` is to end our process or a generator of ours, nor what a task of asyncio ends
    by. For `except user_errors()`, which asks when something was raised."""
    # importing asyncio takes 30 ms; where nobody has, nobody can have raised what is its own
    cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", Exception)
    return (Exception, SystemExit, GeneratorExit, cancelled)


@dataclass(frozen=True)
class PythonFile:
    """One Python file as text. `path` is where the user wrote it, so that a traceback shows the
    user's own lines."""

    path: str
    text: str
    neighbours: tuple[Neighbour, ...] = ()  # the files beside it that it imports

    @property
    def whole_text(self) -> str:
        """The text, and after it that of each neighbour."""
        return "\n".join([self.text, *(f"# {each.name}\n{each.text}" for each in self.neighbours)])

    @property
    def sha256(self) -> str:
        """Of the whole text, in hex."""
        content = self.whole_text.encode()
        return hashlib.sha256(content).hexdigest()

    @property
    def module_name(self) -> str:
        """The name of its module, on every machine."""
        # path and text: two files of one name do not meet, an edited file is another module, and
        # unpickling finds a class under the same name on every machine that runs the same text
        named = f"{self.path}\n{self.whole_text}"
        digest = hashlib.sha256(named.encode()).hexdigest()
        return f"{Path(self.path).stem}_{digest[:16]}"

    def run(self, where: str = "") -> None:
        """Run the file, once a process, for what it registers; `where` is the key that names it.
        Raises JobError where it raises."""
        _module(self, where)

    def forget(self) -> None:
        """Let the next `run` run it anew: what its module registered gives way."""
        sys.modules.pop(self.module_name, None)

    def load(self, name: str, where: str = "") -> Any:
        """Return what the file calls `name`; `where` is the key that says so. Raises JobError where
        it has no such thing, or raises itself."""
        module = _module(self, where)
        if not hasattr(module, name):
            there = sorted(key for key in vars(module) if not key.startswith("_"))
            message = f"{where}: {self.path} has no {name!r}; it has {there}. Correct the name."
            raise JobError(message)
        return getattr(module, name)


def _module(file: PythonFile, where: str) -> ModuleType:
    """The file as a module, run once a process."""
    with _LOADING:
        return _loaded(file, where)


def _loaded(file: PythonFile, where: str) -> ModuleType:
    name = file.module_name
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = file.path
    # registered before it runs: dataclasses, pydantic and pickle look a class's module up
    sys.modules[name] = module
    scope = builtins_for(file.neighbours) if file.neighbours else None
    try:
        with _exits_raised():
            run_text(module, file.path, file.text, scope)
    except SystemExit as error:
        del sys.modules[name]
        raise JobError(
            f"{where}: {file.path} ends the process when it is loaded (sys.exit, os._exit):"
            f'\n{own_lines(error)}\nPut what runs it alone below `if __name__ == "__main__":`.'
        ) from error
    except Exception as error:
        del sys.modules[name]
        lines = own_lines(error)
        raise JobError(f"{where}: {file.path} raises when it is loaded:\n{lines}") from error
    return module


@contextmanager
def _exits_raised() -> Iterator[None]:
    """Have `os._exit` raise SystemExit here, so that it can be told."""
    # a process of its own for the first import would find crashes of libraries too, but imports
    # all that the file does twice: a second for torch, of each command. The line of a crash is
    # told by faulthandler.
    leave = os._exit
    here = (os.getpid(), threading.get_ident())

    def raise_exit(status: int) -> NoReturn:
        # processes that the file forks are to end, and so is all for another thread
        if here != (os.getpid(), threading.get_ident()):
            leave(status)
        raise SystemExit(status)

    os._exit = raise_exit
    try:
        yield
    finally:
        os._exit = leave


def own_lines(error: BaseException) -> str:
    """Return the traceback of a user's error without distill's own frames."""
    traced = traceback.extract_tb(error.__traceback__)
    frames = [frame for frame in traced if not frame.filename.startswith(_OURS)]
    lines = traceback.format_list(frames) + traceback.format_exception_only(type(error), error)
    text = "".join(lines)
    return text.rstrip()


def read_source(path: Path, where: str) -> PythonFile:
    """Read the file at `path`; `where` is the key that names it. Raises JobError."""
    try:
        # some editors begin UTF-8 with a mark, which Python's own parser takes off too
        text = path.read_text("utf-8-sig")
        return PythonFile(str(path), text, find_neighbours(text, path.parent))
    except UnicodeDecodeError:
        raise JobError(f"{where} = {str(path)!r}: is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        message = f"{where} = {str(path)!r}: {error.strerror}. Paths are relative to the job file."
        raise JobError(message) from None
