"""`distill show` before paying, and the real worker after it: pools of text and of images, as a
labeler of one's own sees them."""

from __future__ import annotations

import gzip
import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
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


def networks(job):
    return [each.model for each in (*job.fit.values(), *job.students.values())]


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
    print_preview(networks(job), "teacher", shown)
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
    print_preview(networks(job), "teacher", shown)
    printed = capsys.readouterr().out
    assert "rejected (undecodable)" in printed
    assert "█" in printed

    outputs, known, rejects = labelled(job)
    assert rejects == [(2, "undecodable"), (65, "undecodable"), (66, "null")]
    np.testing.assert_allclose(outputs[known], images.mean(axis=(1, 2))[known], rtol=1e-6)


NUMBERS = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["x"] }
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    deterministic = "DETERMINISTIC"
"""
ANSWERS = """
import numpy as np
class Labeler:
    revision, classes = "1", ("cold", "warm")
    def label(self, features):
        warm = features[:, 0]
        return ANSWER
"""


def numbers_job(folder, answer, deterministic="recorded"):
    (folder / "rows").mkdir()
    pq.write_table(pa.table({"x": [0.5, -1.0, 2.0, 0.25]}), folder / "rows" / "a.parquet")
    (folder / "mine.py").write_text(ANSWERS.replace("ANSWER", answer), "utf-8")
    return tiny_job(folder, NUMBERS.replace("DETERMINISTIC", deterministic))


@pytest.mark.parametrize(
    "answer",
    [
        "np.stack([-warm, np.where(warm < 0, np.nan, warm)], axis=1)",
        "np.ma.masked_array(np.stack([-warm, warm], axis=1), np.stack([warm < 0] * 2, axis=1))",
        "np.stack([-warm, np.where(warm < 0, np.inf, warm)], axis=1)",
    ],
)
def test_show_has_a_row_that_label_rejects(tmp_path, capsys, answer):
    job = numbers_job(tmp_path, answer)
    shown = preview_labels(job, "teacher", 4)
    assert shown.rejected.keys() == {1}
    assert shown.notes == ()
    print_preview(networks(job), "teacher", shown)
    printed = capsys.readouterr().out
    assert "rejected (output)" in printed
    assert "nan" not in printed
    _, _, rejects = labelled(job)
    assert rejects == [(1, "output")]


DRAWN = "np.random.normal(size=(len(features), 2))"
PROBABILITIES = "np.stack([1 - abs(warm) / 2, abs(warm) / 2], axis=1)"


@pytest.mark.parametrize(
    ("answer", "deterministic", "says"),
    [
        (DRAWN, "recorded", "asked twice about the same rows"),
        (DRAWN, "strict", '"strict" refuses that'),
        (PROBABILITIES, "recorded", 'answers = "probabilities"'),
    ],
)
def test_show_and_label_keep_to_themselves_what_is_odd(
    tmp_path, capsys, caplog, answer, deterministic, says
):
    job = numbers_job(tmp_path, answer, deterministic)
    shown = preview_labels(job, "teacher", 4)
    (note,) = shown.notes
    assert says in note
    print_preview(networks(job), "teacher", shown)
    assert f"labels.teacher: {note}" in caplog.text
    (outcome,) = label_by_worker(job, "teacher")["rows"]
    if deterministic == "recorded":
        assert outcome.notes == (note,)
    else:
        assert outcome.commit is None
        assert note in outcome.failure.trace


def test_a_labeler_that_writes_into_its_rows_is_told_to_answer_differently(tmp_path):
    job = numbers_job(tmp_path, "np.stack([-warm, np.negative(warm, out=warm)], axis=1)")
    shown = preview_labels(job, "teacher", 4)
    assert shown.notes == ()
    assert shown.features[2, 0] == 2
    (outcome,) = label_by_worker(job, "teacher")["rows"]
    assert outcome.notes == ()
