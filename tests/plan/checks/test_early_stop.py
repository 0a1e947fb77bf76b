"""What a training may stop by, what a step may take, and which rows may be balanced."""

from __future__ import annotations

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB
from tests.tiny import tiny_job

MORE = JOB.replace(
    "    [fit.large]",
    """    [pools.validation]
    path = "validation/"
    target = "digit"
    classes = ["a", "b", "c", "d"]
    [pools.pictured]
    path = "pictured/"
    target = "digit"
    classes = ["a", "b", "c", "d"]
    features = { kind = "vector", columns = ["other"] }
    [fit.large]""",
)
SHARED = ("labelled", "test", "validation")
for _name in SHARED:
    MORE = MORE.replace(
        f'path = "{_name}/"',
        f'path = "{_name}/"\n    features = {{ kind = "vector", columns = ["pixels"] }}',
    )
MORE = MORE.replace('over = ["unlabelled", "test"]', 'over = ["unlabelled", "test", "validation"]')


def stopped(lines):
    return MORE.replace(
        "    [evaluate]", f"    [students.combined.early_stop]\n    {lines}\n    [evaluate]"
    )


def on_unlabelled(lines):
    terms = "    [[students.combined.terms]]"
    return stopped(lines).replace(terms, f'    on = ["unlabelled"]\n{terms}', 1)


def with_fit(line):
    return MORE.replace('on = "labelled"', f'on = "labelled"\n    {line}', 1)


def with_student(line):
    return MORE.replace("    [students.combined]\n", f"    [students.combined]\n    {line}\n")


@pytest.mark.parametrize(
    "stop", ['learns = "pools.validation"', 'learns = "labels.large"\n    over = "validation"']
)
def test_held_out_rows_are_trained_on_by_default(tmp_path, stop):
    assert tiny_job(tmp_path, MORE).students["combined"].on == ("unlabelled", "validation")
    assert tiny_job(tmp_path, stopped(stop)).students["combined"].on == ("unlabelled",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (stopped('learns = "x"'), ["students.combined.early_stop.learns", "neither 'labels.NAME' nor 'pools.NAME'"]),
        (stopped('learns = "pools.validtion"'), ["early_stop.learns = 'validtion': there is no such pool", "validation"]),
        (stopped('learns = "labels.larg"'), ["early_stop.learns = 'larg': there is no such label set. There is: large"]),
        (stopped('learns = "labels.large"\n    over = "x"'), ["early_stop.over = 'x': there is no such pool"]),
        (stopped('learns = "labels.large"'), ["early_stop.over: missing", "'validation'"]),
        (stopped('learns = "labels.large"\n    over = "labelled"'), ["early_stop.over = 'labelled': labels.large covers"]),
        (stopped('learns = "pools.validation"\n    over = "test"'), ["early_stop.over = 'test'", "Leave `over` to label sets"]),
        (stopped('learns = "pools.test"'), ["measures on pools.test, which students are judged on", "Hold out another pool"]),
        (stopped('learns = "labels.large"\n    over = "test"'), ["measures on pools.test, which students are judged on"]),
        (stopped('learns = "pools.labelled"'), ["measures on pools.labelled, which it is trained on"]),
        (on_unlabelled('learns = "labels.large"\n    over = "unlabelled"'), ["measures on pools.unlabelled, which it is trained on"]),
        (stopped('learns = "pools.unlabelled"'), ["learns = 'pools.unlabelled': that pool has no target"]),
        (stopped('learns = "pools.validation"\n    head = "x"'), ["early_stop.head = 'x': no term teaches that head. There is: main"]),
        (stopped('learns = "pools.validation"\n    loss = { kind = "kl" }'), ["early_stop.loss.kind = 'kl'", "Use another loss"]),
        (stopped('learns = "labels.large"\n    over = "validation"\n    loss = { kind = "kl", temperature = 2 }'), ["early_stop.loss.temperature = 2.0"]),
        (stopped('learns = "pools.pictured"'), ["early_stop: one model sees the pools", "different features"]),
        (stopped('learns = "pools.validation"\n    patience = 0'), ["early_stop.patience = 0"]),
        (with_fit('early_stop = { learns = "labels.large" }'), ["fit.large.early_stop.learns = 'labels.large': a fit comes before all labels"]),
        (with_fit('early_stop = { learns = "pools.labelled" }'), ["fit.large.early_stop: measures on pools.labelled, which it is trained on"]),
        (with_fit('early_stop = { learns = "pools.test" }'), ["fit.large.early_stop: measures on pools.test, which students are judged on"]),
        (with_fit('early_stop = { learns = "pools.x" }'), ["fit.large.early_stop.learns = 'x': there is no such pool"]),
        (with_student("batch_share = { unlabelled = 0.5 }"), ["batch_share.unlabelled = 0.5: no term learns the target of that pool. There is: labelled"]),
        (with_student("batch_share = { labelled = 0.3 }"), ["batch_share.labelled = 0.3: is 9.6 of the 32 rows", "8 lanes", "Write 0.28125 or 0.3125"]),
        (with_student("batch_share = { labelled = 0.01 }"), ["batch_share.labelled = 0.01: is 0.32 of", "Write 0.03125, or"]),
        (with_student("batch_share = { labelled = 1.5 }"), ["batch_share.labelled = 1.5"]),
    ],
)  # fmt: skip
def test_a_wrong_stop_or_share_is_told_with_key_value_and_remedy(tmp_path, text, said):
    with pytest.raises(JobError) as told:
        tiny_job(tmp_path, text)
    for part in (str(tmp_path / "job.toml"), *said):
        assert part in str(told.value)


