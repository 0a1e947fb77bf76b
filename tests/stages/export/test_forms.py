"""Exports of students that read tokens, in the hands of the libraries that they are for."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from distill import run
from distill.core.errors import LabelerError
from distill.labelers.network import NetworkLabeler
from distill.labelers.runtime import Runtime
from distill.labelers.sequence_classifier import SequenceClassifier
from distill.labelers.student import StudentLabeler
from distill.models.files import identify_model
from distill.plan.load import load_job
from distill.stages.predict import predict_files
from tests.alone import OURS, run_alone
from tests.labelers.asking import as_features
from tests.models.test_encoder import bare_encoder
from tests.resolved import find_student
from tests.text_students import some_texts, text_job
from tests.tiny_models import save_classifier, save_word_vectors

CLASSES = ["games", "markets", "films"]
TEXTS = [*some_texts(40, seed=3, longest=12), "", "unknown words only"]
ALONE = """
import json, os, sys
texts, every = {texts}, []
for folder, body in {bodies}:
    os.chdir(folder)
    sys.path.insert(0, folder)
    sys.modules.pop("model", None)
    exec(body)
    every.append(said)
print("said", json.dumps(every))
"""
TORCH = """
from model import load
import torch
student = load()
with torch.inference_mode():
    logits = student(student.read(texts))["main"].tolist()
said = [logits, student.predict(texts), student.predict_proba(texts).tolist()]
"""
ONNX = """
import numpy
from tokenizers import Tokenizer
{rows}
{session}
said = outputs["main"].tolist()
"""
BY_TRANSFORMERS = """
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
model = AutoModelForSequenceClassification.from_pretrained(".").eval()
inputs = AutoTokenizer.from_pretrained(".")(texts, padding=True, truncation=True, return_tensors="pt")
with torch.inference_mode():
    logits = model(**inputs).logits
