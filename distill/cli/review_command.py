"""The command `review`: rows that people should see."""

from __future__ import annotations

import typer

from distill.cli.options import Format, JobFile, Local, Ray, Root, Verbose, load
from distill.cli.process import LogFormat, process_edge
from distill.cli.terminal import say

commands = typer.Typer()


@commands.command()
def review(
    job: JobFile,
    *,
    root: Root = None,
    ray: Ray = None,
    local: Local = False,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Write rows that people should see, with reasons; what they say comes back as a pool."""
    with process_edge(ray, local=local, verbose=verbose, log_format=log_format) as process:
        loaded = load(job, root)
        from distill.run.review import review_pool

        reviewed = review_pool(loaded, engine=process.engine)
        counts = ", ".join(f"{count:,} by {reason}" for reason, count in reviewed.reasons.items())
        say(f"review of {reviewed.pool}: {reviewed.rows:,} rows ({counts}).")
        for note in reviewed.notes:
            say(note)
        say(f"Rows: {reviewed.url}, {reviewed.parquet}")
