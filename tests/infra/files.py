"""The files of `infra/`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.command import REPOSITORY

FOLDER = REPOSITORY / "infra"
CLOUDS = ("aws", "gcp")


def program(name: str) -> str:
    """Return where a program is; skip the test, by its name, on a machine without it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}")
    return found


def terraform(cloud: str) -> dict[str, dict[str, Any]]:
    """Return all blocks of a cloud's files: `resource.TYPE.NAME`, `variable.NAME`, … → its body."""
    blocks: dict[str, dict[str, Any]] = {}
    for file in sorted((FOLDER / cloud).glob("*.tf")):
        blocks |= parsed(file)
    return blocks


def parsed(file: Path) -> dict[str, dict[str, Any]]:
    """Return the blocks of one file of Terraform's."""
    hcl2 = pytest.importorskip("hcl2")
    with file.open(encoding="utf-8") as text:
        tree = _plain(hcl2.load(text))
    blocks: dict[str, dict[str, Any]] = {}
    for kind, entries in tree.items():
        for entry in entries:
            blocks |= _named(kind, entry)
    return blocks


def _named(kind: str, entry: dict[str, Any]) -> dict[str, dict[str, Any]]:
    depth = {"resource": 2, "data": 2, "variable": 1, "output": 1, "provider": 1}.get(kind, 0)
    found = {kind: entry}
    for _ in range(depth):
        found = {
            f"{path}.{name}": body
            for path, bodies in found.items()
            for name, body in bodies.items()
        }
    return found


def _plain(value: Any) -> Any:
    """Return what hcl2 read without the quotes and marks that its versions leave in it."""
    if isinstance(value, dict):
        kept = {key: each for key, each in value.items() if not str(key).startswith("__")}
        return {str(key).strip('"'): _plain(each) for key, each in kept.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.strip('"') if isinstance(value, str) else value
