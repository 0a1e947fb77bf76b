"""What a person sees: progress bars with rate and time left, lines, and tables."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distill.core.errors import LimitError
from distill.core.progress import FILES, LineBar

if TYPE_CHECKING:
    from distill.core.progress import Bar
    from distill.core.results import Evaluation


class _Console(Console):
    """One that leaves it to the command how it ends where nobody reads any more."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


# a pipe has no width, and rich would fold tables at 80
_PIPE_WIDTH = 160
_IN_ASCII = {
    "–": "-",
    "—": "-",
    "…": "...",
    "·": "-",
    "×": "x",
    "²": "^2",
    "→": "->",
    "►": ">",
    "←": "<-",
    "↑": "^",
    "↓": "v",
    "≥": ">=",
    "≤": "<=",
    "±": "+-",
    "λ": "lambda",
    "θ": "theta",
    "Σ": "sum",
    "\u00a0": " ",
    "░": ".",
    "▒": "+",
    "▓": "x",
    "█": "#",
    "‘": "'",
    "’": "'",
    "“": '"',
    "”": '"',
}
"""Signs that we print, for terminals and logs that have no such signs."""

console = _Console(highlight=False)
if not console.is_terminal:
    console = _Console(highlight=False, width=_PIPE_WIDTH)


def write_anywhere() -> None:
    """Have the standard streams take every text, also where they are no UTF-8 (`LC_ALL=C`, old
    containers, code pages): by signs that they have, and letters as escapes."""
    codecs.register_error("distill.ascii", _in_ascii)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # a pipe that was taken over cannot be asked where it is
            with contextlib.suppress(OSError):
                stream.reconfigure(errors="distill.ascii")


def _in_ascii(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    escaped = [_IN_ASCII.get(sign) or _escaped(sign) for sign in text]
    return "".join(escaped), error.end


def _escaped(sign: str) -> str:
    return sign.encode("ascii", "backslashreplace").decode("ascii")


class TerminalDisplay:
    """Rich progress bars, and on a pipe a line when work begins and ends."""

    def __init__(self) -> None:
        self.begun = 0
        """Pieces of work that were shown: 0 says that nothing was left to do."""
        self.worked = False
        """Whether any of them came on."""

    def begin(self, title: str, total: float, unit: str) -> Bar:
        """Show a bar for one piece of work."""
        self.begun += unit != FILES
        if console.is_terminal:
            from distill.cli.progress_bar import TerminalBar

            return TerminalBar(console, title, total, unit)
        return LineBar(title, total, unit, _say_line)

    def end(self, bar: Bar) -> None:
        """Take the bar down."""
        if isinstance(bar, LineBar):
            why = f", {bar.note}" if bar.note and bar.done < bar.total else ""
            line = f"{bar.done:,.0f} of {bar.total:,.0f} {bar.unit}{why}"
            _say_line(bar.title, line)
        else:
            from distill.cli.progress_bar import TerminalBar

            assert isinstance(bar, TerminalBar)
            bar.take_down()
        if bar.done > 0 and bar.unit != FILES:
            self.worked = True


def _say_line(title: str, line: str) -> None:
    console.print(f"  {title}: {line}", style="dim", markup=False)


def say(line: str) -> None:
    """Print one line, as it is."""
    # no markup: the brackets of combined[seed=1] would be one
    console.print(line, markup=False, soft_wrap=True)


def print_comparison(evaluation: Evaluation) -> None:
    """Print the comparison of all methods, and sentences on which won by what and what each term
    adds."""
    from distill.core.results import MEASURES
    from distill.core.verdict import verdict, what_terms_add

    title = f"{evaluation.rows:,} rows of {evaluation.pool}"
    if evaluation.kind != "value":
        title += " (% of rows)"
    if evaluation.left_out:
        count = f"{evaluation.left_out:,}"
        title += f"; {count} left out, without a known target or without labels"
    measures = [MEASURES[measure] for measure in evaluation.shown]
    heads = ["method", *measures, "parameters", "ms/row"]
    rows = _comparison_rows(evaluation)
    print_table(title, heads, rows)
    for line in [verdict(evaluation), *what_terms_add(evaluation)]:
        say(line)


def refuse_by_gate(evaluation: Evaluation) -> None:
    """End the command with exit code 3 where the job's gate does not let its students pass. Raises
    LimitError."""
    from distill.core.judgement import gate_sentences

    sentences = gate_sentences(evaluation.gate) if evaluation.gate else []
    if sentences:
        raise LimitError("\n".join(sentences))


def _comparison_rows(evaluation: Evaluation) -> list[list[str]]:
    from distill.core.verdict import format_measure

    rows = []
    for group in evaluation.groups:
        first = group.first
        name = group.name if group.role == "student" else f"{group.name} ({group.role})"
        seeds = f" ×{len(group.methods)}" if len(group.methods) > 1 else ""
        figures = [
            format_measure(measure, group.mean(measure), group.spread(measure))
            for measure in evaluation.shown
        ]
        parameters = f"{first.parameters:,}" if first.parameters else "–"
        milliseconds = f"{first.milliseconds_per_row:.2g}"
        rows.append([name + seeds, *figures, parameters, milliseconds])
    return rows


def print_table(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: the first column left, the others right."""
    table = Table(title=title, title_justify="left", box=rich.box.SIMPLE_HEAD)
    first, *others = heads
    table.add_column(first, overflow="fold")
    for head in others:
        table.add_column(head, justify="right", no_wrap=True, overflow="fold")
    for row in rows:
        cells = [Text(cell) for cell in row]  # not read as markup
        table.add_row(*cells)
    console.print(table)
