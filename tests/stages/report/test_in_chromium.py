"""What a reader sees of the pages, in a browser: on a desk, on a telephone, at night and on paper."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from distill.stages.report.compare import make_study
from distill.stages.report.write_report import write_report
from distill.stages.report.write_study import write_study
from distill.storage.open import open_storage
from tests.stages.report.chromium import CHROMIUM, look
from tests.stages.report.studies import five_data_sets
from tests.stages.report.test_cascade import COST

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]
VIEWS = {
    "desk": {"width": 1280},
    "telephone": {"width": 400},
    "night": {"width": 1280, "scheme": "dark"},
    "telephone at night": {"width": 400, "scheme": "dark"},
    "paper": {"width": 794, "printed": True},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture
def page(request, folder) -> Path:
    name = request.param
    place = folder / name
    if name == "comparison":
        write_study(open_storage(str(place)), make_study(five_data_sets(), beside=["combined"]))
        return place / "comparison.html"
    evaluation = request.getfixturevalue(name)
    write_report(open_storage(str(place)), replace(evaluation), cascades=[COST])
    return place / "report.html"


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "page", ["digits", "values", "hostile", "study", "comparison"], indirect=True
)
def test_a_reader_meets_what_cannot_be_read(page, view, folder):
    seen = look(page, **VIEWS[view])
    page.with_name(f"{view}.png").write_bytes(seen.picture)
    assert seen.messages == []
    assert seen.requests == []
    assert seen.faint == []
    assert seen.unnamed == []
    assert seen.headless == 0
    assert seen.tiny == []
    assert (seen.language, bool(seen.title)) == ("en", True)
    assert seen.levels[0] == 1
    assert seen.levels.count(1) == 1
    assert all(later <= earlier + 1 for earlier, later in pairwise(seen.levels))
    if view != "paper":
        assert seen.scrolls <= 0, seen.wide
