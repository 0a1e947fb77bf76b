"""`Recipe`: what a worker needs to build a labeler.

Plain values and addresses, small enough to be sent anywhere. Nothing of a labeler is unpickled from
storage: networks are plans and safetensors, and a user's own class travels as source text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from distill.core.source import PythonFile
from distill.labelers.kind import LabelerKind
from distill.models.custom_source import Code
from distill.models.files import ModelFiles
from distill.models.record import ModelRecord
from distill.spec.labels import Answers, Merge, Pooled
from distill.spec.outputs import Outputs


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How to build a labeler on the machine where it works."""

    form: Literal[
        "network",
        "eszsl",
        "structure",
        "custom",
        "ready",
        "ensemble",
        "merge",
        "pooled",
        "teachers",
    ]
    folder: str = ""  # URI of a trained model's folder
    record: ModelRecord | None = None
    code: Code = field(default_factory=dict)  # sources of what the user wrote of a trained network
    head: str = ""  # of a trained network, which head answers; "" is its first
    gives: str = ""  # what a structure gives of a row
    before: Recipe | None = None  # the structure that one on top of another sees rows through
    # the user's own labeler, or the user's own part of the model that `ready` names
    source: PythonFile | None = None
    name: str = ""  # the class in `source`
    # the table of a labeler that the job file describes by itself, which builds it
    ready: LabelerKind | None = None
    files: ModelFiles | None = None  # the model that it names
    merge: Merge | None = None  # how the labels of several parties become one
    pooled: Pooled | None = None  # how rows of a group share their votes
    precision: str = "float32"
    temperature: float = 1.0  # its logits are divided by this: what calibration found
    members: tuple[Member, ...] = ()
    outputs: Outputs | None = None  # what its answers mean; None where nobody holds them against it
    answers: Answers = "logits"  # as what it gives them
    # the pool's columns of features, in the order of the job; empty where a row is one object
    columns: tuple[str, ...] = ()
    width: int = 0  # numbers in a row of an ensemble's outputs

    def parts(self) -> Iterator[Recipe]:
        """Yield the recipes that are given rows: this one, those of the members, or of structures
        on top of each other the lowest."""
        if self.before is not None:
            yield from self.before.parts()
        elif self.form != "ensemble":
            yield self
        for member in self.members:
            yield member.recipe


@dataclass(frozen=True)
class Member:
    """One labeler of an ensemble."""

    name: str  # for people: kind and name
    recipe: Recipe
    share: float  # its weight; those of all members sum to 1
    # where the ensemble's classes stand among its own; None where they are the same
    columns: tuple[int, ...] | None
