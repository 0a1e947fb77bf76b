"""The JSON schema of tables with what stands below their keys in the code.

Pydantic would look for that whenever a table's class is made, 0.1 s of each command, although only
`distill schema` and some refusals show it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import itertools
from collections.abc import Iterator

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from distill.core.syntax import parse_python

Docs = dict[str, str]  # by key, what stands below it


class DescribedSchema(GenerateJsonSchema):
    """Writes a schema whose keys have descriptions."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        """Return the schema of one table."""
        described = super().model_schema(schema)
        properties = described.get("properties", {})
        for key, text in _docs(schema["cls"]).items():
            if key in properties:
                properties[key].setdefault("description", text)
        return described


def _docs(model: type[BaseModel]) -> Docs:
    """What describes the keys of a table, its own and those that it inherits."""
    docs: Docs = {}
    for each in reversed(model.__mro__):
        if each is not BaseModel and issubclass(each, BaseModel):
            docs |= _docs_in(each.__module__).get(each.__qualname__, {})
    return docs


@functools.cache
def _docs_in(module: str) -> dict[str, Docs]:
    """What describes the keys of all classes in a module."""
    try:
        loaded = importlib.import_module(module)
        source = inspect.getsource(loaded)
    except (OSError, TypeError, ImportError):  # made in a shell, or its file is gone
        return {}
    return {name: _docs_of(each) for name, each in _classes(parse_python(source), "")}


def _classes(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.ClassDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            name = f"{prefix}{child.name}"
            yield name, child
            inner = f"{name}."
            yield from _classes(child, inner)


def _docs_of(node: ast.ClassDef) -> Docs:
    docs = {}
    for field, below in itertools.pairwise(node.body):
        if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
            continue
        text = below.value if isinstance(below, ast.Expr) else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            docs[field.target.id] = inspect.cleandoc(text.value)
    return docs
