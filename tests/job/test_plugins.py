"""A job's plugins run before its tables are read; what is wrong with one is told with its key."""

import pytest

from tests.job.right_job import refused


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, ["plugins.0 = ", "own.py", "No such file", "relative to the job file"]),
        (b"\xff", ["plugins.0 = ", "own.py", "not UTF-8"]),
        (b"1 / 0\n", ["plugins: ", "own.py raises when it is loaded", "ZeroDivisionError"]),
    ],
)
def test_a_plugin_that_cannot_be_loaded_is_told_without_its_key(tmp_path, content, said):
    if content is not None:
        (tmp_path / "own.py").write_bytes(content)
    refused(tmp_path, 'root = "runs"', 'root = "runs"\n    plugins = ["own.py"]', *said)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('"own.py"', "plugins = 'own.py': must be a list: write [\"own.py\"]."),
        ("[3]", "plugins.0 = 3: must be text in quotes."),
    ],
)
def test_plugins_of_another_type_are_told_otherwise_than_any_wrong_value(tmp_path, wrong, said):
    refused(tmp_path, 'root = "runs"', f'root = "runs"\n    plugins = {wrong}', said)
