"""Python text as a syntax tree, also from several threads at once."""

from __future__ import annotations

import ast
import threading

_ONE_AT_A_TIME = threading.Lock()


def parse_python(text: str) -> ast.Module:
    """Return the tree of a text, as `ast.parse` does.

    Raises:
        SyntaxError, ValueError: the text is no Python."""
    # CPython before 3.13 counts the depth of its recursion for all threads together: two that
    # parse at once may end in "SystemError: AST constructor recursion depth mismatch" (gh-106905)
    with _ONE_AT_A_TIME:
        return ast.parse(text)
