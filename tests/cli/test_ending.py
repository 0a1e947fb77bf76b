"""How a command's process ends, whatever is still at work in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.waiting import LIMIT_SECONDS

_ENDS = "from distill.cli.ending import end_process, run_to_end\n"
_THREAD = "import threading, time; threading.Thread(target=time.sleep, args=(1000,)).start()\n"
_CHILD = "import multiprocessing, time\nif __name__ == '__main__':\n    multiprocessing.get_context('fork').Process(target=time.sleep, args=(1000,)).start()\n"


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


@pytest.mark.parametrize("left", ["", _THREAD, _CHILD])
@pytest.mark.parametrize("code", [0, 1, 130])
def test_what_a_labeler_left_behind_keeps_the_process_or_takes_its_code(left, code):
    ended = run(f"{left}{_ENDS}print('done')\nend_process({code})")
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "done\n", "")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("pass", 0),
        ("raise SystemExit", 0),
        ("raise SystemExit(2)", 2),
        ("raise SystemExit('text')", 1),
        ("raise KeyboardInterrupt", 130),
        ("raise BrokenPipeError", 141),
    ],
)
def test_an_end_has_another_code(body, code):
    ended = run(f"{_ENDS}def command():\n    {body}\nend_process(run_to_end(command))")
    assert ended.returncode == code
    assert "Traceback" not in ended.stderr


def test_ctrl_c_while_modules_are_imported_shows_a_traceback():
    code = "import os, signal, sys\nimport distill.__main__ as command\nclass Finder:\n    def find_spec(self, name, *rest):\n        if name == 'typer': os.kill(os.getpid(), signal.SIGINT)\nsys.meta_path.insert(0, Finder())\ncommand.main()"
    ended = run(code)
    assert ended.returncode == -2
    assert ended.stderr == ""
