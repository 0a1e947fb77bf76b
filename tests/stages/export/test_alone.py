"""An export where nothing of distill's is installed: environments that hold one library and what it
needs, the lines that the cards print, in processes that are started cold and inherit nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy

from distill.labelers.network import NetworkLabeler
from distill.stages.predict import predict_files
from tests.linked_environment import link_environment, run_in
from tests.models.test_encoder import bare_encoder
from tests.resolved import export_students, find_student
from tests.stages.export.conftest import BAG, MODELS, some_texts
from tests.stages.export.test_forms import Taught
from tests.stages.export.test_timm_folder import BY_TIMM, export_one
from tests.text_students import text_job

pytestmark = pytest.mark.slow
OURS = ("distill", "ray", "pyarrow", "xxhash")
PACKAGES = {
    "torch": ("torch", "safetensors"),
    "onnxruntime": ("onnxruntime", "tokenizers"),
    "transformers": ("transformers", "torch"),
    "sentence_transformers": ("sentence-transformers",),
    "timm": ("timm",),
}
PRELUDE = f"""
import importlib.util, json, sys
there = [name for name in {OURS} if importlib.util.find_spec(name)]
assert not there, there
"""
NUMBERS = """
seen = json.load(open("seen.json"))
is_text = type(seen[0][0]) is int
"""
TORCH = """
import torch
features = torch.tensor(seen, dtype=torch.int32 if is_text else torch.float32)
{}
with torch.inference_mode():
    outputs = load("weights.safetensors")(features)
"""
ONNX = """
import numpy
features = numpy.array(seen, "int32" if is_text else "float32")
{}
"""
TO_JSON = """
json.dump({head: values.tolist() for head, values in outputs.items()}, open("said.json", "w"))
"""
OF_TEXTS = {
    "transformers": """
outputs = logits
classes = [model.config.id2label[best] for best in logits.argmax(1).tolist()]
""",
    "sentence_transformers": "",
    "onnxruntime": """
(outputs,) = outputs.values()
(names,) = names.values()
classes = [names[best] for best in outputs.argmax(1).tolist()]
""",
}


@pytest.fixture(scope="module")
def run_alone(tmp_path_factory):
    """`run_alone(library, program, folder)`: what a program prints in `folder` that finds this
    library and what it needs, and nothing else."""
    made = {}

    def run(library: str, program: str, folder: Path) -> str:
        if library not in made:
            folder_of_links = tmp_path_factory.mktemp(library) / "packages"
            made[library] = link_environment(folder_of_links, *PACKAGES[library])
        return run_in(made[library], PRELUDE + program, folder)

    return run


@pytest.mark.parametrize(
    "model", [MODELS["rnn"], MODELS["cnn"], BAG], ids=["rnn", "cnn", "ngram_bag"]
)
def test_an_export_needs_distill_or_answers_otherwise_where_it_is_not(run_alone, taught, model):
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
    for library, lines in {
        "torch": TORCH.format(torch_line),
        "onnxruntime": ONNX.format(onnx_lines),
    }.items():
        run_alone(library, NUMBERS + lines + TO_JSON, export)
        said = json.loads((export / "said.json").read_text())
        assert said.keys() == record.heads.keys()
        for head, labeler in labelers.items():
            np.testing.assert_allclose(said[head], labeler.label(seen), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """A student by the library that its folder is for."""
    found = {}
    for library, pooling in {"transformers": "cls", "sentence_transformers": "mean"}.items():
        folder = tmp_path_factory.mktemp(f"{library}-student")
        bare_encoder(folder / "model", "bert")
        model = f'{{ kind = "encoder", model = "model", pooling = "{pooling}" }}'
        found[library] = Taught(text_job(folder, model))
    return found


@pytest.mark.parametrize("library", OF_TEXTS)
def test_a_card_for_one_library_names_other_classes_than_predict(
    run_alone, encoders, library, tmp_path
):
    student = encoders["transformers" if library == "onnxruntime" else library]
    pool = student.job.path.parent / "test"
    predict_files(str(student.export), str(pool), str(tmp_path))
    due = pq.read_table(tmp_path / "0.parquet")["predicted_main"].to_pylist()
    texts = pq.read_table(pool / "0.parquet")["text"].to_pylist()
    program = f"import numpy\ntexts = {texts}\n{card_lines(student, library)}{OF_TEXTS[library]}"
    program += "print(json.dumps([outputs.tolist(), classes]))\n"
    printed = run_alone(library, program, student.export)
    outputs, classes = json.loads(printed.splitlines()[-1])
    np.testing.assert_allclose(outputs, student.logits(texts), atol=1e-5)
    assert classes == due
    assert len(set(due)) > 1


def card_lines(student: Taught, library: str) -> str:
    """What a card says of how to ask."""
    card = student.card
    if library != "onnxruntime":
        card = (student.export / library / "README.md").read_text("utf-8")
    blocks = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    if library == "onnxruntime":
        session, rows = (each for each in blocks if "session" in each or "tokenizer.json" in each)
        return f"from tokenizers import Tokenizer\n{rows}{session}"
    lines = blocks[0].replace(f'"{library}"', '"."')
    return f"import os\nos.chdir('{library}')\n{lines}"


def test_timm_where_distill_is_not_answers_otherwise(run_alone, tmp_path):
    _, folder, images, due = export_one(tmp_path)
    printed = run_alone("timm", BY_TIMM, folder)
    names = json.loads(printed.splitlines()[-1])
    answers = safetensors.numpy.load_file(folder / "answers.safetensors")
    np.testing.assert_allclose(answers["whole"], due, atol=1e-5)
    out = tmp_path / "out"
    predict_files(str(folder), str(tmp_path / "rows"), str(out))
    predicted = pq.read_table(out / "a.parquet")["predicted_main"].to_pylist()
    assert [names[best] for best in answers["whole"].argmax(1)] == predicted
    assert len(images) == len(predicted)
