"""An export where nothing of distill's is installed: two environments made new, the lines that the
model card prints, in processes that inherit nothing."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from distill.labelers.network import NetworkLabeler
from tests.empty_environment import make_environment
from tests.resolved import export_students, find_student
from tests.stages.export.conftest import BAG, MODELS, some_texts

OURS = ("distill", "ray", "pyarrow", "pydantic", "xxhash")
PRELUDE = f"""
import importlib.util, json, sys
there = [name for name in {OURS} if importlib.util.find_spec(name)]
assert not there, there
seen = json.load(open("seen.json"))
"""
TORCH = """
import torch
features = torch.tensor(seen, dtype=torch.int32 if type(seen[0][0]) is int else torch.float32)
{}
with torch.inference_mode():
    outputs = load('weights.safetensors')(features)
"""
ONNX = """
import numpy
features = numpy.array(seen, "int32" if type(seen[0][0]) is int else "float32")
{}
"""
LAST = """
json.dump({head: values.tolist() for head, values in outputs.items()}, open("said.json", "w"))
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    """`environments[name]`: the Python of an environment with that and what it needs, at the
    versions of constraints.txt."""
    made = {}
    for name, packages in {
        "torch": ("torch", "safetensors"),
        "onnxruntime": ("onnxruntime",),
    }.items():
        folder = tmp_path_factory.mktemp(name)
        made[name] = make_environment(folder, *packages)
    return made


def run_alone(python: Path, program: str, folder: Path) -> dict[str, np.ndarray]:
    """What a program says of seen.json in `folder`, in a process without any of this one's
    environment."""
    ended = subprocess.run(
        [python, "-c", program], cwd=folder, env={}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return {
        head: np.array(values)
        for head, values in json.loads((folder / "said.json").read_text()).items()
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    "model", [MODELS["rnn"], MODELS["cnn"], BAG], ids=["rnn", "cnn", "ngram_bag"]
)
def test_an_export_needs_distill_or_answers_otherwise_where_it_is_not(environments, taught, model):
    job = taught(model)
    (exported,) = export_students(job, None, (), onnx=True)
    export = Path(exported.uri.removeprefix("file://"))
    stored, record = find_student(job, job.variants[0])
    given = (
        np.array(some_texts(9), object)
        if model == BAG
        else np.random.default_rng(0).normal(size=(9, 4))
    )
    labelers = {head: NetworkLabeler.load(stored.uri, record, head=head) for head in record.heads}
    seen = labelers["main"].prepare(given if model == BAG else given.astype(np.float32))
    (export / "seen.json").write_text(json.dumps(seen.tolist()))
    card = (export / "README.md").read_text("utf-8")
    (onnx_lines,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    torch_line = "from model import load"
    assert f"{torch_line}; load('weights.safetensors')(features)" in card
    for name, lines in {
        "torch": TORCH.format(torch_line),
        "onnxruntime": ONNX.format(onnx_lines),
    }.items():
        said = run_alone(environments[name], PRELUDE + lines + LAST, export)
        assert said.keys() == record.heads.keys()
        for head, labeler in labelers.items():
            np.testing.assert_allclose(said[head], labeler.label(seen), rtol=1e-5, atol=1e-6)
