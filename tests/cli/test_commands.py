"""Commands that need no Ray, as a person types them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import tomllib

from distill.job.job import Job
from tests.command import distill, run_code
from tests.tiny import write_pool

_LOADED = "import sys\n{}\nheavy = sorted({{'ray', 'torch', 'pyarrow', 'numpy'}} & set(sys.modules))\nsys.exit(f'loads {{heavy}}' if heavy else 0)"
_HELP = "from typer.testing import CliRunner; from distill.cli.commands import app; assert CliRunner().invoke(app, ['--help']).exit_code == 0"


@pytest.mark.parametrize("statement", ["import distill", _HELP])
def test_import_and_help_load_nothing_heavy(statement):
    ended = subprocess.run(
        [sys.executable, "-c", _LOADED.format(statement)], capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr


REFUSED = """
import sys
from distill.cli.commands import app
try:
    app({})
except SystemExit as ended:
    heavy = {{'torch', 'ray', 'distill.run'}} & set(sys.modules)
    sys.exit(f'loads {{heavy}}' if heavy else ended.code)
"""


@pytest.mark.parametrize("words", [["run"], ["label"], ["show", "l"]])
def test_a_refusal_loads_what_only_work_needs(tmp_path, words):
    (tmp_path / "job.toml").write_text('root = "x"\nrooot = 3\n[pools.p]\npath = "p"')
    command, *rest = words
    ended = run_code(REFUSED.format([command, str(tmp_path / "job.toml"), *rest]))
    assert ended.returncode == 2, ended.stdout + ended.stderr
    assert "rooot: unknown key. Did you mean 'root'?" in ended.stdout + ended.stderr


def test_schema_describes_every_table_of_a_job():
    schema = json.loads(distill("schema").output)
    assert set(schema["properties"]) == set(Job.model_fields)
    assert "unit of work" in schema["properties"]["fragment_rows"]["description"]


def test_init_writes_a_job_that_names_the_columns_that_are_there(tmp_path):
    write_pool(tmp_path / "pool", [20])
    ended = distill("init", tmp_path / "pool")
    assert ended.code == 0, ended.output
    job = tomllib.loads(ended.output)
    assert job["pools"]["unlabelled"] == {
        "path": str(tmp_path / "pool"),
        "features": {"kind": "vector", "columns": ["pixels"]},
    }
    assert "#   email: string" in ended.output


def test_init_refuses_a_folder_without_a_pool(tmp_path):
    ended = distill("init", tmp_path / "none")
    assert ended.code == 2
    assert "no file lies at" in ended.output


def test_the_help_of_a_command_is_in_boxes_that_a_plain_terminal_cannot_show():
    for command in ("run", "status", "apply"):
        ended = distill(command, "--help")
        assert ended.code == 0
        assert ended.output.isascii(), ended.output
        assert f"distill {command} [OPTIONS]" in ended.output
