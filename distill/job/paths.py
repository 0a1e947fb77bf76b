"""Relative paths resolve against the job file; URIs stay as they are."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit


def resolve_uri(path: str, folder: Path) -> str:
    """`path` as an absolute path or URI, without a trailing slash."""
    path = path.removeprefix("file://")  # one spelling, so that pools that share files are seen
    if urlsplit(path).scheme:
        return path.rstrip("/")
    return os.path.normpath(folder.absolute() / Path(path).expanduser())
