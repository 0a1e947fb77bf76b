"""`python -m tests.chaos --runs 100 --seed 0`: run what is not in the results yet; `--table` writes
RESULTS.md from them."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.chaos.conduct import Conductor, drawn
from tests.chaos.results import append_line, read_lines, table
from tests.deadline import is_over

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=HERE / "results.jsonl")
    parser.add_argument(
        "--table", action="store_true", help="write RESULTS.md beside this file, and run nothing"
    )
    asked = parser.parse_args()
    if asked.table:
        (HERE / "RESULTS.md").write_text(table(read_lines(asked.results)), "utf-8")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is ended, as on Ctrl-C
    seeds = range(asked.seed, asked.seed + asked.runs)
    done = {line["seed"] for line in read_lines(asked.results)}
    _run([seed for seed in seeds if seed not in done], asked.results)
    came_to = Counter(
        line["outcome"] for line in read_lines(asked.results) if line["seed"] in seeds
    )
    print(
        f"{', '.join(f'{count} {outcome}' for outcome, count in came_to.items())} of {len(seeds)} runs ({asked.results})"
    )
    return 1 if came_to["broken"] else 0


def _run(seeds: list[int], results: Path) -> None:
    folder = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp"))
    conductor = Conductor(folder)
    try:
        for seed in seeds:
            if is_over():
                break
            print(
                f"{seed}: {' then '.join(f'{strike.__name__} ({variant})' for strike, variant in drawn(seed))}",
                flush=True,
            )
            line = conductor.run(seed)
            append_line(results, line)
            print(
                f"    {line['outcome']} in {line.get('seconds', 0)} s: {line['happened']}",
                flush=True,
            )
            for problem in line.get("problems", ()):
                print(f"    PROBLEM {problem}", flush=True)
    finally:
        conductor.end()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
