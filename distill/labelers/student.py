"""A model that distill trained as a labeler: yesterday's student teaches, by head or layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import model_validator

from distill.core.errors import LabelerError
from distill.labelers.base import Labeler
from distill.labelers.eszsl.labeler import EszslLabeler
from distill.labelers.kind import Classes, ModelLabelerKind
from distill.labelers.runtime import Runtime
from distill.labelers.validation import require_classes, require_width
from distill.models.custom_source import Code
from distill.models.files import ModelFiles
from distill.models.record import ModelRecord, read_record
from distill.spec.base import Positive
from distill.storage.base import Storage
from distill.storage.open import open_storage

if TYPE_CHECKING:
    from distill.labelers.export_folder import ExportFolder

MODEL = "model.json"  # what an export says of itself


class StudentLabeler(ModelLabelerKind):
    """A model that distill trained: yesterday's student teaches the next. `model` is its folder,
    `<root>/students/<name>/<digest>`, or what `distill export` wrote of it."""

    fills_folder = False
    location_keys = ModelLabelerKind.location_keys | {"file"}

    kind: Literal["student"]
    file: str | None = None
    """Of a student with modules of the user's own: the Python file that has their classes, relative
    to the job file. Code is never taken from storage."""
    classes: Classes | None = None
    """As the head has them."""
    independent: bool = False
    """Whether the head's outputs are independent."""
    width: Positive = 1
    """Numbers a row of a head without classes, or of `layer`."""
    head: str | None = None
    """Default: its first."""
    layer: str | None = None
    """Answer what a layer says instead of a head, as an embedding: a name within the network, such
    as "trunk"."""

    @model_validator(mode="after")
    def _either(self) -> StudentLabeler:
        if self.layer is not None and (self.classes or self.head):
            raise ValueError("has a layer and a head or classes; an embedding has neither")
        return self

    @property
    def code_file(self) -> str | None:
        return self.file

    def identify(self, uri: str, where: str) -> ModelFiles:
        """Return which model lies at `uri`: by its record, which pins the weights. Raises JobError
        where there is none."""
        # a record is a few kB, where a digest of the folder would read all weights
        if self.sha256:
            return super().identify(uri, where)
        storage = open_storage(uri)
        record = read_record(storage)
        if record is not None:
            return ModelFiles(uri, record.sha256)
        export = _export(storage)
        if export is None:
            return super().identify(uri, where)
        return ModelFiles(uri, export.sha256)

    def build(self, runtime: Runtime) -> Labeler:
        """Build the labeler of the head or layer. Raises LabelerError where the model is not what
        the table says."""
        assert runtime.files is not None
        folder = runtime.files.uri
        storage = open_storage(folder)
        export = _export(storage)
        if export is not None:
            return self._of_export(export, runtime)
        record = _finished_record(runtime.files)
        code = _sources(record, runtime)
        if self.layer is not None:
            # imported here, since a model of ESZSL needs no torch
            from distill.labelers.layer import LayerLabeler

            return LayerLabeler(folder, record, self.layer, runtime, self.width, code=code)
        first_head = next(iter(record.heads))
        head = self.head or first_head
        self._require_head(folder, record, head)
        if record.form == "eszsl":
            return EszslLabeler.load(folder, record)
        from distill.labelers.network import NetworkLabeler

        return NetworkLabeler.load(
            folder, record, code=code, device=runtime.device, precision=runtime.precision, head=head
        )

    def pass_key(self) -> tuple[object, ...] | None:
        """Heads of one network are answered by one pass; a layer is not."""
        return None if self.layer is not None else (self.file,)

    def build_companion(self, first: Labeler, runtime: Runtime) -> Labeler:
        """Build the labeler of another head of the same network. Raises LabelerError as `build`."""
        assert runtime.files is not None
        folder = runtime.files.uri
        opened = open_storage(folder)
        export = _export(opened)
        record = export.record if export is not None else _finished_record(runtime.files)
        head = self.head or next(iter(record.heads))
        self._require_head(folder, record, head)
        if record.form == "eszsl":
            return self.build(runtime)
        from distill.labelers.network import NetworkLabeler

        assert isinstance(first, NetworkLabeler)
        return first.of_head(head)

    def _of_export(self, export: ExportFolder, runtime: Runtime) -> Labeler:
        """Build the labeler of an export's head. Raises LabelerError as `build` does."""
        from distill.labelers.network import NetworkLabeler, network_of_tensors

        assert runtime.files is not None
        folder = runtime.files.uri
        _require_sha256(folder, export.sha256, runtime.files.sha256)
        if self.layer is not None:
            raise LabelerError(
                f"{folder} is an export, of which a head is asked. For a layer give the student's"
                " own folder, <root>/students/<name>/<digest>."
            )
        record = export.record
        head = self.head or next(iter(record.heads))
        self._require_head(folder, record, head)
        code = _sources(record, runtime)
        network = network_of_tensors(record, export.tensors(), code)
        device = runtime.device
        return NetworkLabeler(network, head=head, device=device, precision=runtime.precision)

    def _require_head(self, folder: str, record: ModelRecord, head: str) -> None:
        """Refuse a model without that head, or with other outputs of it. Raises LabelerError."""
        outputs = record.heads.get(head)
        if outputs is None:
            raise LabelerError(f"{folder} has no head {head!r}. It has: {', '.join(record.heads)}.")
        if not self.class_names:
            require_width(self.kind, self.width, record.widths[head])
            return
        require_classes(self.kind, self.class_names, outputs.classes)
        if self.exclusive != outputs.exclusive:
            right = str(not outputs.exclusive).lower()
            raise LabelerError(
                f"head {head!r} of {folder} says {outputs.in_words}. Set independent = {right}."
            )


def read_model(uri: str) -> ModelRecord | None:
    """Read the record of the trained or exported model in a folder; None where there is none."""
    storage = open_storage(uri)
    record = read_record(storage)
    if record is not None:
        return record
    export = _export(storage)
    return None if export is None else export.record


def _finished_record(files: ModelFiles) -> ModelRecord:
    """Return the record of the model that `files` names. Raises LabelerError where there is none,
    or another one."""
    storage = open_storage(files.uri)
    record = read_record(storage)
    if record is None:
        raise LabelerError(
            f"{files.uri} has no done.json, so no finished model of distill's lies there. Give"
            " <root>/students/<name>/<digest>."
        )
    _require_sha256(files.uri, record.sha256, files.sha256)
    return record


def _require_sha256(folder: str, found: str, due: str) -> None:
    """Raises LabelerError where another model lies there."""
    if found != due:
        raise LabelerError(
            f"the model in {folder} has sha256 {found}, where {due} is due."
            " Restore it, or pin the one that is there."
        )


def _export(storage: Storage) -> ExportFolder | None:
    """Return the export that lies there, if one does."""
    # a few bytes first: to read one imports torch, which a job that is only read needs not
    if storage.read_or_none(MODEL) is None:
        return None
    from distill.labelers.export_folder import read_export

    return read_export(storage)


def _sources(record: ModelRecord, runtime: Runtime) -> Code:
    """Return the user's file as the source of every network of the user's own."""
    if runtime.source is None or record.plan is None:
        return {}
    return dict.fromkeys(record.plan.get("code", {}), runtime.source)
