"""What a labeler's class of the user's own must have: a way to make it, and methods that can be
called. What it answers is found out when it does."""

from __future__ import annotations

import inspect
from typing import Any

from distill.core.errors import JobError
from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.labels import Custom

_STEPS = ("prepare", "label", "finish")


def check_custom_labeler(tables: JobTables, labeler: Custom, where: str) -> Problems:
    """Yield why a class cannot be made or asked; `where` is its key."""
    try:
        declared: Any = tables.custom_source(labeler, where).load(labeler.name, where)
    except JobError as error:
        yield str(error)
        return
    what = f"{where}: {labeler.name} in {labeler.file}"
    if inspect.isabstract(declared):
        missing = sorted(declared.__abstractmethods__)
        yield f"{what} is abstract: it lacks {missing}. Write them."
    lacking = _cannot_be_called(declared)
    if lacking:
        yield (
            f"{what} is made as {labeler.name}(), but its `__init__` says: {lacking}."
            " Give its arguments defaults."
        )
    # `__init__` may set it (`torch.compile`), and then it is looked for when it is made
    may_be_set = declared.__init__ is not object.__init__ or hasattr(declared, "__getattr__")
    if not may_be_set and not callable(getattr(declared, "label", None)):
        there = [name for name in vars(declared) if callable(getattr(declared, name))]
        public = [name for name in there if not name.startswith("_")]
        yield (
            f"{what} has no method `label(self, features)`; it has {public or 'none'}."
            " Name the method that answers so."
        )
    for step in _STEPS:
        yield from _step(declared, step, what)


def _step(declared: Any, step: str, what: str) -> Problems:
    """Whether one of its methods can be called with a batch."""
    method = inspect.getattr_static(declared, step, None)
    if not inspect.isfunction(method):
        return
    if inspect.iscoroutinefunction(method) or inspect.isasyncgenfunction(method):
        yield f"{what}: `{step}` is `async`, which nobody awaits. Take `async` out."
        return
    lacking = _cannot_be_called(method, None, None)
    if lacking:
        yield (
            f"{what}: `{step}` is called with one batch, as {step}(features), but says: {lacking}."
            f" Write `def {step}(self, features)`."
        )


def _cannot_be_called(function: Any, *arguments: object) -> str:
    """Return why a function takes no such arguments; "" where it does, or nobody can tell."""
    try:
        # a decorator may supply what the function that it wraps asks for
        signature = inspect.signature(function, follow_wrapped=False)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(*arguments)
    except TypeError as error:
        return str(error)
    return ""
