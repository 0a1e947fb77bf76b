"""Which modules a text imports, read off it without running it: by statements, and by calls of
`importlib.import_module` and `__import__`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from distill.core.syntax import parse_python

ANY = "*"  # in place of a name: a call imports what only it knows, such as what a variable says
_CALLS = ("import_module", "__import__")


def imported_names(text: str) -> set[str]:
    """Return the first names of all modules that a text imports, wherever in it; `ANY` among them
    where a call does not tell."""
    try:
        tree = parse_python(text)
    except (SyntaxError, ValueError):  # told where it is run
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        found = _names(node)
        names.update(found)
    firsts = {name.partition(".")[0] for name in names}
    return firsts - {""}  # relative ones are of a package, which is found whole


def _names(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield alias.name
    elif isinstance(node, ast.ImportFrom):
        if node.level == 0 and node.module:
            yield node.module
    elif isinstance(node, ast.Call) and _called(node.func) in _CALLS:
        yield _name_given(node)


def _called(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _name_given(call: ast.Call) -> str:
    """The name that a call imports, as far as the text tells: of `f"models.{kind}"` the package."""
    named = [each.value for each in call.keywords if each.arg == "name"]
    name: ast.expr | None = next(iter([*call.args, *named]), None)
    is_whole = isinstance(name, ast.Constant)
    if isinstance(name, ast.JoinedStr):
        parts = iter(name.values)
        name = next(parts, None)
    elif isinstance(name, ast.BinOp):
        name = name.left
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return ANY
    return name.value if is_whole or "." in name.value else ANY
