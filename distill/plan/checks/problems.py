"""What a check of a job yields: lines as `key = value: what is wrong. What to do.`"""

from __future__ import annotations

from collections.abc import Iterator

Problems = Iterator[str]
