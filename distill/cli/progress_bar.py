"""The bar that a terminal shows of a piece of work; apart, since on a pipe nobody needs it."""

from __future__ import annotations

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _Rate(ProgressColumn):
    """Units done, of how many, and units a second."""

    def render(self, task: Task) -> Text:
        unit = task.fields["unit"]
        done = f"{task.completed:,.0f}/{task.total or 0:,.0f} {unit}"
        rate = f"{task.speed:,.0f} {unit}/s" if task.speed else ""
        return Text(f"{done} {rate}", style="progress.data.speed")


class TerminalBar:
    """A `Bar` of rich's, until it is taken down."""

    def __init__(self, console: Console, title: str, total: float, unit: str) -> None:
        self.unit = unit
        self.done = 0.0
        self._progress = Progress(
            SpinnerColumn("line" if console.options.ascii_only else "dots"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            _Rate(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
            transient=True,
        )
        self._task = self._progress.add_task(title, total=total, unit=unit, note="")
        self._progress.start()

    def advance(self, amount: float, note: str = "") -> None:
        """See `Bar`."""
        self.done += amount
        self._progress.update(self._task, advance=amount, note=note)

    def waits(self, what: str) -> None:
        """See `Bar`."""
        self._progress.update(self._task, note=f"waits for {what}")

    def take_down(self) -> None:
        """Show it no more."""
        self._progress.stop()
