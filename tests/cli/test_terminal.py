from __future__ import annotations

import io
import sys

import pytest

from distill.cli import terminal
from distill.core import progress


def test_work_on_a_pipe_is_silent_while_it_goes_on(monkeypatch, capsys):
    monkeypatch.setattr(terminal, "console", terminal.Console(width=160))
    now = iter(range(0, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    bar = terminal.TerminalDisplay().begin("label teacher", 1_000, "rows")
    for _ in range(20):
        bar.advance(10)
    for _ in range(9):
        bar.waits("nodes to come")
    lines = capsys.readouterr().out.splitlines()
    moving = [line for line in lines if "rows/s" in line and "s left" in line]
    assert 3 <= len(moving) <= 12
    assert any(line.strip() == "label teacher: waits for nodes to come" for line in lines)


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("ascii", "7 x 3 - 2^2 ... \\xe9 \\u0915"),
        ("latin-1", "7 × 3 - 2² ... é \\u0915"),
        ("cp1252", "7 × 3 – 2² … é \\u0915"),
        ("utf-8", "7 × 3 – 2² … é क"),
    ],
)
def test_a_terminal_without_a_sign_ends_the_command(monkeypatch, encoding, shown):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", stream)
    terminal.write_anywhere()
    monkeypatch.setattr(terminal, "console", terminal.Console(width=60, highlight=False))
    terminal.say("7 × 3 – 2² … é क")
    terminal.print_table("head – of", ["name", "all"], [["é", "–"]])
    written = stream.buffer.getvalue().decode(encoding)
    assert written.splitlines()[0] == shown
