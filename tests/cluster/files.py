"""The files of `cluster/`, by what reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.command import REPOSITORY

FOLDER = REPOSITORY / "cluster"
LAUNCHER = ("local.yaml", "autoscaling.yaml", "aws.yaml", "gcp.yaml")
KUBERNETES = (
    "kubernetes.yaml",
    "kubernetes-parts.yaml",
    "kuberay-cluster.yaml",
    "kuberay-job.yaml",
)
SKYPILOT = ("skypilot-cluster.yaml", "skypilot-pool.yaml", "skypilot-part.yaml")
SLURM = ("slurm-array.sbatch",)


def path(name: str) -> Path:
    """Return where a file lies."""
    return FOLDER / name


def document(name: str) -> dict[str, Any]:
    """Return the one document of a YAML file, new each time."""
    (only,) = documents(name)
    return only


def documents(name: str) -> list[dict[str, Any]]:
    """Return all documents of a YAML file, new each time."""
    return list(yaml.safe_load_all(path(name).read_text("utf-8")))


def sbatch_options(name: str) -> dict[str, str]:
    """Return the `#SBATCH --name=value` lines of a Slurm script."""
    options = {}
    for line in path(name).read_text("utf-8").splitlines():
        if line.startswith("#SBATCH --"):
            key, _, value = line.removeprefix("#SBATCH --").partition("=")
            options[key] = value
    return options
