"""An extension point takes what is registered when a value is validated, and answers otherwise as
pydantic's union of the same classes does."""

from __future__ import annotations

import json
import pickle
from typing import Annotated, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from distill.core.errors import JobError
from distill.core.source import PythonFile
from distill.spec.base import Table
from distill.spec.kinds import Kind


class Drawing(Kind):
    """An extension point."""


class Closed(Drawing):
    """A part of it."""


class Circle(Closed):
    """A round one."""

    kind: Literal["circle"]
    revision: Literal["1"] = "1"
    centre: tuple[float, ...] = (0.0, 0.0)
    """Where it lies."""


class Picture(Table):
    """Fields that take what is registered."""

    first: Drawing
    inner: Closed | None = None
    """Within it."""
    more: tuple[Drawing, ...] = ()


class Line(Drawing):
    """Declared after the table that takes it."""

    kind: Literal["line"]
    revision: Literal["1"] = "1"
    around: Closed | None = None


class Square(Closed):
    """Declared after the table that takes it."""

    kind: Literal["square"]
    revision: Literal["1"] = "1"
    side: float = 1.0


AnyClosed = Annotated[Circle | Square, Field(discriminator="kind")]
AnyDrawing = Annotated[Circle | Square | Line, Field(discriminator="kind")]


class PlainPicture(Table):
    """The same, by a union that knows its classes."""

    first: AnyDrawing
    inner: AnyClosed | None = None
    """Within it."""
    more: tuple[AnyDrawing, ...] = ()


def outcome(table, content):
    try:
        made = table.model_validate_json(json.dumps(content))
    except ValidationError as error:
        return [(each["type"], each["loc"], each["msg"], each["input"]) for each in error.errors()]
    return [
        made.model_dump(),
        made.model_dump(mode="json", exclude={"first": {"centre"}}),
        made.model_dump(exclude_defaults=True),
        made.model_dump_json(),
    ]


@pytest.mark.parametrize(
    "content",
    [
        {"first": {"kind": "circle", "centre": [1, 2]}},
        {"first": {"kind": "line", "around": {"kind": "square", "side": 2}}},
        {"first": {"kind": "line"}, "inner": {"kind": "circle"}, "more": [{"kind": "square"}]},
        {"first": {"kind": "oval"}},
        {"first": {"kind": "circle"}, "inner": {"kind": "line"}},
        {"first": {"kind": "circle", "side": 3}},
        {"first": {"kind": "circle"}, "more": [{"kind": "square", "side": None}, {"kind": "oval"}]},
        {"first": {"kind": "circle", "centre": ["x"]}},
        {"first": {}},
        {"first": 3},
        {"first": None, "inner": []},
    ],
)
def test_a_field_dumps_or_refuses_otherwise_than_a_union_of_its_classes(content):
    assert outcome(Picture, content) == outcome(PlainPicture, content)


def test_a_json_schema_lacks_a_class_or_says_it_otherwise():
    mine, due = (
        json.dumps(each.model_json_schema()).replace("PlainPicture", "Picture")
        for each in (Picture, PlainPicture)
    )
    mine = mine.replace("Fields that take what is registered.", "")
    due = due.replace("The same, by a union that knows its classes.", "")
    assert json.loads(mine) == json.loads(due)


def test_a_part_of_a_point_takes_kinds_of_another_part():
    assert list(Closed.kinds()) == ["circle", "square"]
    assert list(Drawing.kinds()) == ["circle", "square", "line"]
    assert TypeAdapter(Closed).validate_json('{"kind": "square"}') == Square(kind="square")


POINT = "from tests.spec.test_kinds import Drawing\nfrom typing import Literal\n"
BLOB = f"""{POINT}
class Blob(Drawing):
    kind: Literal["KIND"]
    revision: Literal["1"] = "1"
    size: int = SIZE
"""


def blob(path, kind, size):
    return PythonFile(str(path), BLOB.replace("KIND", kind).replace("SIZE", str(size)))


def test_two_classes_of_one_kind_are_taken(tmp_path):
    blob(tmp_path / "one.py", "taken", 1).run()
    with pytest.raises(JobError) as refused:
        blob(tmp_path / "two.py", "taken", 2).run()
    assert "kind = 'taken' of Blob in" in str(refused.value)
    for name in ("one.py", "two.py"):
        assert str(tmp_path / name) in str(refused.value)
    assert Picture.model_validate_json('{"first": {"kind": "taken"}}').first.size == 1


def test_a_class_from_outside_needs_no_revision_so_that_a_change_of_it_is_not_seen(tmp_path):
    text = BLOB.replace('    revision: Literal["1"] = "1"\n', "").replace("KIND", "unrevised")
    with pytest.raises(JobError, match=r"Blob in .*own\.py has no `revision`"):
        PythonFile(str(tmp_path / "own.py"), text.replace("SIZE", "1")).run()
    assert "unrevised" not in Drawing.kinds()


def test_a_dump_without_defaults_forgets_the_revision():
    assert Square(kind="square").model_dump(exclude_defaults=True) == {
        "kind": "square",
        "revision": "1",
    }


def test_an_instance_is_another_after_pickling_or_validating():
    circle = Circle(kind="circle", centre=(1.0, 2.0))
    assert pickle.loads(pickle.dumps(circle)) == circle
    assert Picture(first=circle).first is circle
