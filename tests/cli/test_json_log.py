"""`--log-format json`: what machines read, on standard error alone."""

from __future__ import annotations

import json
import logging
import sys
from datetime import datetime

import pytest
import typer

from distill.cli.commands import app
from distill.cli.json_log import JsonFormatter
from tests.command import distill_apart
from tests.tiny import DOUBLING, write_job, write_pool

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    batch_rows = 16
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """`ended(options)`: a labelling of two fragments as a process, and its standard error."""

    def run(*options, labeler=DOUBLING):
        folder = tmp_path_factory.mktemp("job")
        write_pool(folder / "rows", [100])
        (folder / "mine.py").write_text(labeler, "utf-8")
        job = write_job(folder, JOB, "mine.toml")
        return distill_apart(folder, "label", job, "--local", *options)

    return run


def test_a_line_of_standard_error_is_no_json_or_lacks_who_and_where(ended):
    process, errors = ended("--log-format", "json")
    assert process.code == 0, process.output
    lines = [json.loads(line) for line in errors.splitlines()]
    assert {line["job"] for line in lines} == {"mine"}
    committed = [line for line in lines if line["event"] == "committed"]
    assert len(committed) == 2
    for line in committed:
        assert line["step"] == "labels.teacher"
        assert line["fragment"].startswith("rows/")
        assert line["worker"].count(":") == 1
        assert line["level"] == "info"
        assert datetime.fromisoformat(line["time"].replace("Z", "+00:00"))
    assert sum(line["rows"] for line in committed) == 100


def test_what_a_person_reads_changes(ended):
    plain, errors = ended()
    as_json, _ = ended("--log-format", "json")
    assert errors == ""
    assert plain.output.splitlines()[-1] == as_json.output.splitlines()[-1]


def test_an_error_is_on_standard_output_alone(ended):
    process, errors = ended("--log-format", "json", labeler="class Labeler:\n    pass\n")
    assert process.code == 2
    last = json.loads(errors.splitlines()[-1])
    assert (last["event"], last["level"], last["kind"]) == ("error", "error", "JobError")
    assert "revision" in last["message"]
    assert "revision" in process.output


def test_another_format_is_taken_for_text(ended):
    process, _ = ended("--log-format", "xml")
    assert process.code == 2


def test_a_log_record_that_raised_is_many_lines():
    try:
        raise ValueError("two\nlines")
    except ValueError:
        record = logging.LogRecord("ray", logging.ERROR, "", 0, "it %s", ("broke",), sys.exc_info())
    (line,) = JsonFormatter().format(record).splitlines()
    fields = json.loads(line)
    assert (fields["message"], fields["level"], fields["logger"]) == ("it broke", "error", "ray")
    assert "ValueError" in fields["error"]


def test_every_command_that_may_start_ray_has_the_option():
    """Whoever follows a cluster's logs follows each stage alike."""
    command = typer.main.get_command(app)
    options = {
        name: {parameter.name for parameter in each.params}
        for name, each in command.commands.items()
    }
    stages = {name for name, names in options.items() if "ray" in names}
    assert {"run", "structure", "select", "label", "train"} <= stages
    assert {name for name in stages if "log_format" not in options[name]} == set()
