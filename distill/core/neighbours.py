"""What a source of the user's imports from beside it: `from helper import scale`, where `helper.py`
lies in the same folder.

Python finds such files by the folder that it was started in or the script that it runs, and here it
is neither; a worker on another machine has no such folder at all. So the files that a source
imports travel with it as text. They become modules whose names nobody else has, since two sources
may each have a `helper.py`: in a source and in its neighbours `import helper` means the file beside
it, and in no other module.

`importlib.import_module("helper")` and `__import__("helper")` find them too. Where a call does not
tell what it imports, all files of the folder travel: their modules, but no packages.

As for a script, a neighbour goes before an installed package of its name, but not before Python's
own library. A folder without `__init__.py` is a package too, where none is installed by its name.
"""

from __future__ import annotations

import builtins
import hashlib
import importlib.abc
import importlib.util
import linecache
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from distill.core.imported_names import ANY, imported_names

_NEVER = sys.stdlib_module_names | {__name__.partition(".")[0]}


@dataclass(frozen=True)
class Neighbour:
    """One file that a source imports. `name` is what imports call it: `helper`, `tools.scaling`."""

    name: str
    path: str
    text: str
    is_package: bool = False


def find_neighbours(text: str, folder: Path) -> tuple[Neighbour, ...]:
    """Return the files in `folder` that a source imports, and those that they import; all files of
    a package that one of them imports. Ordered by name."""
    found = {}
    waiting = imported_names(text)
    while waiting:
        name = waiting.pop()
        if name == ANY:
            waiting |= _all_names(folder)
            continue
        if name in found or name in _NEVER:
            continue
        for each in _files(name, folder):
            found[each.name] = each
            waiting |= imported_names(each.text)
    return tuple(found[name] for name in sorted(found))


def _all_names(folder: Path) -> set[str]:
    """The modules beside a source, packages left out."""
    stems = {file.stem for file in folder.glob("*.py")}
    return {stem for stem in stems if stem.isidentifier()}


def _files(name: str, folder: Path) -> Iterator[Neighbour]:
    """The module of that name in a folder, or all of the package."""
    package = folder / name
    init = package / "__init__.py"
    is_regular = init.is_file()
    if not is_regular and (folder / f"{name}.py").is_file():
        yield _neighbour(name, folder / f"{name}.py")
    elif is_regular or (package.is_dir() and not _is_installed(name, folder)):
        found = package.rglob("*.py")
        files = sorted(found)
        # folders between may have no file of their own
        for above in sorted(
            {parent for file in files for parent in file.relative_to(folder).parents}
        ):
            if above.parts and not (folder / above / "__init__.py").is_file():
                yield Neighbour(".".join(above.parts), str(folder / above), "", is_package=True)
        for file in files:
            *parents, last = file.relative_to(folder).with_suffix("").parts
            dotted = parents if last == "__init__" else [*parents, last]
            yield _neighbour(".".join(dotted), file, is_package=last == "__init__")


def _neighbour(name: str, file: Path, *, is_package: bool = False) -> Neighbour:
    text = file.read_text("utf-8-sig", errors="replace")
    return Neighbour(name, str(file), text, is_package)


def _is_installed(name: str, folder: Path) -> bool:
    """Whether Python itself finds a module of that name, elsewhere than in `folder`."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return False
    if spec is None:
        return False
    # a package without `__init__.py` has no origin
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    return any(folder.absolute() not in Path(place).parents for place in places)


def builtins_for(neighbours: Sequence[Neighbour]) -> dict[str, Any]:
    """Return the `__builtins__` of a module whose imports find these files first."""
    content = repr([(each.name, each.path, each.text) for each in neighbours])
    suffix = hashlib.sha256(content.encode()).hexdigest()[:16]
    unique = {each.name: _unique(each.name, suffix) for each in neighbours}
    scope = {**vars(builtins)}

    def own_name(name: str) -> str:
        first, _, _ = name.partition(".")
        return _unique(name, suffix) if first in unique else name

    importing = _importlib_for(own_name)

    def import_neighbour(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] = (),
        level: int = 0,
    ) -> ModuleType:
        if level == 0:
            name = own_name(name)
        module = builtins.__import__(name, globals, locals, fromlist, level)
        return importing if module is importlib else module

    scope["__import__"] = import_neighbour
    for each in neighbours:
        _FINDER.files[unique[each.name]] = (each, scope)
    return scope


def _importlib_for(own_name: Callable[[str], str]) -> ModuleType:
    """Return importlib as a module sees it whose imports find other files first."""

    def import_module(name: str, package: str | None = None) -> ModuleType:
        own = own_name(name)
        return importlib.import_module(own, package)

    seen = ModuleType("importlib")
    vars(seen)["__getattr__"] = partial(getattr, importlib)
    vars(seen)["import_module"] = import_module
    return seen


def _unique(name: str, suffix: str) -> str:
    first, dot, rest = name.partition(".")
    return f"{first}_{suffix}{dot}{rest}"


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds neighbours by their unique names, and runs their text."""

    def __init__(self) -> None:
        self.files: dict[str, tuple[Neighbour, dict[str, Any]]] = {}

    def find_spec(
        self,
        fullname: str,
        path: object = None,  # noqa: ARG002
        target: object = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return the spec of a neighbour, None of any other module."""
        if fullname not in self.files:
            return None
        neighbour, _ = self.files[fullname]
        return importlib.util.spec_from_loader(
            fullname, self, origin=neighbour.path, is_package=neighbour.is_package
        )

    def exec_module(self, module: ModuleType) -> None:
        """Run a neighbour's text as its module."""
        neighbour, scope = self.files[module.__name__]
        module.__file__ = neighbour.path
        run_text(module, neighbour.path, neighbour.text, scope)


_FINDER = _Finder()
sys.meta_path.append(_FINDER)


def run_text(module: ModuleType, path: str, text: str, scope: Mapping[str, Any] | None) -> None:
    """Run the text of the file at `path` as a module, its built-in names those of `scope`."""
    if scope is not None:
        vars(module)["__builtins__"] = scope
    # a worker has no such file, and a traceback shows its lines all the same
    lines = text.splitlines(keepends=True)
    linecache.cache[path] = (len(text), None, lines, path)
    exec(compile(text, path, "exec"), vars(module))  # noqa: S102  the user's own
