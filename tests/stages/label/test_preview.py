"""`distill show` before paying, and the real worker after it: pools of text and of images, as a
labeler of one's own sees them."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from distill.cli.preview import print_preview
from distill.labels.commit import read_labels, read_rejects
from distill.labels.encoding import decode
from distill.run import preview_labels
from distill.storage.open import open_storage
from tests.making import assignment, label_by_worker
from tests.tiny import tiny_job

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = {features}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "mine.py", name = "Mine" }}
    over = ["rows"]
    batch_rows = 10
    max_rejected_fraction = 0.2
"""
READS = """
import numpy as np

class Mine:
    revision = "1"
    kind = "value"
    width = 2

    def label(self, texts):
        assert all(isinstance(text, str) for text in texts)
        return np.array([[len(text), text.count("ü")] for text in texts])
"""
LOOKS = """
class Mine:
    revision = "1"
    kind = "value"
    width = 3

    def label(self, images):
        assert images.dtype == "uint8" and images.shape[1:] == (4, 5, 3)
        return images.mean(axis=(1, 2))
"""


def labelled(job, worker_pool="rows"):
    """Outputs, which rows have labels, and the rejects, of all fragments in order."""
    told = assignment(job, "teacher")
    folder = open_storage(told.pools[worker_pool].folder)
    outputs, known, rejects = [], [], []
    for outcome in label_by_worker(job, "teacher")[worker_pool]:
        assert outcome.failure is None, outcome.failure
        soft = decode(
            read_labels(folder, outcome.commit.data, outcome.commit.xxh3, told.contract),
            told.contract,
            None,
        )
        outputs.append(soft.outputs)
        known.append(soft.labelled)
        rejects += (
            read_rejects(folder, outcome.commit.rejects).to_pylist()
            if outcome.commit.rejects
            else []
        )
    return (
        np.concatenate(outputs),
        np.concatenate(known),
        [(row["row"], row["reason"]) for row in rejects],
    )


def test_texts_of_a_packed_file_are_labelled_on_other_rows(tmp_path, capsys):
    texts = [f"row {n} " + "ü" * (n % 7) for n in range(150)]
    lines = [json.dumps({"id": n, "said": text}) for n, text in enumerate(texts)]
    lines[3], lines[70], lines[90] = '{"said": ', '{"id": 70}', '{"said": 5}'
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.jsonl.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "mine.py").write_text(READS, "utf-8")
    job = tiny_job(tmp_path, JOB.format(features='{ kind = "text", column = "said" }'))

    shown = preview_labels(job, "teacher", 5)
    assert shown.features[2] == texts[2]
    assert shown.rejected[3][0] == "undecodable"
    print_preview(job, "teacher", shown)
    printed = capsys.readouterr().out
    assert "rejected (undecodable)" in printed
    assert "row 4 üüüü" in printed

    outputs, known, rejects = labelled(job)
    assert rejects == [(3, "undecodable"), (70, "null"), (90, "undecodable")]
    assert np.flatnonzero(~known).tolist() == [3, 70, 90]
    due = np.array([[len(text), text.count("ü")] for text in texts])
    np.testing.assert_array_equal(outputs[known], due[known])


def test_images_are_labelled_on_other_rows_or_channels(tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (100, 4, 5, 3), np.uint8)
    packed = []
    for image in images:
        Image.fromarray(image).save(sink := io.BytesIO(), "PNG")
        packed.append(sink.getvalue())
    packed[2], packed[65], packed[66] = packed[2][:40], b"", None
    (tmp_path / "rows").mkdir()
    pq.write_table(pa.table({"image": packed}), tmp_path / "rows" / "a.parquet", row_group_size=30)
    (tmp_path / "mine.py").write_text(LOOKS, "utf-8")
    job = tiny_job(
        tmp_path, JOB.format(features='{ kind = "image", column = "image", shape = [4, 5, 3] }')
    )

    shown = preview_labels(job, "teacher", 3)
    np.testing.assert_array_equal(shown.features[1], images[1])
    print_preview(job, "teacher", shown)
    printed = capsys.readouterr().out
    assert "rejected (undecodable)" in printed
    assert "█" in printed

    outputs, known, rejects = labelled(job)
    assert rejects == [(2, "undecodable"), (65, "undecodable"), (66, "null")]
    np.testing.assert_allclose(outputs[known], images.mean(axis=(1, 2))[known], rtol=1e-6)
