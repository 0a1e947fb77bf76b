"""What a job takes along to a cluster: its folder and the package `distill`, as one zip file.

    job/            the folder of the job file, without what is ignored
    distill/        this package, as it is here

Ray unpacks it on every node and puts it on the path of driver and workers. The folder is one level
below, so that no file of the user's stands in for a module (a `random.py` beside the job). The
package goes along always: driver and workers on whichever images then work with one version, and
nobody can ask an image over the job API what it has. It is under a megabyte, and Ray stores what
has the same digest once.

What is ignored: `USUALLY_IGNORED`, and what the file `.distillignore` beside the job says, in the
words of `.gitignore`; it may take something back in (`!important.key`). The root and pools that lie
in the folder stay: they are read where they are.
"""

from __future__ import annotations

import hashlib
import heapq
import io
import os
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill.core.errors import JobError, MissingExtraError

IGNORE_FILE = ".distillignore"
USUALLY_IGNORED = (
    ".*",  # .git, .venv; and .env, .aws, .netrc, which hold secrets
    "__pycache__/",
    "*.py[co]",
    "venv/",
    "node_modules/",
    "runs/",
    "*.pem",
    "*.key",
    "*.p12",
    "id_rsa*",
    "id_ed25519*",
)
MOST_BYTES = 64_000_000
"""Of the files, before they are packed. Ray's dashboard takes no more than 100 MiB at once, and its
head node keeps the package in memory."""
_SHOWN_FILES = 5
_JOB = "job"
_PACKAGE = "distill"
_PACKAGE_FOLDER = Path(__file__).parents[3]
# of each entry: else a copy of the same files were another package
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Package:
    """A zip file, and under which URI Ray stores it."""

    content: bytes
    uri: str
    job_file: str
    """Of the job, within the package."""
    files: int
    """Of the job's folder."""


def pack_job(
    job_file: Path, *, elsewhere: Collection[Path] = (), with_package: bool = True
) -> Package:
    """Pack a job file with its folder, but what is ignored and what lies in the folders
    `elsewhere`. Raises JobError where that is too much, MissingExtraError without `pathspec`."""
    folder = job_file.parent.absolute()
    files = dict(_folder_files(folder, elsewhere))
    # also where something ignores it
    files[job_file.name] = folder / job_file.name
    _require_small(folder, files)
    packed = {f"{_JOB}/{name}": file for name, file in files.items()}
    if with_package:
        packed |= dict(_package_files())
    content = _zipped(packed)
    digest = hashlib.sha256(content).hexdigest()
    # Ray knows a package by this beginning and ending
    uri = f"gcs://_ray_pkg_{digest[:32]}.zip"
    return Package(content, uri, f"{_JOB}/{job_file.name}", len(files))


def _folder_files(folder: Path, elsewhere: Collection[Path]) -> Iterator[tuple[str, Path]]:
    """Yield what goes along, by its name within the folder."""
    ignored = _read_ignored(folder)
    for here, folders, names in os.walk(folder):
        inside = Path(here).relative_to(folder)

        def goes_along(name: str, ending: str = "", inside: Path = inside) -> bool:
            path = inside / name
            return not ignored.match_file(f"{path.as_posix()}{ending}")

        # in place: what is left out here is not walked through
        folders[:] = [
            name for name in folders if Path(here, name) not in elsewhere and goes_along(name, "/")
        ]
        for name in names:
            file = Path(here, name)
            # no socket and no dangling link
            if file.is_file() and goes_along(name):
                yield (inside / name).as_posix(), file


def _read_ignored(folder: Path) -> Any:
    try:
        from pathspec import GitIgnoreSpec
    except ImportError:
        raise MissingExtraError("pathspec", "cluster", "submitting a job") from None
    lines = list(USUALLY_IGNORED)
    file = folder / IGNORE_FILE
    try:
        lines += file.read_text("utf-8").splitlines()
        return GitIgnoreSpec.from_lines(lines)
    except FileNotFoundError:
        return GitIgnoreSpec.from_lines(lines)
    except (OSError, ValueError) as error:
        raise JobError(f"{file}: cannot be read as a .gitignore is: {error}.") from None


def _require_small(folder: Path, files: dict[str, Path]) -> None:
    """Raise JobError where the files are too much to send."""
    sizes = {name: file.stat().st_size for name, file in files.items()}
    total = sum(sizes.values())
    if total <= MOST_BYTES:
        return
    largest = heapq.nlargest(_SHOWN_FILES, sizes, key=sizes.__getitem__)
    named = [f"{name} ({_megabytes(sizes[name])})" for name in largest]
    raise JobError(
        f"{folder}: {len(files):,} files of {_megabytes(total)} would go along with the job, and"
        f" {_megabytes(MOST_BYTES)} may. The largest: {', '.join(named)}. Name what the job does"
        f" not need in {folder / IGNORE_FILE}; put pools and models where every node reads them"
        " (s3://)."
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _package_files() -> Iterator[tuple[str, Path]]:
    """Yield the files of the package `distill`, by their names in the zip file."""
    for file in _PACKAGE_FOLDER.rglob("*"):
        inside = file.relative_to(_PACKAGE_FOLDER)
        if file.is_file() and "__pycache__" not in inside.parts:
            yield f"{_PACKAGE}/{inside.as_posix()}", file


def _zipped(files: dict[str, Path]) -> bytes:
    """Return a zip file that is the same bytes for the same files."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _TIME)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            content = files[name].read_bytes()
            archive.writestr(entry, content)
    return sink.getvalue()
