"""No flipped bit and no truncation of what is stored is ever read as another value."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from tests.bitflips import Target, damage, store


@pytest.fixture(scope="module")
def targets(tmp_path_factory):
    return store(tmp_path_factory.mktemp("stored"))


@pytest.mark.parametrize(
    "kind", ["label data", "commit", "manifest", "inventory", "contract", "rejects"]
)
def test_a_damaged_object_is_named_or_reads_as_it_was_stored(kind, targets):
    of_kind = [target for target in targets if target.kind == kind]
    found = damage(of_kind, 80, seed=7)
    assert [seen for seen in found if seen.outcome not in ("named", "same value")] == []
    assert len(found) == 80


def test_without_its_digest_damaged_data_would_be_read(targets):
    """The search finds what it looks for where a reader trusts what it reads."""

    def trusting(target: Target) -> Target:
        return replace(
            target,
            read=lambda: (
                pa.ipc.open_file(pa.py_buffer(target.file.read_bytes())).read_all().to_pydict()
            ),
        )

    found = damage(
        [trusting(target) for target in targets if target.kind == "label data"], 80, seed=7
    )
    assert any(seen.outcome == "wrong" for seen in found)
