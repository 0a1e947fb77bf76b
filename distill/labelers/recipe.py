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
    folder: str = ""
    """URI of a trained model's folder."""
    record: ModelRecord | None = None
    code: Code = field(default_factory=dict)
    """Sources of what the user wrote of a trained network."""
    head: str = ""
    """Of a trained network, which head answers; "" is its first."""
    gives: str = ""
    """What a structure gives of a row."""
    before: Recipe | None = None
    """The structure that one on top of another sees rows through."""
    source: PythonFile | None = None
    """The user's own labeler, or the user's own part of the model that `ready` names."""
    name: str = ""
    """The class in `source`."""
    ready: LabelerKind | None = None
    """The table of a labeler that the job file describes by itself, which builds it."""
    files: ModelFiles | None = None
    """The model that it names."""
    merge: Merge | None = None
    """How the labels of several parties become one."""
    pooled: Pooled | None = None
    """How rows of a group share their votes."""
    precision: str = "float32"
    temperature: float = 1.0
    """Its logits are divided by this: what calibration found."""
    members: tuple[Member, ...] = ()
    outputs: Outputs | None = None
    """What its answers mean; None where nobody holds them against it."""
    answers: Answers = "logits"
    """As what it gives them."""
    columns: tuple[str, ...] = ()
    """The pool's columns of features, in the order of the job; empty where a row is one object."""
    width: int = 0
    """Numbers in a row of an ensemble's outputs."""

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

    name: str
    """For people: kind and name."""
    recipe: Recipe
    share: float
    """Its weight; those of all members sum to 1."""
    columns: tuple[int, ...] | None
    """Where the ensemble's classes stand among its own; None where they are the same."""