said = [logits.tolist(), [model.config.id2label[number] for number in logits.argmax(1).tolist()]]
"""
BY_SENTENCES = """
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(".", device="cpu")
outputs = model.encode(texts)
names = model.transformers_model.config.id2label
said = [outputs.tolist(), [names[best] for best in outputs.argmax(1).tolist()]]
"""
ENCODERS = {"distilbert": "cls", "roberta": "cls", "electra": "last"}


class Taught:
    """A student, and what distill itself says of texts by it."""

    def __init__(self, job_file: Path) -> None:
        self.job = load_job(job_file)
        run.train_students(self.job, engine="local")
        (exported,) = run.export_students(self.job, onnx=True, engine="local")
        self.export = Path(exported.uri)
        self.card = (self.export / "README.md").read_text("utf-8")
        self.folder, self.record = find_student(self.job, self.job.variants[0])

    def logits(self, texts: list[str] = TEXTS) -> np.ndarray:
        labeler = NetworkLabeler.load(self.folder.uri, self.record)
        return labeler.label(labeler.prepare(as_features(texts)))


def said_alone(bodies: dict[Path, str], refused: tuple[str, ...]) -> list:
    """What lines say of the texts in each folder, in a process that can import some libraries
    alone."""
    told = [(str(folder), body) for folder, body in bodies.items()]
    printed = run_alone(ALONE.format(texts=TEXTS, bodies=told), Path.cwd(), refused)
    return json.loads(printed.rpartition("said ")[2])


KINDS = {
    **{f"{kind}-{pooling}": kind for kind, pooling in ENCODERS.items()},
    "static": "table",
    "above": "bert",
}


@pytest.fixture(scope="module")
def every(tmp_path_factory):
    """A student of each kind, exported in all its forms."""
    return [teach(tmp_path_factory.mktemp(name), name) for name in KINDS]


@pytest.fixture(params=KINDS)
def taught(request, every):
    """One of them."""
    return every[list(KINDS).index(request.param)]


def teach(folder: Path, name: str) -> Taught:
    kind = KINDS[name]
    if kind == "table":
        save_word_vectors(folder / "model")
        model = '{ kind = "static", model = "model", above = { kind = "mlp", hidden = [8] } }'
    else:
        bare_encoder(folder / "model", kind)
        pooling = name.partition("-")[2]
        model = f'{{ kind = "encoder", model = "model", pooling = "{pooling}", layers = 2 }}'
    if name == "above":
        above = 'above = { kind = "mlp", hidden = [8, 6], dropout = 0.1 }, normalize = true'
        model = f'{{ kind = "encoder", model = "model", {above} }}'
    made = Taught(text_job(folder, model))
    made.kind = name
    return made


def test_a_folder_of_another_library_answers_otherwise(taught):
    due = taught.logits()
    if taught.kind.endswith("-cls"):
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        folder = taught.export / "transformers"
        model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        inputs = AutoTokenizer.from_pretrained(folder)(
            TEXTS, padding=True, truncation=True, return_tensors="pt"
        )
        with torch.inference_mode():
            np.testing.assert_allclose(model(**inputs).logits.numpy(), due, atol=1e-5)
        assert [model.config.id2label[number] for number in range(3)] == CLASSES
        assert not (taught.export / "sentence_transformers").exists()
        assert "Not for sentence-transformers" in taught.card
    elif taught.kind == "static":
        from model2vec import StaticModel
        from model2vec.inference import StaticModelPipeline

        folder = taught.export / "model2vec"
        pipeline = StaticModelPipeline.from_pretrained(folder)
        shares = torch.from_numpy(due).softmax(1).numpy()
        np.testing.assert_allclose(pipeline.predict_proba(TEXTS), shares, atol=1e-5)
        assert pipeline.predict(TEXTS).tolist() == [CLASSES[best] for best in due.argmax(1)]
        assert StaticModel.from_pretrained(folder).encode(TEXTS).shape == (len(TEXTS), 16)
    else:
        from sentence_transformers import SentenceTransformer

        folder = taught.export / "sentence_transformers"
        found = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
        np.testing.assert_allclose(found, due, atol=1e-5)
        assert not (taught.export / "transformers").exists()
        assert "Not for transformers: its classes for sequences take" in taught.card


@pytest.mark.parametrize(
    ("library", "lines", "refused"),
    [
        ("transformers", BY_TRANSFORMERS, ("sentence_transformers", "timm", "model2vec")),
        ("sentence_transformers", BY_SENTENCES, ("timm", "model2vec")),
    ],
)
def test_a_folder_for_a_library_needs_more_than_that(every, library, lines, refused):
    loaded = [each for each in every if (each.export / library).exists()]
    bodies = {each.export / library: lines for each in loaded}
    answers = said_alone(bodies, (*OURS, *refused))
    assert len(loaded) == 2
    for taught, (logits, named) in zip(loaded, answers, strict=True):
        due = taught.logits()
        np.testing.assert_allclose(logits, due, atol=1e-5)
        assert named == [CLASSES[best] for best in due.argmax(1)]


def test_the_torch_files_need_us_or_answer_otherwise(every):
    answers = said_alone({each.export: TORCH for each in every}, OURS)
    for taught, (logits, classes, shares) in zip(every, answers, strict=True):
        due = taught.logits()
        np.testing.assert_allclose(logits, due, atol=1e-5)
        assert classes == [CLASSES[best] for best in due.argmax(1)]
        np.testing.assert_allclose(shares, torch.from_numpy(due).softmax(1), atol=1e-5)


def onnx_lines(card: str) -> str:
    """The lines of a card that ask ONNX Runtime."""
    code = [each.partition("```")[0] for each in card.split("```python\n")[1:]]
    session, rows = [each for each in code if "session" in each or "tokenizer.json" in each]
    return ONNX.format(rows=rows, session=session)


def test_onnx_needs_more_than_its_runtime_and_tokenizers(every):
    bodies = {each.export: onnx_lines(each.card) for each in every}
    answers = said_alone(bodies, (*OURS, "torch", "transformers"))
    for taught, found in zip(every, answers, strict=True):
        np.testing.assert_allclose(found, taught.logits(), atol=1e-5)


def test_predict_and_a_student_labeler_take_one_form_alone(taught, tmp_path):
    due = taught.logits()
    forms = [taught.export, *(each.parent for each in taught.export.glob("*/model.json"))]
    assert len(forms) == 2
    pool = taught.job.path.parent / "test"
    answered = []
    for number, form in enumerate(forms):
        out = tmp_path / str(number)
        predict_files(str(form), str(pool), str(out))
        answered.append(pq.read_table(out / "0.parquet").to_pydict())
        labeler = student_labeler(form)
        found = labeler.label(labeler.prepare(as_features(TEXTS)))
        np.testing.assert_allclose(found, due, atol=1e-5)
    first, second = answered
    assert first["predicted_main"] == second["predicted_main"]
    np.testing.assert_allclose(
        first["predicted_main_probability"], second["predicted_main_probability"], atol=1e-5
    )
    other = forms[1] / "model.safetensors"
    content = other.read_bytes()
    other.write_bytes(content[:-4] + b"\0\0\0\1")
    with pytest.raises(Exception, match=r"is damaged"):
        predict_files(str(forms[1]), str(pool), str(tmp_path / "none"))
    other.write_bytes(content)


def student_labeler(folder: Path):
    table = StudentLabeler(kind="student", model=str(folder), classes=tuple(CLASSES))
    files = table.identify(str(folder), "model")
    return table.build(Runtime(files=files))


def test_the_hubs_card_says_nothing_of_what_it_is(taught):
    import yaml

    (card,) = (each.read_text("utf-8") for each in taught.export.glob("*/README.md"))
    front = yaml.safe_load(card.split("---")[1])
    assert front["pipeline_tag"] == "text-classification"
    assert front["library_name"] in ("transformers", "sentence-transformers", "model2vec")
    (results,) = front["model-index"][0]["results"]
    assert {"accuracy", "nll"} <= {each["type"] for each in results["metrics"]}


def test_a_table_of_values_is_no_model_of_its_own(tmp_path):
    save_word_vectors(tmp_path / "model")
    save_word_vectors(tmp_path / "teacher", seed=1)
    job = text_job(tmp_path, '{ kind = "static", model = "model" }')
    text = job.read_text().replace('pools.rows"\nloss', 'labels.values"\nloss')
    text = text.replace('"cross_entropy"', '"mse"').partition("[evaluate]")[0]
    job.write_text(
        text
        + """
