"""Files that a job names: Python of the user's own, loaded by path and shipped to workers as source
text, never imported by name."""

from __future__ import annotations

import hashlib
import linecache
import os
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from distill.core.errors import JobError

_OURS = str(Path(__file__).parents[1]) + os.sep


@dataclass(frozen=True)
class PythonFile:
    """One Python file as text. `path` is where the user wrote it, so that a traceback shows the
    user's own lines."""

    path: str
    text: str

    @property
    def sha256(self) -> str:
        """Of the text, in hex."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def run(self, where: str = "") -> None:
        """Load the file as a module, for what it registers. Raises JobError where it raises."""
        _module(self, where)

    def load(self, name: str, where: str = "") -> Any:
        """What the file calls `name`; `where` is the key that says so. Raises JobError where it has
        no such thing, or raises itself."""
        module = _module(self, where)
        if not hasattr(module, name):
            there = sorted(key for key in vars(module) if not key.startswith("_"))
            raise JobError(
                f"{where}: {self.path} has no {name!r}; it has {there}. Correct the name."
            )
        return getattr(module, name)


def _module(file: PythonFile, where: str) -> ModuleType:
    """The file as a module, run once a process. It is registered, since dataclasses and others look
    their module up."""
    digest = hashlib.sha256("\n".join([file.path, file.text]).encode()).hexdigest()[:16]
    name = f"{Path(file.path).stem}_{digest}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = file.path
    linecache.cache[file.path] = (
        len(file.text),
        None,
        file.text.splitlines(keepends=True),
        file.path,
    )
    sys.modules[name] = module
    try:
        exec(compile(file.text, file.path, "exec"), module.__dict__)  # noqa: S102  the user's own code, from beside the job
    except Exception as error:
        del sys.modules[name]
        lines = "".join(traceback.format_exception(error)[2:])
        raise JobError(f"{where}: {file.path} raises when it is loaded:\n{lines}") from error
    return module


def own_lines(error: BaseException) -> str:
    """The traceback of a user's error without distill's own frames."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(_OURS)
    ]
    lines = traceback.format_list(frames) + traceback.format_exception_only(type(error), error)
    return "".join(lines).rstrip()


def read_source(path: Path, where: str) -> PythonFile:
    """The file at `path`; `where` is the key that names it. Raises JobError."""
    try:
        return PythonFile(str(path), path.read_text("utf-8"))
    except UnicodeDecodeError:
        raise JobError(f"{where} = {str(path)!r}: is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise JobError(
            f"{where} = {str(path)!r}: {error.strerror}. Paths are relative to the job file."
        ) from None
