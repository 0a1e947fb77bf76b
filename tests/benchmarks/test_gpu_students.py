"""The students' GPU benchmark: its ways of a step teach what they say they teach. `test_benchmarks`
holds that every part is there."""

from __future__ import annotations

import json

import numpy as np
import pytest

from distill.loader.sampler import Sampler, cut_chunks
from distill.pools.features import as_matrix
from distill.spec.models import Training
from tests.benchmarks import gpu_models, gpu_steps, gpu_student_cases, gpu_students
from tests.benchmarks.gpu_student_cases import (
    CASES,
    QUICK_CASES,
    flops_of_a_row,
    student_network,
    teacher_network,
)

torch = pytest.importorskip("torch")

IMAGES, VECTORS = QUICK_CASES
PARTS = {
    f"{case}, {precision}, {'compiled' if compiled else 'not compiled'}"
    for case in ("images", "vectors")
    for precision, compiled in gpu_students.QUICK_SETTINGS
}


@pytest.fixture(autouse=True)
def _constants(monkeypatch):
    """A teacher sets constants of the models' module; they are as they were after each test."""
    for name in ("SIDE", "PATCH", "LAYERS", "WIDTH", "HEADS", "CLASSES"):
        monkeypatch.setattr(gpu_models, name, getattr(gpu_models, name))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_teacher_is_20_to_50_times_its_student(case):
    assert 20 < flops_of_a_row(teacher_network, case) / flops_of_a_row(student_network, case) < 50


@pytest.mark.parametrize(
    "case", [*CASES, *QUICK_CASES], ids=lambda case: f"{case.name}-{case.rows}"
)
def test_no_step_of_a_training_is_padded(case):
    groups = [[case.group_rows] * (case.shard_rows // case.group_rows)] * case.shards
    lanes = Training().lanes
    order = Sampler(
        cut_chunks([groups], lanes, case.fragment_rows), lanes, case.batch_rows // lanes, 0
    )
    assert order.steps_per_epoch * case.batch_rows == case.rows


def test_the_image_teacher_sees_the_students_pixels():
    torch.manual_seed(0)
    teacher = teacher_network(IMAGES).eval()
    images = np.random.default_rng(0).integers(0, 256, (3, IMAGES.side, IMAGES.side, 3), np.uint8)
    with torch.no_grad():
        by_bytes = teacher.network(torch.from_numpy(images))
        by_features = teacher(torch.from_numpy(as_matrix(images)))
    torch.testing.assert_close(by_features, by_bytes, atol=1e-4, rtol=1e-4)
    assert (by_bytes[0] - by_bytes[1]).abs().max() > 1e-2


@pytest.mark.parametrize("case", QUICK_CASES, ids=lambda case: case.name)
def test_an_online_teacher_teaches_what_its_stored_logits_teach(case):
    teacher = gpu_student_cases.online_teacher(case, "cpu")
    draw, rows = np.random.default_rng(0), 8
    batch = {
        "features": draw.random((rows, case.in_features), np.float32),
        "row": np.arange(rows),
        "0.weight": np.ones(rows, np.float32),
    }
    stored = {**batch, "0.outputs": teacher(torch.from_numpy(batch["features"])).numpy()}
    assert stored["0.outputs"].shape == (rows, case.classes)
    online, offline = (
        _summed(case, each, asked) for each, asked in ((batch, teacher), (stored, None))
    )
    assert online[0, 0] > 0
    torch.testing.assert_close(online, offline)


def _summed(case, batch, teacher):
    """What the loop's own step adds up, the second step's too: it follows the first one's gradient."""
    training = Training(batch_rows=case.batch_rows, learning_rate=0.01)
    term = gpu_steps.TermPlan("said", "0", 0, "main", gpu_steps._KL, 1.0, False, None)
    step = gpu_steps.training_step(case, training, term, "cpu")
    if teacher:
        step.gradients.loss = gpu_steps._Online(step.gradients.loss, teacher)
    return torch.cat([step(number, [batch]) for number in range(2)])


def test_parts_without_time_are_named_and_the_rest_is_kept(tmp_path):
    out = tmp_path / "out.json"
    with pytest.raises(SystemExit, match="not measured: training, images"):
        gpu_students.main(
            ["--quick", "--limit-seconds", "1", "--folder", str(tmp_path), "--out", str(out)]
        )
    got = json.loads(out.read_text("utf-8"))
    assert got["failed"].keys() == {f"steps, {name}" for name in PARTS} | {
        "training, images",
        "training, vectors",
    }
    assert not list(tmp_path.glob("gpu-students-*"))
