from __future__ import annotations

import pytest

from distill.core.errors import ContractError, JobError
from distill.labelers.versions import library_versions
from tests.making import keep_network
from tests.resolved import fit_folder, prepare_labels
from tests.tiny import tiny_job, write_pool

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
CLASSES = 'class Mine:\n    revision = "7"\n    classes = ("x", "y")\n    exclusive = False\n'
VALUE = 'class Mine:\n    revision = "7"\n    kind = "value"\n    width = 5\n'


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
