from __future__ import annotations

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
