"""What is kept of chaos runs: a JSON line each, as soon as it is known, and a table for people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

Line = dict[str, Any]


def read_lines(file: Path) -> list[Line]:
    """The lines there are, by seed."""
    if not file.exists():
        return []
    return sorted(map(json.loads, file.read_text("utf-8").splitlines()), key=lambda line: int(line["seed"]))


def append_line(file: Path, line: Line) -> None:
    """Keep one more, whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as kept:
        kept.write(json.dumps(line, ensure_ascii=False) + "\n")


def table(lines: list[Line]) -> str:
    """All runs in one Markdown table, under what they came to."""
    outcomes = Counter(line["outcome"] for line in lines)
    said = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items(), reverse=True))
    doubled, missing = (sum(line.get(name, 0) for line in lines) for name in ("doubled", "missing"))
    again = sum(line.get("computed_again", 0) for line in lines)
    longest = max((line.get("longest_silence", 0) for line in lines), default=0)
    return "\n".join(
        [
            "# Outcomes of chaos runs",
            "",
            f"{len(lines)} runs: {said}; {doubled} rows doubled, {missing} missing, {again} fragments computed again; no silence "
            f"longer than {longest} s. Each was held against the label hash of an undisturbed run. Made by `make chaos RUNS=100 SEED=0`; "
            "what each fault is, is said in `faults.py` and `stored.py`.",
            "",
            *_rows(lines),
            "",
        ]
    )


def _rows(lines: list[Line]) -> list[str]:
    heads = ("seed", "place", "faults", "s", "reruns", "again", "silent, s", "doubled", "missing", "outcome")
    names = (
        "seed",
        "place",
        "faults",
        "seconds",
        "reruns",
        "computed_again",
        "longest_silence",
        "doubled",
        "missing",
        "outcome",
    )
    cells = [[line.get(name, "–") for name in names] for line in lines]
    for row in cells:
        row[2] = " then ".join(row[2])
    return ["| " + " | ".join(map(str, row)) + " |" for row in (heads, ["---"] * len(heads), *cells)]