[labels.values]
labeler = { kind = "embedding", model = "teacher", width = 16 }
over = ["rows"]
"""
    )
    run.label_pool(load_job(job), "values", engine="local")
    taught = Taught(job)
    from model2vec import StaticModel

    texts = [text for text in TEXTS if "good" in text]
    found = StaticModel.from_pretrained(taught.export / "model2vec").encode(texts)
    np.testing.assert_allclose(found, taught.logits(texts), atol=1e-5)
    out = tmp_path / "out"
    predict_files(str(taught.export / "model2vec"), str(tmp_path / "test"), str(out))
    assert len(pq.read_table(out / "0.parquet")["predicted_main"][0]) == 16


def test_an_exported_classifier_labels_in_another_order_of_classes(tmp_path):
    save_classifier(tmp_path / "model", ["x", "y"])
    taught = Taught(text_job(tmp_path, '{ kind = "encoder", model = "model", pooling = "cls" }'))
    folder = taught.export / "transformers"
    files = identify_model(str(folder), None, "model")
    table = SequenceClassifier(kind="sequence_classifier", model="m", classes=tuple(CLASSES))
    labeler = table.build(Runtime(files=files))
    found = labeler.label(labeler.prepare(as_features(TEXTS)))
    np.testing.assert_allclose(found, taught.logits(), atol=1e-5)
    other = SequenceClassifier(kind="sequence_classifier", model="m", classes=("b", *CLASSES[1:]))
    with pytest.raises(LabelerError, match=r"games"):
        other.build(Runtime(files=files))