def test_a_share_of_rows_that_are_seen_with_labels_is_refused(tmp_path):
    text = with_student('batch_share = { labelled = 0.5 }\n    on = ["labelled"]').replace(
        '["unlabelled", "test"', '["unlabelled", "labelled", "test"'
    )
    with pytest.raises(
        JobError, match=r"batch_share\.labelled = 0\.5: its rows are seen with label sets"
    ):
        tiny_job(tmp_path, text)


def test_a_third_is_refused_for_its_last_digit(tmp_path):
    text = with_student(
        "batch_share = { labelled = 0.333333 }\n    training = { batch_rows = 384, lanes = 8 }"
    )
    assert tiny_job(tmp_path, text).students["combined"].lane_rows(("labelled",)) == 16


ESZSL = 'model = { kind = "eszsl", descriptions = "described.csv" }\n    early_stop = { learns = "pools.validation" }'


def test_a_fit_by_passes_has_no_epochs_to_stop_at(tmp_path):
    (tmp_path / "described.csv").write_text("class,x\na,1\nb,0\nc,2\nd,3\n", "utf-8")
    with pytest.raises(
        JobError, match=r"fit\.large\.early_stop: 'eszsl' is fitted by passes and has no epochs"
    ):
        tiny_job(tmp_path, MORE.replace('model = { kind = "mlp", hidden = [16] }', ESZSL))


@pytest.mark.parametrize(
    "target",
    ['target = "digit"', 'target = "digit"\n    classes = ["a", "b"]\n    outputs = "independent"'],
)
def test_rows_without_one_class_are_not_balanced(tmp_path, target):
    text = """
        root = "runs"
        [pools.labelled]
        path = "labelled/"
        features = { kind = "vector", columns = ["pixels"] }
        TARGET
        [students.small]
        model = { kind = "linear" }
        [[students.small.terms]]
        learns = "pools.labelled"
        loss = { kind = "LOSS" }
        row_weight = { kind = "class_balance" }
    """.replace("TARGET", target).replace("LOSS", "binary_cross_entropy" if "independent" in target else "mse")  # fmt: skip
    with pytest.raises(
        JobError,
        match=r"row_weight\.kind = 'class_balance': pools\.labelled says .*no one class to balance",
    ):
        tiny_job(tmp_path, text)


def test_other_row_weights_of_a_target_are_refused_as_before(tmp_path):
    text = MORE.replace(
        '"cross_entropy" }\n', '"cross_entropy" }\n    row_weight = { kind = "confidence" }\n'
    )
    with pytest.raises(
        JobError,
        match=r"row_weight\.kind = 'confidence': pools\.labelled is a target, of which nobody",
    ):
        tiny_job(tmp_path, text)
    assert tiny_job(tmp_path, text.replace('"confidence"', '"class_balance"'))
