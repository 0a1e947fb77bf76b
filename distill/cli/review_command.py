"""The command `review`: rows that people should see."""

from __future__ import annotations

import typer

from distill.cli.options import JobFile, Work, working
from distill.cli.terminal import say

commands = typer.Typer()


@commands.command()
@working
def review(job: JobFile, *, work: Work) -> None:
    """Write rows that people should see, with reasons; what they say comes back as a pool."""
    with work.begin() as process:
        loaded = work.load(job)
        from distill.run.review import review_pool

        reviewed = review_pool(loaded, engine=process.engine)
        counts = ", ".join(f"{count:,} by {reason}" for reason, count in reviewed.reasons.items())
        say(f"review of {reviewed.pool}: {reviewed.rows:,} rows ({counts}).")
        for note in reviewed.notes:
            say(note)
        say(f"Rows: {reviewed.url}, {reviewed.parquet}")
