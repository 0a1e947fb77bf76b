from __future__ import annotations

import ast

import pytest
from torch import nn

from distill.core.errors import ExportError
from distill.models.networks.custom import CustomModel
from distill.spec.networks import Ngrams
from distill.spec.outputs import Outputs
from distill.stages.export.torch_source import own_expression, torch_source
from tests.making import keep_network


@pytest.mark.parametrize(
    "name", ['"""\nraise SystemExit(3)\n"""', "back\\slash \\x", "{braces}", "quotes' and \""]
)
def test_a_name_of_a_class_or_column_ends_the_docstring_and_runs(tmp_path, name):
    _, network = keep_network(tmp_path, {"main": Outputs("logits", (name, "b"))}, 4)
    text = torch_source(name, network, f"main: {name}", f"the columns {name}.")
    tree = ast.parse(text)
    due = ["Expr", "Import", "ImportFrom", "ImportFrom", "ClassDef", "ClassDef", "FunctionDef"]
    assert [type(node).__name__ for node in tree.body] == due


def test_an_option_of_a_network_of_ones_own_is_run_as_code():
    options = {"it's": '"""', "__import__('os')": [1, None, {"x": True}]}
    model = CustomModel(kind="custom", file="mine.py", options=options, text=Ngrams(most=9))
    made = ast.parse(own_expression(model, 1, "own.py"), mode="eval").body
    (width,), (given,) = made.args, made.keywords
    assert (width.value, given.arg, ast.literal_eval(given.value)) == (9, None, options)


def test_a_layer_that_torch_lacks_is_written_as_if_torch_had_it(tmp_path):
    class Residual(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    _, network = keep_network(tmp_path, {"main": Outputs("logits", ("a", "b"))}, 4)
    network.trunk = nn.Sequential(Residual(nn.Linear(4, 4)))
    with pytest.raises(ExportError, match=r"has a Residual of tests\..*kind 'custom'"):
        torch_source("small", network, "main", "numbers")
