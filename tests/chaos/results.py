"""What is kept of chaos runs: a JSON line each, as soon as it is known, and a table for people."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from statistics import median
from typing import Any

ManifestEntry = dict[str, Any]


def read_lines(file: Path) -> list[ManifestEntry]:
    """The lines there are, by seed."""
    if not file.exists():
        return []
    return sorted(
        map(json.loads, file.read_text("utf-8").splitlines()), key=lambda line: int(line["seed"])
    )


def append_line(file: Path, line: ManifestEntry) -> None:
    """Keep one more, whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as kept:
        kept.write(json.dumps(line, ensure_ascii=False) + "\n")


def table(lines: list[ManifestEntry]) -> str:
    """What runs came to, by the kind of their last fault, in one Markdown table; and the broken
    ones."""
    outcomes = Counter(line["outcome"] for line in lines)
    said = ", ".join(
        f"{count} {outcome}" for outcome, count in sorted(outcomes.items(), reverse=True)
    )
    doubled, missing = (sum(line.get(name, 0) for line in lines) for name in ("doubled", "missing"))
    kinds: dict[str, list[ManifestEntry]] = {}
    for line in lines:
        kinds.setdefault(line["faults"][-1].split(":")[0], []).append(line)
    return "\n".join(
        [
            "# Outcomes of chaos runs",
            "",
            f"{len(lines)} runs, {_span(lines)}: {said}; {doubled} rows doubled, {missing} missing. Each was held against the label hash of an "
            "undisturbed run. A run counts under its last fault (a third of them met another before); what each is, is said in `faults.py` and "
            "`stored.py`. *Refused* are those in which a command had to refuse or to stop by name, and did; with the reason mended they then ended whole. "
            "*Again* is how many fragments were computed more than once, in the worst run; *silent* the longest time without a line or a commit.",
            "",
            *_rows(kinds),
            "",
            *(
                f"- seed {line['seed']}, {line['faults']}: {line['problems']}"
                for line in lines
                if line["outcome"] == "broken"
            ),
        ]
    )


def _span(lines: list[ManifestEntry]) -> str:
    days = sorted({line["day"] for line in lines if "day" in line})
    seeds = [line["seed"] for line in lines]
    told = f"`make chaos RUNS={len(seeds)} SEED={min(seeds, default=0)}`"
    return ", ".join([told, *days])


def _rows(kinds: dict[str, list[ManifestEntry]]) -> list[str]:
    heads = (
        "fault",
        "runs",
        "whole",
        "refused",
        "broken",
        "doubled",
        "missing",
        "again",
        "silent, s",
        "median s",
    )
    cells = [
        (
            kind,
            len(lines),
            sum(line["outcome"] == "whole" for line in lines),
            sum(line.get("refused", 0) > 0 for line in lines),
            sum(line["outcome"] == "broken" for line in lines),
            sum(line.get("doubled", 0) for line in lines),
            sum(line.get("missing", 0) for line in lines),
            max(line.get("computed_again", 0) for line in lines),
            max(line.get("longest_silence", 0) for line in lines),
            round(median(line.get("seconds", 0) for line in lines)),
        )
        for kind, lines in kinds.items()
    ]
    return [
        "| " + " | ".join(map(str, row)) + " |" for row in (heads, ["---"] * len(heads), *cells)
    ]
