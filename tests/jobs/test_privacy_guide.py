"""The guide's example of masked columns, and of labels that are encrypted and reveal less."""

from __future__ import annotations

import base64
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.labels.encryption import is_encrypted
from distill.labels.reader import open_labels
from distill.plan.load import load_job
from distill.run import label_pool
from tests.guides import GUIDE

TEACHER = """
import numpy as np

class Labeler:
    revision = "1"
    classes = ("short", "long")

    def label(self, texts):
        assert not any("@" in text or "M-1" in text for text in texts)
        return np.array([[10.3 - len(text), len(text) - 10.3] for text in texts], np.float32)
"""


def test_the_guides_example_is_refused_or_stores_what_it_calls_private(tmp_path, monkeypatch):
    monkeypatch.setenv("LABELS_KEY", base64.b64encode(bytes(32)).decode())
    monkeypatch.setenv("POOL_KEY", base64.b64encode(bytes(32)).decode())
    (tmp_path / "pool").mkdir()
    rows = {
        "note": ["ask bob@example.org", "M-123456 is it", "call +49 171 1234567", "x"] * 16,
        "person": ["bob", "eve"] * 32,
        "age": [17, 18, 70, None] * 16,
        "email": ["bob@example.org"] * 64,
    }
    pq.write_table(pa.table(rows), tmp_path / "pool/a.parquet")
    (tmp_path / "teacher.py").write_text(TEACHER, "utf-8")
    guide = GUIDE.read_text("utf-8")
    _, _, behind = guide.partition("## What stays private")
    section, _, _ = behind.partition("\n## ")
    blocks = re.findall(r"```toml\n(.*?)```", section, re.DOTALL)
    (tmp_path / "job.toml").write_text('root = "root"\n' + "".join(blocks), "utf-8")
    label_pool(load_job(tmp_path / "job.toml"), "teacher", engine="local")

    folder = tmp_path / "root/labels/teacher/v1/unlabelled"
    (data,) = folder.glob("data/*/*.parquet")
    assert is_encrypted(data.read_bytes())
    (table,) = open_labels(folder).decoded()
    assert len(table["person"].unique()) == 2
    assert "bob" not in table["person"].to_pylist()
    assert table["age"].to_pylist()[:4] == [0, 18, 65, None]
    logits = np.array(table["logits"].to_pylist())
    assert (logits.max(axis=1) == 0).all()
    assert logits.min() == -6
    np.testing.assert_array_equal(logits * 4, np.round(logits * 4))
