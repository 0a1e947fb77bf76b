"""The tables of kinds in the guides, made from what the classes say of themselves.

    python -m tests.guides      # writes them anew; tests/test_readme.py holds that they are so

A table stands between `<!-- kinds: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import get_args

import distill.job.kinds  # noqa: F401  registers them
from distill.pools.formats.whole_file import PACKED_ENDINGS
from distill.spec.labels import LabelerTable
from distill.spec.losses import Loss
from distill.spec.networks import Network
from distill.spec.pools import POOL_FORMATS, Features
from distill.spec.privacy import Mask
from distill.spec.selections import SelectBy
from distill.spec.stores import StorageSettings
from distill.spec.structures import StructureModel
from tests.command import REPOSITORY

GUIDE = REPOSITORY / "jobs" / "README.md"


def first_paragraph(cls: type) -> str:
    """What a class's docstring begins with, on one line."""
    text = (cls.__doc__ or "").split("\n\n")[0]
    return " ".join(text.split()).replace("|", "\\|")


def keys(cls: type) -> str:
    """The keys of a table beside its kind; those that must be given in bold."""
    names = [
        f"**`{name}`**" if field.is_required() else f"`{name}`"
        for name, field in cls.model_fields.items()
        if name not in ("kind", "revision")
    ]
    return ", ".join(names)


def needs(cls: type) -> str:
    """The extra that a kind needs."""
    extra = getattr(cls, "extra", "")
    return f"`distill[{extra}]`" if extra else ""


def rows_of(kinds: dict[str, type], *, extras: bool = False) -> Iterable[str]:
    """The lines of one table."""
    yield "| kind | what it is | keys |" + (" needs |" if extras else "")
    yield "|---|---|---|" + ("---|" if extras else "")
    # by name: in which order they register themselves depends on what was imported first
    for kind, cls in sorted(kinds.items()):
        line = f'| `"{kind}"` | {first_paragraph(cls)} | {keys(cls)} |'
        yield line + (f" {needs(cls)} |" if extras else "")


def format_rows() -> Iterable[str]:
    """The lines of the table of pool formats."""
    packings = ", ".join(f"`{ending}`" for ending in PACKED_ENDINGS)
    yield "| format | endings | |"
    yield "|---|---|---|"
    for name, cls in sorted(built_in(POOL_FORMATS).items()):
        endings = ", ".join(f"`{ending}`" for ending in cls.endings)
        packed = f"also packed: {packings}" if cls.may_be_packed else ""
        yield f'| `"{name}"` | {endings} | {packed} |'


def structure_rows() -> Iterable[str]:
    """The lines of the table of structures."""
    yield "| kind | what it is | gives | keys |"
    yield "|---|---|---|---|"
    for kind, cls in sorted(built_in(StructureModel.kinds()).items()):
        gives = ", ".join(f"`{each}`" for each in cls.gives)
        yield f'| `"{kind}"` | {first_paragraph(cls)} | {gives} | {keys(cls)} |'


def selection_rows() -> Iterable[str]:
    """The lines of the table of ways to choose rows."""
    yield from rows_of(built_in(SelectBy.kinds()))


def store_rows() -> Iterable[str]:
    """The lines of the table of stores."""
    yield "| URI | what it is | settings | needs |"
    yield "|---|---|---|---|"
    for scheme, field in StorageSettings.model_fields.items():
        cls = field.annotation
        yield f"| `{scheme}://` | {first_paragraph(cls)} | {keys(cls)} | {needs(cls)} |"


def features() -> dict[str, type]:
    """What a row may be seen as, by kind."""
    (union, *_) = get_args(Features)
    return {get_args(cls.model_fields["kind"].annotation)[0]: cls for cls in get_args(union)}


def masks() -> dict[str, type]:
    """What a private column may be masked as, by kind."""
    (union, *_) = get_args(Mask)
    return {get_args(cls.model_fields["kind"].annotation)[0]: cls for cls in get_args(union)}


def built_in(kinds: dict[str, type]) -> dict[str, type]:
    """Those of distill itself: plugins that a test has loaded are in no guide."""
    return {kind: cls for kind, cls in kinds.items() if cls.__module__.startswith("distill.")}


def tables() -> dict[str, str]:
    """All tables, by the name in their marker."""
    return {
        "features": "\n".join(rows_of(features())),
        "formats": "\n".join(format_rows()),
        "masks": "\n".join(rows_of(masks())),
        "labelers": "\n".join(rows_of(built_in(LabelerTable.kinds()), extras=True)),
        "structures": "\n".join(structure_rows()),
        "selections": "\n".join(selection_rows()),
        "networks": "\n".join(rows_of(built_in(Network.kinds()))),
        "stores": "\n".join(store_rows()),
        "losses": "\n".join(rows_of(built_in(Loss.kinds()))),
    }


def with_tables(text: str) -> str:
    """The guide with its tables as they are now."""
    for name, table in tables().items():
        pattern = rf"(<!-- kinds: {name} -->\n).*?(<!-- end -->)"
        text, found = re.subn(
            pattern,
            lambda match, table=table: f"{match[1]}{table}\n{match[2]}",
            text,
            flags=re.DOTALL,
        )
        assert found == 1, name
    return text


if __name__ == "__main__":
    GUIDE.write_text(with_tables(GUIDE.read_text("utf-8")), "utf-8")
