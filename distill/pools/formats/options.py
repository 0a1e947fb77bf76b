"""A format and how a pool's files are read in it as one text, which inventories pin and workers are
sent: `csv`, or `csv {"csv":{"delimiter":";"}}`.

Labels are addressed by row, and another dialect makes other rows of the same bytes. So what is read
otherwise is another format, and a pool that was listed keeps the one that it was listed with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from distill.core.schema import canonical

# by format, what its class takes beside a file; by `TYPES`, what types columns are brought to;
# and by `MASK`, what private columns become
Options = Mapping[str, Any]

TYPES = "types"
# what private columns leave the reader as (`formats.masking`). It is no part of what inventories
# pin: a job's rules of today count, and other rules make other labels, not other rows.
MASK = "mask"
MIXED = "mixed"  # in place of a type: what the files have cannot be brought to one


def with_options(name: str, options: Options) -> str:
    """Return the text of a format that is read with `options`; of none its name alone."""
    return f"{name} {canonical(options).decode()}" if options else name


def format_name(format: str) -> str:
    """Return the name in such a text."""
    parts = format.partition(" ")
    return parts[0]


def format_options(format: str) -> dict[str, Any]:
    """Return the options in such a text."""
    _, _, options = format.partition(" ")
    return json.loads(options) if options else {}


def column_types(format: str) -> dict[str, str]:
    """Return the types that columns are brought to, by their names."""
    types: dict[str, str] = format_options(format).get(TYPES, {})
    return types


def with_types(format: str, types: Mapping[str, str]) -> str:
    """Return a format that brings columns to `types` and no others."""
    options = {key: value for key, value in format_options(format).items() if key != TYPES}
    return with_options(format_name(format), options | ({TYPES: dict(types)} if types else {}))


def mask_text(format: str) -> str:
    """Return the rules of private columns as the text that `with_mask` was given; of none "{}"."""
    return json.dumps(format_options(format).get(MASK, {}), sort_keys=True)


def with_mask(format: str, rules: Mapping[str, Any]) -> str:
    """Return a format whose files are read under these plain rules and no others."""
    options = {key: value for key, value in format_options(format).items() if key != MASK}
    return with_options(format_name(format), options | ({MASK: dict(rules)} if rules else {}))
