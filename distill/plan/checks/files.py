"""Where a job says that things lie: URIs without secrets, and files that stand beside it."""

from __future__ import annotations

import os
import re

from distill.plan.checks.problems import Problems
from distill.plan.tables import JobTables
from distill.spec.uris import is_hub, is_read_only, wrong_uri

_VARIABLE = re.compile(r"\$\w|\$\{")
_ENDPOINT = re.compile(r"https?://[^/@?#\s]+(/[^@?#\s]*)?")


def check_uris(tables: JobTables) -> Problems:
    """Yield the URIs of the root and of pools that cannot be opened, or carry a secret."""
    yield from _check_uri(tables.root_uri, "root", writes=True)
    if os.path.isfile(tables.root_uri):
        yield f"root = {tables.root_uri!r}: is a file. Name a folder, which need not be there yet."
    for name, pool in tables.pools.items():
        uri = tables.pool_uri(name)
        yield from _check_uri(uri, f"pools.{name}.path", writes=pool.made_by is not None)
    for scheme, endpoint in tables.endpoints:
        # without its value, which may be a secret
        if not _ENDPOINT.fullmatch(endpoint):
            yield (
                f"storage.{scheme}.endpoint: is no address. Write http(s)://HOST:PORT, and leave"
                " credentials to the environment."
            )


def check_model_uri(tables: JobTables, model: str, where: str) -> Problems:
    """Yield why a labeler's model cannot lie where the job says; `where` is its key."""
    uri = tables.model_uri(model)
    if not is_hub(uri):
        yield from _check_uri(uri, where)


def _check_uri(uri: str, where: str, *, writes: bool = False) -> Problems:
    wrong = wrong_uri(uri) or _no_plain_path(uri)
    if wrong:
        yield f"{where}: {wrong}"
    elif writes and is_read_only(uri):
        yield (
            f"{where}: {uri!r} can be read as a pool, and nothing can be written there. Name a"
            " folder or a bucket."
        )


def _no_plain_path(uri: str) -> str | None:
    """What a shell would have replaced in a path of which nothing is there."""
    if os.path.exists(uri):
        return None
    if _VARIABLE.search(uri):
        return f"{uri!r} names a variable, which nobody replaces here. Write the path out."
    if "*" in uri:
        return (
            f"{uri!r} is a pattern, and a path is due. Name the folder: all files in it are read."
        )
    return None


def check_maker(tables: JobTables, made_by: str, where: str) -> Problems:
    """Yield why FILE.py:FUNCTION cannot be called; `where` is its key."""
    file, _, function = made_by.partition(":")
    made_by_key = f"{where} = {made_by!r}"
    if not function:
        yield f"{made_by_key}: say FILE.py:FUNCTION, relative to the job file."
        return
    yield from check_file(tables, file, made_by_key)


def check_file(tables: JobTables, file: str, key: str) -> Problems:
    """Yield where a file beside the job is not there; `key` is what names it, with its value."""
    path = tables.beside(file)
    if not path.is_file():
        yield f"{key}: there is no file {str(path)!r}. Paths are relative to the job file."
