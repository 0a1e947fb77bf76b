"""What a kind of labeler derives from. A kind is one class in one file: its table in the job file,
what it reads and which libraries it needs, and how it is built.

    class Constant(LabelerKind):
        kind: Literal["constant"]
        revision: Literal["1"] = "1"
        classes: Classes
        logits: tuple[float, ...]

        def build(self, runtime: Runtime) -> Labeler:
            return ConstantLabeler(self.logits)

It registers itself where it is defined (`distill.spec.kinds`): in a file that the job names as one
of its `plugins`, or in a module that `distill.labelers.kinds` lists. Every process that reads a job
imports it, so `build` is where it imports heavy libraries.

Two keys have a meaning here. `classes` are the names of the outputs in their order, so that nobody
guesses it: where the model names its own, the two are compared when it is built. `independent` says
that a row may have several of them. Without `classes` the outputs are values, `width` a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from distill.core.errors import MissingExtraError
from distill.core.schema import digest
from distill.labelers.base import Labeler
from distill.labelers.runtime import Runtime
from distill.models.files import ModelFiles, identify_model
from distill.spec.base import Place, repeated
from distill.spec.labels import MemberTable
from distill.spec.pools import Features

Classes = Annotated[tuple[str, ...], Field(min_length=1)]


class LabelerKind(MemberTable):
    """A labeler that the job file describes by itself: no other table or file of the user's own."""

    reads: ClassVar[Literal["text", "numbers", "images"] | None] = None
    """Which features of a pool it takes, images being numbers too; None where the job alone cannot
    tell."""
    libraries: ClassVar[Mapping[str, str]] = {}
    """What it needs beside torch and numpy: libraries by the names that are imported, and those
    that are installed. Their versions are recorded with the labels."""
    extra: ClassVar[str] = ""
    """The extra of distill that has them."""
    uses_torch: ClassVar[bool] = False
    """Whether building it computes with torch."""
    location_keys: ClassVar[frozenset[str]] = frozenset()
    """Keys that say where model and code lie and how they are opened, not what the outputs are: the
    same labels whatever they are."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in order; empty where it has values."""
        # a key of the kinds that have it: in a table of others it must be refused
        names: tuple[str, ...] | None = getattr(self, "classes", None)
        return names or ()

    @property
    def exclusive(self) -> bool:
        """Whether a row has one class."""
        return not getattr(self, "independent", False)

    @property
    def code_file(self) -> str | None:
        """The Python file, relative to the job file, that `Runtime.source` is read from."""
        return None

    @model_validator(mode="after")
    def _distinct(self) -> LabelerKind:
        if repeated(self.class_names):
            raise ValueError("classes must be distinct")
        return self

    def build(self, runtime: Runtime) -> Labeler:
        """Build the labeler on the machine where it works. Raises LabelerError where the model is
        not what the table says."""
        raise NotImplementedError

    def pass_key(self) -> tuple[object, ...] | None:
        """Return what two labelers of this kind and of one model must have alike to be answered by
        one pass of it; None where each needs its own."""
        return None

    def build_companion(self, first: Labeler, runtime: Runtime) -> Labeler:
        """Build the labeler on the network of `first`, one of this kind, model and `pass_key`.
        Raises LabelerError as `build`."""
        raise NotImplementedError

    @classmethod
    def require_libraries(cls) -> None:
        """Refuse to build it where a library is not installed. Raises MissingExtraError with the
        line that installs it."""
        kind, *_ = cls.kinds()
        for imported, installed in cls.libraries.items():
            if find_spec(imported) is None:
                raise MissingExtraError(installed, cls.extra, f"a labeler of kind {kind!r}")

    def contract_revision(self, files: ModelFiles | None) -> str:
        """Return the digest of all that decides the outputs: the model, and the table without its
        `location_keys`."""
        # without defaults, so that a key that came later changes no digest of before
        table = self.model_dump(mode="json", exclude=set(self.location_keys), exclude_defaults=True)
        revision = getattr(self, "revision", None)
        if revision is not None:
            # a plugin's, whose only value is its default
            table["revision"] = revision
        sha256 = files.sha256 if files else None
        return digest([sha256, table])


class ModelLabelerKind(LabelerKind):
    """A labeler whose model somebody trained before, and which the job names."""

    fills_folder: ClassVar[bool] = True
    """Whether the model is a folder of its library's files, which `made_by` can fill."""
    location_keys = frozenset({"model", "sha256", "made_by"})

    model: Place
    """Folder or file that holds the model: a path relative to the job file, or a URI.
    `hf://ORGANISATION/NAME@REVISION` is one of the Hugging Face hub, at a commit, branch or tag."""
    sha256: str | None = None
    """Refuse any other model: the digest that `distill show` and the contract say."""
    made_by: str | None = None
    """`FILE.py:FUNCTION`, relative to the job file: writes the model into the folder (a `Path`)
    that it is given, where it is not made yet."""

    def own_classes(self, uri: str, where: str) -> tuple[str, ...]:  # noqa: ARG002
        """Return the classes that the model at `uri` says to have, for a job that names none; empty
        where it says none. Raises JobError, as `identify`."""
        return ()

    def misread(self, features: Features | None, uri: str) -> Iterator[str]:  # noqa: ARG002
        """Yield why the model at `uri` cannot read a pool of these features, as its files say."""
        yield from ()

    def identify(self, uri: str, where: str) -> ModelFiles:
        """Return which model lies at `uri`, the absolute form of `model`; `where` is the key that
        names it. Raises JobError where there is none."""
        return identify_model(uri, self.sha256, where)
