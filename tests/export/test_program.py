from __future__ import annotations

import ast

import pytest

from distill.export.program import program
from distill.job import Outputs
from tests.making import keep_network


@pytest.mark.parametrize("name", ['"""\nraise SystemExit(3)\n"""', "back\\slash \\x", "{braces}", "quotes' and \""])
def test_a_name_of_a_class_or_column_ends_the_docstring_and_runs(tmp_path, name):
    _, network = keep_network(tmp_path, {"main": Outputs("logits", (name, "b"))}, 4)
    text = program(name, network, f"main: {name}", f"the columns {name}.")
    tree = ast.parse(text)
    due = ["Expr", "Import", "ImportFrom", "ImportFrom", "ClassDef", "ClassDef", "FunctionDef"]
    assert [type(node).__name__ for node in tree.body] == due
