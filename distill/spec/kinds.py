"""Extension points: tables of a job file that say by `kind` which class they are.

A class that derives from `Kind` itself is an extension point, such as `Loss`. Classes below it that
have a `kind` of their own are what a job file may write there; each registers itself when Python
defines it, so a new one is one class in one file, of distill or of a plugin:

    class Huber(Loss):
        kind: Literal["huber"]
        revision: Literal["1"] = "1"
        delta: Annotated[float, Field(gt=0)] = 1.0

A field whose type is a class without a `kind` takes every class below it that is registered when a
value is validated, and not only those that were there when the field was declared. Errors, dumped
values and the JSON schema are those of pydantic's union of these classes, told apart by `kind`.

A class from outside distill has a `revision`: it stands in what is dumped, and so in every digest
of what the class made. Change it when the class means something else.
"""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Union, get_args

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
)
from pydantic_core import CoreSchema, core_schema

from distill.spec.base import Table

_PACKAGE = __name__.partition(".")[0]


def _kind_of(cls: type[Kind]) -> str | None:
    """The `kind` of a class; None of one that only others derive from."""
    field = cls.model_fields.get("kind")
    return None if field is None else str(get_args(field.annotation)[0])


class Kind(Table):
    """A table with a `kind`; the classes directly below this one are extension points."""

    if TYPE_CHECKING:
        kind: str

    _registered: ClassVar[dict[str, type[Kind]]]
    """Of one extension point: its classes by kind."""

    @classmethod
    def kinds(cls) -> dict[str, type[Kind]]:
        """Return the registered classes from this one down, by kind, in the order of definition."""
        found = {}
        for each in _tree(cls):
            kind = _kind_of(each)
            if kind is None or cls._registered.get(kind) is not each:
                continue
            if each.__module__ in sys.modules:  # not of a plugin's former text
                found[kind] = each
        return found

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if Kind in cls.__bases__:
            cls._registered = {}
        kind = _kind_of(cls)
        if kind is not None:
            _register(cls, kind)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        if _kind_of(cls) is not None:
            return handler(source)
        # the serializer of such a schema is that of the value's own class
        return core_schema.with_info_plain_validator_function(cls._validate_by_kind)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        if _kind_of(cls) is not None:
            return handler(schema)
        return handler(_union(tuple(cls.kinds().values())).core_schema)

    @model_serializer(mode="wrap")
    def _with_revision(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        if "revision" in type(self).model_fields:
            plain["revision"] = vars(self)["revision"]  # also where defaults are left out
        return plain

    @classmethod
    def _validate_by_kind(cls, value: Any, info: core_schema.ValidationInfo) -> Any:
        union = _union(tuple(cls.kinds().values()))
        if info.mode == "json":
            # as JSON again: only there does a strict table take a list for a tuple
            text = json.dumps(value)
            return union.validate_json(text)
        return union.validate_python(value)


def _tree(cls: type[Kind]) -> list[type[Kind]]:
    """The class and all below it, each before its own subclasses."""
    found = [cls]
    for each in cls.__subclasses__():
        below = _tree(each)
        found.extend(below)
    return found


def _register(cls: type[Kind], kind: str) -> None:
    """Make a class known to its extension point. Raises TypeError."""
    where = _file_of(cls)
    if cls.__module__.partition(".")[0] != _PACKAGE and "revision" not in cls.model_fields:
        raise TypeError(
            f"{cls.__name__} in {where} has no `revision`, by which what it makes is known. Add"
            ' `revision: Literal["1"] = "1"`, and change it when the class means something else.'
        )
    before = cls._registered.get(kind)
    if before is not None and _is_loaded(before):
        raise TypeError(
            f"kind = {kind!r} of {cls.__name__} in {where} is that of {before.__name__} in"
            f" {_file_of(before)}. Give it another kind."
        )
    cls._registered[kind] = cls


def _is_loaded(cls: type[Kind]) -> bool:
    """Whether its module still has it."""
    # a plugin's file that was edited is loaded anew, and its former classes give way
    module = sys.modules.get(cls.__module__)
    return getattr(module, cls.__name__, None) is cls


def _file_of(cls: type[Kind]) -> str:
    module = sys.modules.get(cls.__module__)
    file = getattr(module, "__file__", cls.__module__)
    return str(file)


# building one takes milliseconds
@functools.lru_cache(maxsize=64)
def _union(classes: tuple[type[Kind], ...]) -> TypeAdapter[Any]:
    """What validates a table by its kind."""
    if len(classes) == 1:  # no union, so nothing to tell apart
        return TypeAdapter(classes[0])
    union: Any = Union[classes]  # noqa: UP007  of as many as there are
    told_apart = Annotated[union, Field(discriminator="kind")]
    return TypeAdapter(told_apart)
