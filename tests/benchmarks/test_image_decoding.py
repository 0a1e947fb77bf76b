"""In its quick mode: every way gives every image, whatever the rates."""

from __future__ import annotations

import json

from tests.benchmarks import image_decoding


def test_a_way_loses_images_or_has_no_rate(tmp_path):
    out, table = tmp_path / "out.json", tmp_path / "table.md"
    options = ["--quick", "--folder", str(tmp_path), "--out", str(out), "--table", str(table)]
    image_decoding.main(options)
    measured = json.loads(out.read_text("utf-8"))
    assert set(measured) == set(image_decoding.SIZES)
    for rates in measured.values():
        assert set(rates) == {"distill", "plain", "pillow", "as before"}
        assert all(rate > 0 for each in rates.values() for rate in each)
    assert table.read_text("utf-8").count("| distill |") == 2
