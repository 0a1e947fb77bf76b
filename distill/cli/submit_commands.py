"""The commands that work on a cluster from outside, by Ray's job API: submit a job, look at those
that were submitted, follow one, stop one.

A submitted job is `distill run` on the cluster's head node, so submitting it again is how it goes
on: what is committed is not done again, and a driver beside a living one is refused by the lease.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from distill.cli.ending import STOPPED
from distill.cli.options import Format, JobFile, Root, Verbose, load
from distill.cli.process import LogFormat, process_edge
from distill.cli.terminal import print_table, say
from distill.core.errors import JobError
from distill.core.progress import LINE_EVERY_SECONDS
from distill.engine.ray.submission.dashboard import USUAL_ADDRESS

if TYPE_CHECKING:
    from distill.engine.ray.submission.client import JobClient, SubmittedJob
    from distill.job.job import Job

_POLL_SECONDS = 1.0

Address = Annotated[
    str,
    typer.Option(
        "--address",
        metavar="URL",
        envvar="RAY_API_SERVER_ADDRESS",
        help="Of the cluster's dashboard: https, or http at a tunnel's end on this machine.",
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="As `distill jobs` names it.")]

commands = typer.Typer()


@commands.command()
def submit(
    file: JobFile,
    *,
    address: Address = USUAL_ADDRESS,
    detach: Annotated[
        bool, typer.Option("--detach", help="Do not follow it: say its id, and leave.")
    ] = False,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env",
            metavar="NAME",
            help="A variable of this environment that the job is given; its value is not printed.",
        ),
    ] = None,
    package: Annotated[
        bool,
        typer.Option(
            help="Send this distill along; without it, that of the cluster's image works."
        ),
    ] = True,
    root: Root = None,
    verbose: Verbose = False,
    log_format: Format = LogFormat.text,
) -> None:
    """Run a job on a cluster: send it with its folder, follow it, end with its exit code."""
    with process_edge(None, verbose=verbose, log_format=log_format):
        client = _client(address)
        loaded = load(file, root)
        elsewhere = _require_shared(_written_places(loaded), loaded.path)
        from distill.engine.ray.submission.package import pack_job
        from distill.engine.ray.submission.request import submit_package

        packed = pack_job(file, elsewhere=elsewhere, with_package=package)
        options = _run_options(root, verbose=verbose, log_format=log_format)
        id = submit_package(client, packed, loaded.name, options, env or ())
        say(f"Submitted {id} with {packed.files} files of {loaded.folder}.")
        code = 0
        if detach:
            say(f"Follow it with `distill logs {id}`, stop it with `distill stop {id}`.")
        else:
            code = _follow(client, id)
    raise typer.Exit(code)


@commands.command()
def jobs(address: Address = USUAL_ADDRESS) -> None:
    """The jobs that a cluster was sent, and how they ended."""
    with process_edge(None):
        rows = [_row(each) for each in _client(address).jobs()]
        print_table("", ["id", "job", "state", "exit code", "began (UTC)", "took"], rows)


@commands.command()
def logs(id: JobId, address: Address = USUAL_ADDRESS) -> None:
    """Follow a submitted job from the beginning of its log; end with its exit code."""
    with process_edge(None):
        code = _follow(_client(address), id)
    raise typer.Exit(code)


@commands.command()
def stop(id: JobId, address: Address = USUAL_ADDRESS) -> None:
    """Have a submitted job commit the fragments in work, and leave."""
    with process_edge(None):
        client = _client(address)
        if client.stop(id):
            say(f"{id} finishes the fragments in work.")
        found = _await_end(client, id)
        say(f"{id}: {found.state}, exit code {found.exit_code}.")


def _client(address: str) -> JobClient:
    """Raises JobError where nothing may be sent there."""
    from distill.engine.ray.submission.client import JobClient
    from distill.engine.ray.submission.dashboard import find_dashboard

    return JobClient(find_dashboard(address))


def _written_places(loaded: Job) -> dict[str, str]:
    """Return root and pools as the job file has them, by their keys."""
    pools = {f"pools.{name}.path": pool.path for name, pool in loaded.pools.items()}
    return {"root": loaded.root, **pools}


def _require_shared(written: Mapping[str, str], job_file: Path) -> list[Path]:
    """Return the folders that the job's places are, which stay where they are. Raises JobError for
    places that are beside the job file: each node would have one of its own."""
    folders = []
    relative = []
    for key, place in written.items():
        if place.startswith("{root}") or _has_scheme(place):
            continue
        # no ~, which is another folder on the cluster
        folder = os.path.normpath(place.removeprefix("file://"))
        if os.path.isabs(folder):
            folders.append(Path(folder))
        else:
            relative.append(f"{job_file}: {key} = {place!r}")
    if relative:
        lines = "\n".join(relative)
        raise JobError(
            f"{lines}\nis beside the job file, where no node of a cluster finds it. Give s3://, gs://"
            " or abfs://, or the absolute path of a folder that all nodes share; the root also as"
            " --root s3://BUCKET/PREFIX."
        )
    if folders:
        named = [str(folder) for folder in folders]
        say(f"(every node of the cluster has to share {', '.join(named)})")
    return folders


def _has_scheme(place: str) -> bool:
    return urlsplit(place).scheme not in ("", "file")


def _run_options(root: str | None, *, verbose: bool, log_format: LogFormat) -> list[str]:
    """Return what `distill run` is told there."""
    options = []
    if root is not None:
        options += ["--root", root]
    if verbose:
        options.append("--verbose")
    if log_format is not LogFormat.text:
        options += ["--log-format", log_format.value]
    return options


def _follow(client: JobClient, id: str) -> int:
    """Print a job's log until it is over; return its exit code, or that of Ctrl-C, which ends the
    following alone."""
    from distill.engine.ray.submission.follow import follow_job

    try:
        found = follow_job(client, id, _write)
    except KeyboardInterrupt:
        say(f"{id} goes on: `distill logs {id}` follows it again, `distill stop {id}` stops it.")
        return STOPPED + signal.SIGINT
    code = found.exit_code
    assert code is not None
    say(f"{id}: {found.state}, exit code {code}.")
    # a driver's own last lines are in its log; what is said here is of one that never began
    if code and "exit code" not in found.message:
        say(found.message)
    return code


def _write(text: str) -> None:
    """Pass a log on as it is: it is one already."""
    sys.stdout.write(text)
    sys.stdout.flush()


def _await_end(client: JobClient, id: str) -> SubmittedJob:
    """Return a job when it is over; say once a minute that it is not."""
    told = time.monotonic()
    found = client.job(id)
    while not found.is_over:
        time.sleep(_POLL_SECONDS)
        if time.monotonic() - told >= LINE_EVERY_SECONDS:
            told = time.monotonic()
            say(f"{id} is at work on its fragments still.")
        found = client.job(id)
    return found


def _row(submitted: SubmittedJob) -> list[str]:
    code = "" if submitted.exit_code is None else str(submitted.exit_code)
    until = time.time() if submitted.ended is None else submitted.ended
    took = f"{until - submitted.began:,.0f} s"
    began = _moment(submitted.began)
    return [submitted.id, submitted.job, submitted.state, code, began, took]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
