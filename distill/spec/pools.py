"""`[pools.NAME]`: where rows lie, what of them a model sees, and what their target is."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from distill.spec.base import Place, Positive, Table, repeated, require_distinct, require_once
from distill.spec.preprocess import Preprocess
from distill.spec.privacy import Drop, Mask

# the class that reads each format's files, by the format's name. This module knows none of them:
# `distill.pools.formats` and plugins' files put them here, before a job is read.
POOL_FORMATS: dict[str, type] = {}


class _NameOfFormat:
    """Checks and describes a name as a `Literal` of all formats would that are defined by then."""

    def __get_pydantic_core_schema__(self, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(_known_format)

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        names = list(POOL_FORMATS)
        return {"enum": names, "type": "string"}


def _known_format(name: Any) -> Any:
    if isinstance(name, str) and name in POOL_FORMATS:
        return name
    *others, last = map(repr, POOL_FORMATS)
    expected = f"{', '.join(others)} or {last}" if others else last
    raise PydanticKnownError("literal_error", {"expected": expected})


Format = Annotated[str, _NameOfFormat()]  # how files hold rows; jsonl and csv may be packed

MARK_PATTERN = r"^[\x01-\x09\x0b\x0c\x0e-\x2f:-@\[-`{-\x7e]$"
# one character of ASCII that is no letter, digit or line break
_Mark = Annotated[str, Field(pattern=MARK_PATTERN)]


class CsvDialect(Table):
    """How CSV files are written, where not in the usual way."""

    delimiter: _Mark | None = None
    """What stands between cells. Default: a comma; in .tsv files a tab."""
    quote: _Mark | Literal[""] = '"'
    """What stands around cells that hold delimiters, line breaks or (doubled) quotes; "" for
    none."""
    escape: _Mark | None = None
    """What stands before a letter that is to be taken as it is, such as a backslash."""
    encoding: str = "utf-8"
    """How letters are stored, as Python names it: "cp1252", "utf-16", …"""
    nulls: tuple[str, ...] = ("",)
    """Cells without quotes that say nothing, such as "NA"."""
    header: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    """Names of the columns, where the files have no row that names them."""

    @model_validator(mode="after")
    def _combinations(self) -> CsvDialect:
        marks = [mark for mark in (self.delimiter, self.quote, self.escape) if mark]
        if repeated(marks):
            raise ValueError("delimiter, quote and escape must be three different letters")
        if self.header is not None and repeated(self.header):
            raise ValueError(f"header = {list(self.header)} names a column twice")
        escaped = [null for null in self.nulls if self.escape and null.startswith(self.escape)]
        if escaped:
            raise ValueError(
                f"nulls = {escaped} begin with the escape, which is taken out before cells are"
                " compared; name what is left of them, or leave the escape out"
            )
        try:
            is_text = codecs.lookup(self.encoding)._is_text_encoding
        except LookupError:
            is_text = False
        if not is_text:
            raise ValueError(f"encoding = {self.encoding!r} is none that Python knows")
        return self


class VectorFeatures(Table):
    """Numbers: one list column (lists of lists are flattened), or several scalar columns side by
    side."""

    kind: Literal["vector"]
    columns: Annotated[tuple[str, ...], Field(min_length=1)]
    """Columns in the order in which the model sees them; their widths are added."""
    scale: float = 1.0
    """Every number is multiplied by this (1/255 for bytes)."""

    _sides: tuple[int, ...] = PrivateAttr(default=())

    @property
    def sides(self) -> tuple[int, ...]:
        """How many lists of how many numbers a row of lists of lists is, the same in all rows; empty
        where that is not known. No job says it: it is found in the pool."""
        return self._sides

    def with_sides(self, sides: tuple[int, ...]) -> VectorFeatures:
        """Return the same features, of rows with those sides."""
        features = self.model_copy()
        features._sides = sides
        return features

    @field_validator("columns")
    @classmethod
    def _each_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        require_once(value, "columns")
        return value

    @field_validator("scale")
    @classmethod
    def _tells_rows_apart(cls, value: float) -> float:
        if not 1e-30 <= abs(value) <= 1e30:
            raise ValueError(
                "makes all numbers 0 or infinite in float32. Leave it out, or say what their unit is"
            )
        return value


class ImageFeatures(Table):
    """One image a row, seen as (height, width, channels) of bytes by a custom labeler, and as
    channels × height × width numbers in 0..1, the shape of a `cnn` with [channels, height, width],
    by everything that distill trains.

    Transparency is dropped where there is no fourth channel. EXIF orientation is applied by
    `preprocess` alone."""

    kind: Literal["image"]
    column: str
    """PNG, JPEG or WebP (binary, Hugging Face's struct of bytes and path, or text in base64), or
    the raw bytes of [height, width, channels] (fixed-size binary, or lists of numbers)."""
    shape: tuple[Positive, Positive, Positive]
    """Height, width, channels. Encoded images are brought to 1 (grey), 3 (RGB) or 4 (RGBA)
    channels."""
    resize: Literal["bilinear", "bicubic"] | None = None
    """Bring encoded images of another size to the shape, stretched where the sides differ. Without
    it and `preprocess` such rows are rejected."""
    encoded: bool | None = None
    """Whether the column holds PNG, JPEG or WebP. Default: told by its type; raw bytes in a column
    of plain binary need `false`."""
    preprocess: Preprocess | None = None
    """How images of any size become one of the shape, as a model wants them."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.column,)

    @model_validator(mode="after")
    def _one_way(self) -> ImageFeatures:
        if self.preprocess is None:
            return self
        if self.resize is not None:
            raise ValueError(
                f"has resize = {self.resize!r} and preprocess, which says how images are scaled;"
                " drop resize"
            )
        preprocess = self.preprocess
        colours = len(preprocess.fill)
        if colours not in (1, self.shape[2]):
            raise ValueError(
                f"has images of {self.shape[2]} channels, but preprocess.fill has {colours}"
                " numbers; give one, or one for each channel"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_before(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        plain: dict[str, Any] = handler(self)
        # what came later is left out where it says nothing: older digests stay
        if plain.get("preprocess") is None:
            plain.pop("preprocess", None)
        return plain


class TextFeatures(Table):
    """One text a row, as it stands in the column."""

    kind: Literal["text"]
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are read."""
        return (self.column,)


Features = Annotated[VectorFeatures | ImageFeatures | TextFeatures, Field(discriminator="kind")]


class Pool(Table):
    """A named, sharded set of rows."""

    path: Place
    """Folder, file or URI; also `hf://datasets/ORG/NAME@REVISION/PATH`, and `https://` for a file
    or a `.txt` of URLs. Relative to the job file; `{root}` stands for the job's root."""
    format: Format | None = None
    """Default: told by the files' endings (.parquet; .arrow, .feather, .ipc; .jsonl, .ndjson,
    .json; .csv, .tsv; the latter two formats also packed: .gz, .zst, .bz2, .xz)."""
    csv: CsvDialect | None = None
    """How CSV files are written, where not in the usual way: `{ delimiter = ";" }`."""
    on_change: Literal["refuse", "relabel"] = "refuse"
    """What becomes of a listed file that changed or vanished: an error, or it is retired with its
    labels, and labelled anew as it is now."""
    corrects: str | None = None
    """`pools.OTHER`: its files are what people said of rows of that pool, with the columns `shard`,
    `row` and the target, as `distill review` writes them; its rows are those rows. Lines whose
    target is empty were not looked at."""
    made_by: str | None = None
    """`FILE.py:FUNCTION`, relative to the job file: yields one Arrow table a shard, where the pool
    is not made yet."""
    features: Features | None = None
    """What a model sees of a row. A pool without it takes the only features that the job declares.
    """
    target: str | None = None
    """The column that holds the truth."""
    classes: tuple[str, ...] | str | None = None
    """Names of the target's classes in order, or a text file with one a line. Without it the target
    is a number or vector."""
    outputs: Literal["exclusive", "independent"] = "exclusive"
    """Exclusive: each row has one class. Independent: the target says 0 or 1 for each class (a
    number where there is one class)."""
    keys: tuple[str, ...] = ()
    """Columns of text or integers that are copied beside the labels, for readers who know rows by a
    name of their own."""
    private: tuple[str, ...] = ()
    """Columns that never leave the reader: they are not read, or as their rule in `mask` makes them.
    """
    mask: dict[str, Mask] = {}
    """What private columns leave the reader as, by column, whether `private` lists them or not."""

    @property
    def rules(self) -> dict[str, Mask]:
        """What each private column leaves the reader as."""
        rules: dict[str, Mask] = {name: Drop(kind="drop") for name in self.private}
        return rules | self.mask

    @property
    def dropped(self) -> tuple[str, ...]:
        """Columns that are never read."""
        return tuple(name for name, rule in self.rules.items() if isinstance(rule, Drop))

    _handed_in: str = PrivateAttr(default="")

    @property
    def handed_in(self) -> str:
        """Where the files lie that people handed in, as the job says it; of corrections."""
        return self._handed_in or self.path

    def as_corrections(self, path: str, format: str, base: Pool) -> Pool:
        """Return the pool that its files are turned into: rows of `base`, its files at `path`."""
        # what people say is theirs, whatever becomes of the pool's own column of that name
        private = tuple(name for name in base.private if name != self.target)
        mask = {name: rule for name, rule in base.mask.items() if name != self.target}
        update = {
            "path": path,
            "format": format,
            "csv": None,
            "on_change": "relabel",
            "features": base.features,
            "keys": tuple(dict.fromkeys((*base.keys, *self.keys))),
            "private": private,
            "mask": mask,
        }
        made = self.model_copy(update=update)
        made._handed_in = self.path
        return made

    @property
    def read_columns(self) -> tuple[str, ...]:
        """Everything that is ever read of a row."""
        features = self.features.columns if self.features else ()
        target = (self.target,) if self.target else ()
        return tuple(dict.fromkeys((*features, *target, *self.keys)))

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes in order; empty where the target is a value."""
        return self.classes if isinstance(self.classes, tuple) else ()

    @model_validator(mode="after")
    def _combinations(self) -> Pool:
        if self.classes is not None and self.target is None:
            raise ValueError("has classes but no target; name the target column too")
        self._check_corrections()
        if isinstance(self.classes, tuple):
            require_distinct(self.classes)
        if self.csv is not None and self.format not in (None, "csv"):
            raise ValueError(f"says how CSV is written, but format = {self.format!r}; drop one")
        if self.outputs == "independent" and self.classes is None:
            raise ValueError(
                "has independent outputs but no classes; name what each 0 or 1 of the target says"
            )
        require_once(self.keys, "keys")
        used = sorted(set(self.read_columns) & set(self.dropped))
        if used:
            raise ValueError(
                f"private columns {used} are used as features, target or keys;"
                " take them out of one of the two"
            )
        return self

    def _check_corrections(self) -> None:
        if self.corrects is None:
            return
        if not self.corrects.startswith("pools."):
            raise ValueError(f"corrects = {self.corrects!r} names no pool; write 'pools.NAME'")
        if self.target is None:
            message = "corrects a pool but has no target; name the column of what people say"
            raise ValueError(message)
        if self.outputs == "independent" or self.made_by is not None or self.features is not None:
            raise ValueError(
                "corrects a pool: it has one class or number a row, is made by nobody, and is seen"
                " as that pool is; drop outputs, made_by and features"
            )
