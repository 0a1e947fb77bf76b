from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distill.core.errors import ContractError, JobError
from distill.labelers.versions import library_versions
from distill.labels.commit import read_labels
from distill.labels.encoding import decode
from distill.labels.identity import label_set_digest, label_set_folder
from distill.models.files import identify_model
from distill.plan.workspace import Workspace
from distill.run import label_pool, verify_labels
from distill.storage.open import open_storage
from tests.making import keep_network
from tests.resolved import fit_folder, prepare_labels
from tests.tiny import pixels, tiny_job, write_pool

JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"], scale = 0.5 }
    target = "kind"
    classes = ["a", "b", "c"]
    [fit.large]
    model = { kind = "linear" }
    on = "rows"
    [labels.fitted]
    labeler = { kind = "fitted", fit = "large" }
    over = ["rows"]
    encoding = { kind = "topk", k = 2, temperatures = [1, 4] }
    batch_rows = 32
    precision = "bfloat16"
    [labels.mine]
    labeler = { kind = "custom", file = "mine.py", name = "Mine" }
    over = ["rows"]
"""
CLASSES = 'class Mine:\n    revision = "7"\n    classes = ("x", "y")\n    exclusive = False\n    def label(self, features): ...\n'
VALUE = 'class Mine:\n    revision = "7"\n    kind = "value"\n    width = 5\n    def label(self, features): ...\n'


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "rows", [30])
    (tmp_path / "mine.py").write_text(CLASSES, "utf-8")
    return tmp_path


def test_a_contract_says_something_else_than_the_job(folder):
    job = tiny_job(folder, JOB)
    from tests.resolved import pool_outputs

    record, _ = keep_network(fit_folder(job, "large").uri, {"main": pool_outputs(job, "rows")}, 4)
    recipe, contract = prepare_labels(job, "fitted")
    assert (recipe.form, recipe.record, recipe.precision) == ("network", record, "bfloat16")
    assert (contract.labeler, contract.revision) == ("fitted:large", record.sha256)
    assert (contract.classes, contract.exclusive, contract.width, contract.kind) == (
        ("a", "b", "c"),
        True,
        3,
        "logits",
    )
    assert (contract.encoding, contract.dtype, contract.k, contract.temperatures) == (
        "topk",
        "uint8",
        2,
        (1, 4),
    )
    assert (contract.batch_rows, contract.precision, contract.tolerance) == (32, "bfloat16", 2**-5)
    assert (contract.keys, contract.format) == ((), "arrow")
    assert contract.versions == library_versions()


def test_a_fit_that_is_not_done_labels(folder):
    with pytest.raises(ContractError, match=r"fit\.large is not fitted yet"):
        prepare_labels(tiny_job(folder, JOB), "fitted")


def test_a_custom_labeler_is_asked_what_it_means_too_late(folder):
    recipe, contract = prepare_labels(tiny_job(folder, JOB), "mine")
    assert (recipe.form, recipe.name, recipe.source.text) == ("custom", "Mine", CLASSES)
    assert (contract.labeler, contract.revision, contract.classes) == (
        "custom:Mine",
        "7",
        ("x", "y"),
    )
    assert (contract.exclusive, contract.encoding, contract.width) == (False, "dense", 2)
    (folder / "mine.py").write_text(VALUE, "utf-8")
    _, contract = prepare_labels(tiny_job(folder, JOB), "mine")
    assert (contract.kind, contract.encoding, contract.width, contract.classes) == (
        "value",
        "value",
        5,
        (),
    )
    (folder / "mine.py").write_text(VALUE.replace("revision", "other"), "utf-8")
    with pytest.raises(JobError, match="must have a `revision`"):
        tiny_job(folder, JOB)


def test_a_custom_labeler_in_half_precision_is_held_to_float32s_tolerance(folder):
    _, plain = prepare_labels(tiny_job(folder, JOB), "mine")
    assert (plain.precision, plain.tolerance) == ("float32", 2**-8)
    (folder / "mine.py").write_text(CLASSES + '    precision = "bfloat16"\n', "utf-8")
    _, half = prepare_labels(tiny_job(folder, JOB), "mine")
    assert (half.precision, half.tolerance) == ("bfloat16", 2**-5)
    (folder / "mine.py").write_text(CLASSES + '    precision = "int4"\n', "utf-8")
    with pytest.raises(
        JobError, match="precision='int4': say in what it computes, float32, bfloat16, float16"
    ):
        tiny_job(folder, JOB)


def test_other_features_or_a_new_revision_keep_the_contract(folder):
    _, before = prepare_labels(tiny_job(folder, JOB), "mine")
    _, scaled = prepare_labels(tiny_job(folder, JOB.replace("scale = 0.5", "scale = 2.0")), "mine")
    assert scaled.preprocessing != before.preprocessing
    (folder / "mine.py").write_text(CLASSES.replace('"7"', '"8"'), "utf-8")
    _, revised = prepare_labels(tiny_job(folder, JOB), "mine")
    assert revised.digest != before.digest
    assert revised.preprocessing == before.preprocessing


def test_probabilities_are_not_in_the_contract_or_an_older_contract_changes(folder):
    labels = (
        JOB.partition("[labels.fitted]")[0] + "[labels.mine]" + JOB.partition("[labels.mine]")[2]
    )
    recipe, contract = prepare_labels(tiny_job(folder, labels), "mine")
    assert "answers" not in contract.meaning
    assert recipe.answers == "logits"
    in_job = labels.replace('name = "Mine"', 'name = "Mine", answers = "probabilities"')
    recipe, declared = prepare_labels(tiny_job(folder, in_job), "mine")
    assert declared.meaning == {**contract.meaning, "answers": "probabilities"}
    assert recipe.answers == "probabilities"
    (folder / "mine.py").write_text(CLASSES + '    answers = "probabilities"\n', "utf-8")
    recipe, in_class = prepare_labels(tiny_job(folder, labels), "mine")
    assert (recipe.answers, in_class) == ("probabilities", declared)
    (folder / "mine.py").write_text(CLASSES + '    answers = "percent"\n', "utf-8")
    with pytest.raises(JobError, match=r"answers='percent': say \"probabilities\""):
        tiny_job(folder, labels)
    (folder / "mine.py").write_text(VALUE, "utf-8")
    with pytest.raises(JobError, match=r'answers = "probabilities": this labeler has values'):
        tiny_job(folder, in_job)


def test_a_member_that_declares_probabilities_is_the_same_ensemble(folder):
    member = '{ kind = "custom", file = "mine.py", name = "Mine" }'
    ensemble = f'{{ kind = "ensemble", members = [{member}, {member}] }}'
    text = JOB.partition("[fit.large]")[0] + f'[labels.mine]\nlabeler = {ensemble}\nover = ["rows"]'
    _, before = prepare_labels(tiny_job(folder, text), "mine")
    text = text.replace('"Mine" }]', '"Mine", answers = "probabilities" }]')
    recipe, declared = prepare_labels(tiny_job(folder, text), "mine")
    assert before.revision != declared.revision
    assert [each.recipe.answers for each in recipe.members] == ["logits", "probabilities"]


SKLEARN = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    [labels.mine]
    labeler = { kind = "sklearn", model = "model.skops" }
    over = ["rows"]
"""


