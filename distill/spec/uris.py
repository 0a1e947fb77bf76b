"""Relative paths resolve against the job file; URIs stay as they are."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit


def resolve_uri(path: str, folder: Path) -> str:
    """`path` as an absolute path or URI, without a trailing slash."""
    path = path.removeprefix("file://")  # one spelling, so that pools that share files are seen
    if urlsplit(path).scheme:
        return path.rstrip("/")
    return os.path.normpath(folder.absolute() / Path(path).expanduser())


SCHEMES = ("file", "s3", "gs", "abfs")
READ_ONLY_SCHEMES = ("hf", "http", "https")  # of pools that are read where others keep them
# environment variable: the folder of what a machine keeps near. By default fetched models lie
# below `~/.cache/distill`, decoded rows where temporary files do.
CACHE = "DISTILL_CACHE"


HUB = "hf://"
_HUB_MODEL = re.compile(r"hf://[\w.-]+/[\w.-]+@[\w./-]+")
# a folder or file of a data set of the hub, at a revision
HUB_DATA = re.compile(
    r"hf://datasets/(?P<data_set>[\w.-]+/[\w.-]+)"
    r"@(?P<revision>refs/(convert|pr)/[\w.-]+|[\w.%-]+)(?P<path>/.*)?"
)
_HOST_AND_PORT = re.compile(r"[^:@]+:\d+|\[[0-9a-f:]+\](:\d+)?")

# CONTAINER@ACCOUNT.HOST, as Azure writes an address
_CONTAINER = re.compile(r"[a-z0-9-]+@[a-z0-9]+\.(dfs|blob)\.core\.[\w.]+")


def is_hub(uri: str) -> bool:
    """Whether it names a model of the Hugging Face hub, as `hf://ORGANISATION/NAME@REVISION`."""
    match = _HUB_MODEL.fullmatch(uri)
    return bool(match)


def is_remote(uri: str) -> bool:
    """Whether machines other than this one can read `uri`."""
    return urlsplit(uri).scheme not in ("", "file")


def is_read_only(uri: str) -> bool:
    """Whether nothing can be written to `uri`, as to a data set of the hub or a web server."""
    scheme = urlsplit(uri).scheme
    return scheme in READ_ONLY_SCHEMES


def wrong_uri(uri: str) -> str | None:
    """What is wrong with a URI, its secrets left out: another scheme, credentials, a query. None
    where nothing is."""
    parts = urlsplit(uri)
    rest = uri.partition("://")[2]
    is_container = parts.scheme == "abfs" and _CONTAINER.fullmatch(parts.netloc)
    is_port = parts.scheme in READ_ONLY_SCHEMES and _HOST_AND_PORT.fullmatch(parts.netloc)
    # a secret may hold a slash, which ends the netloc
    is_secret = ":" in parts.netloc and "@" in rest and not is_port
    if not is_container and ("@" in parts.netloc or is_secret):
        shown = re.split(r"[?#]", rest.rsplit("@", 1)[1])[0]
        scheme = parts.scheme
        return (
            f"'{scheme}://…@{shown}' carries credentials. Leave them to the"
            " environment or to an instance role."
        )
    shown = uri.partition("?")[0].partition("#")[0]
    if parts.scheme == "hf" and not HUB_DATA.fullmatch(uri):
        return _wrong_on_hub(shown)
    is_known = parts.scheme in ("", *SCHEMES, *READ_ONLY_SCHEMES)
    if not is_known or (parts.scheme and not uri[len(parts.scheme) :].startswith("://")):
        slashes = f", as {parts.scheme}://…" if is_known else ""
        return (
            f"{shown!r} has the scheme {parts.scheme!r}; distill reads and writes"
            f" {', '.join(SCHEMES)}, and reads pools from {', '.join(READ_ONLY_SCHEMES)}{slashes}."
        )
    if parts.scheme and (parts.query or parts.fragment):
        return f"{shown!r} is followed by a query or a fragment. Leave it out."
    if parts.scheme == "file" and parts.netloc not in ("", "localhost"):
        host = parts.netloc
        return f"{shown!r} names the host {host!r}; a file lies on this machine. Write file:///…"
    return None


def _wrong_on_hub(shown: str) -> str:
    if shown.startswith(f"{HUB}datasets/"):
        return (
            f"{shown!r} does not name a data set at a revision. Write"
            " hf://datasets/ORGANISATION/NAME@REVISION/PATH."
        )
    return f"{shown!r} does not name a model at a revision. Write hf://ORGANISATION/NAME@REVISION."
