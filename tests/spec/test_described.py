"""What stands below a key in the code is its description, without a look at it in each command."""

from __future__ import annotations

from distill.core.source import PythonFile
from distill.spec.base import Table

PLUGIN = '''
from distill.spec.base import Table

class Mine(Table):
    size: int
    """How large
    it is."""
'''


class First(Table):
    """A table."""

    one: int
    """Of one."""
    two: int


class Second(First):
    """A table with more."""

    two: int
    """Of two."""
    """No description."""


def described(table):
    properties = table.model_json_schema()["properties"]
    return {key: each.get("description") for key, each in properties.items()}


def test_a_key_loses_its_description_or_takes_that_of_another(tmp_path):
    assert described(First) == {"one": "Of one.", "two": None}
    assert described(Second) == {"one": "Of one.", "two": "Of two."}
    mine = PythonFile(str(tmp_path / "nowhere.py"), PLUGIN).load("Mine")
    assert described(mine) == {"size": "How large\nit is."}
    made = type("Made", (Table,), {"__annotations__": {"x": int}, "__module__": "no_such_module"})
    assert described(made) == {"x": None}