def test_a_classifiers_own_classes_must_be_written_or_those_of_a_regressor_are_made_up(folder):
    import numpy as np
    import skops.io
    from sklearn.linear_model import LogisticRegression, Ridge

    numbers = np.random.default_rng(0).normal(size=(30, 4))
    signs = np.where(numbers[:, 0] > 0, "tall", "short")
    with pytest.raises(JobError, match=r"labels\.mine\.labeler\.model = .*no model lies there"):
        tiny_job(folder, SKLEARN)
    skops.io.dump(LogisticRegression().fit(numbers, signs), folder / "model.skops")
    _, contract = prepare_labels(tiny_job(folder, SKLEARN), "mine")
    assert (contract.kind, contract.classes, contract.width) == ("logits", ("short", "tall"), 2)
    skops.io.dump(Ridge().fit(numbers, numbers[:, 0]), folder / "model.skops")
    _, contract = prepare_labels(tiny_job(folder, SKLEARN), "mine")
    assert (contract.kind, contract.classes, contract.width) == ("value", (), 1)
    pinned = SKLEARN.replace("skops", f'skops", sha256 = "{"0" * 64}', 1)
    (folder / "model.skops").unlink()
    assert tiny_job(folder, pinned)


def numeric_classifier(folder):
    import numpy as np
    import skops.io
    from sklearn.linear_model import LogisticRegression

    numbers = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    estimator = LogisticRegression().fit(numbers, np.digitize(numbers[:, 0], [0]) + 3)
    skops.io.dump(estimator, folder / "model.skops")
    return estimator


def test_a_set_that_was_begun_with_a_classifiers_numbers_is_refused_or_has_classes_now(folder):
    """As distill wrote them before it asked estimators for their classes."""
    estimator = numeric_classifier(folder)
    job = tiny_job(folder, SKLEARN)
    _, contract = prepare_labels(job, "mine")
    assert contract.classes == ("3", "4")
    values = replace(contract, kind="value", classes=(), width=1, encoding="value")
    inventory = Workspace(job).pool("rows").inventory
    label_set = label_set_digest(values, inventory, job.fragment_rows)
    stored = label_set_folder(open_storage(str(folder / "root")), "mine", 1, "rows")
    assert values.put(stored, fragment_rows=job.fragment_rows, label_set=label_set)
    job = tiny_job(folder, SKLEARN)
    assert prepare_labels(job, "mine")[1].meaning == values.meaning
    (summary,) = label_pool(job, "mine", engine="local")
    assert (summary.labelled, summary.rejected) == (30, 0)
    labels = pa.concat_tables(
        read_labels(stored, entry.data, entry.xxh3, values) for entry in summary.labels.entries
    )
    rows = pixels(pq.read_table(folder / "rows" / "part-00000.parquet"))
    assert decode(labels, values).outputs.ravel().tolist() == estimator.predict(rows).tolist()
    newer = SKLEARN.replace('over = ["rows"]', 'over = ["rows"]\n    version = 2')
    assert prepare_labels(tiny_job(folder, newer), "mine")[1].classes == ("3", "4")


def test_labels_of_a_pinned_classifier_that_is_gone_are_of_another_contract(folder):
    numeric_classifier(folder)
    sha256 = identify_model(str(folder / "model.skops"), None, "the test's").sha256
    text = SKLEARN.replace("skops", f'skops", sha256 = "{sha256}', 1)
    job = tiny_job(folder, text)
    label_pool(job, "mine", engine="local")
    (folder / "model.skops").unlink()
    contract = prepare_labels(tiny_job(folder, text), "mine")[1]
    assert contract.classes == ("3", "4")
    assert verify_labels(tiny_job(folder, text), "mine")[0].problems == ()
