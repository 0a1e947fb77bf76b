"""Files that a job names: Python of the user's own, loaded by path and shipped to workers as source text, never imported by name."""

from __future__ import annotations

import linecache
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from distill.errors import JobError


@dataclass(frozen=True)
class Source:
    """One Python file as text. `path` is where the user wrote it, so that a traceback shows the user's own lines."""

    path: str
    text: str

    def load(self, name: str, where: str = "") -> Any:
        """What the file calls `name`; `where` is the key that says so. Raises JobError where it has no such thing, or raises itself."""
        module = ModuleType(Path(self.path).stem)
        module.__file__ = self.path
        linecache.cache[self.path] = (len(self.text), None, self.text.splitlines(keepends=True), self.path)
        try:
            exec(compile(self.text, self.path, "exec"), module.__dict__)  # noqa: S102  the user's own code, from beside the job
        except Exception as error:
            lines = "".join(traceback.format_exception(error)[2:])
            raise JobError(f"{where}: {self.path} raises when it is loaded:\n{lines}") from error
        if not hasattr(module, name):
            there = sorted(key for key in vars(module) if not key.startswith("_"))
            raise JobError(f"{where}: {self.path} has no {name!r}; it has {there}. Correct the name.")
        return getattr(module, name)


def read_source(path: Path, where: str) -> Source:
    """The file at `path`; `where` is the key that names it. Raises JobError."""
    try:
        return Source(str(path), path.read_text("utf-8"))
    except UnicodeDecodeError:
        raise JobError(f"{where} = {str(path)!r}: is not UTF-8 text. Save it as UTF-8.") from None
    except OSError as error:
        raise JobError(f"{where} = {str(path)!r}: {error.strerror}. Paths are relative to the job file.") from None
