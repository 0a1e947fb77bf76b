"""The guide's job of photographs, on small ones: as it is printed, to an export that timm loads."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
import torch
from PIL import Image

from distill.run import run_job
from tests.command import REPOSITORY, distill
from tests.late import Late
from tests.resolved import label_set
from tests.tiny import tiny_job

TIMM = Late("timm")

GUIDE = (REPOSITORY / "jobs" / "README.md").read_text("utf-8")
SIDE = 64


def photograph(number: int) -> bytes:
    """A colour of its own, some lying on their side."""
    draw = np.random.default_rng(number)
    pixels = draw.integers(0, 80, (75, 100, 3)) + 170 * np.eye(3)[number % 3]
    exif = Image.Exif()
    exif[0x0112] = [1, 6][number % 2]
    sink = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(sink, "JPEG", exif=exif)
    return sink.getvalue()


def save_teacher(folder):
    torch.manual_seed(0)
    body = TIMM.create_model("resnet10t", num_classes=3)
    folder.mkdir()
    config = {
        "architecture": "resnet10t",
        "num_classes": 3,
        "label_names": ["red", "green", "blue"],
        "pretrained_cfg": {"crop_pct": 0.9, "interpolation": "bicubic"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    safetensors.torch.save_file(body.state_dict(), folder / "model.safetensors")


def test_the_guides_job_of_photographs_fails_or_its_export_is_not_timms(tmp_path):
    (text,) = re.findall(r"```toml\n(# images\.toml\n.*?)```", GUIDE, re.DOTALL)
    text = text.replace("224", str(SIDE)).replace("epochs = 10", "epochs = 1")
    (tmp_path / "job.toml").write_text(text, "utf-8")
    (tmp_path / "photographs").mkdir()
    contents = [photograph(number) for number in range(40)]
    contents[7] = contents[7][:-200]
    pq.write_table(pa.table({"image": contents}), tmp_path / "photographs" / "a.parquet")
    save_teacher(tmp_path / "teacher")
    ended = distill("run", tmp_path / "job.toml", "--local")
    # one of forty is more than the usual hundredth
    assert ended.code == 1
    assert "truncated" in ended.output
    text = text.replace(
        'over = ["photographs"]', 'over = ["photographs"]\nmax_rejected_fraction = 0.1'
    )
    (tmp_path / "job.toml").write_text(text, "utf-8")
    ended = distill("run", tmp_path / "job.toml", "--local")
    assert ended.code == 0, ended.output
    assert "40 rows in = 39 labelled + 1 rejected" in ended.output
    exported = distill("export", tmp_path / "job.toml")
    assert exported.code == 0, exported.output
    (folder,) = re.findall(r"^students\.small: (.*)$", exported.output, re.MULTILINE)
    student = TIMM.create_model(f"local-dir:{folder}/timm", pretrained=True).eval()
    config = TIMM.data.resolve_model_data_config(student)
    assert config["input_size"] == (3, SIDE, SIDE)
    assert (round(config["crop_pct"], 2), config["interpolation"]) == (0.9, "bicubic")
    assert student.pretrained_cfg["label_names"] == ["red", "green", "blue"]


def test_the_guides_job_of_views_fails(tmp_path):
    (text,) = re.findall(r"```toml\n(# views\.toml\n.*?)```", GUIDE, re.DOTALL)
    (tmp_path / "photographs").mkdir()
    contents = [photograph(number) for number in range(40)]
    pq.write_table(pa.table({"image": contents}), tmp_path / "photographs" / "a.parquet")
    save_teacher(tmp_path / "teacher")
    job = tiny_job(tmp_path, text)
    lines = []
    run_job(job, lines.append, engine="local")
    assert any("40 rows in = 40 labelled" in line for line in lines), lines
    contract = label_set(job, "teacher", "photographs").contract
    assert (contract.views, json.loads(contract.view_augment)) == (4, {"shift": 4, "flip": 0.5})
