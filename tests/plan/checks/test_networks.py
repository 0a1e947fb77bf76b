"""Networks that cannot see their pools, or not alike, are refused when the job is read."""

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job

TEXT = '{ kind = "text", column = "said" }'
IMAGE = '{ kind = "image", column = "picture", shape = [8, 6, 3] }'
VECTOR = '{ kind = "vector", columns = ["pixels"] }'
BAG = '{ kind = "ngram_bag", buckets = 64 }'


@pytest.mark.parametrize("other", ["labelled", "test"])
def test_one_model_that_would_see_two_kinds_of_rows_is_refused(tmp_path, other):
    text = JOB
    for pool in ("labelled", "test"):
        columns = "other" if pool == other else "pixels"
        features = f'features = {{ kind = "vector", columns = ["{columns}"] }}'
        text = text.replace(f'path = "{pool}/"', f'path = "{pool}/"\n    {features}')
    with pytest.raises(
        JobError, match=r"one model sees the pools .*, which have different features"
    ):
        tiny_job(tmp_path, text)


def test_a_student_or_fit_on_text_fails_only_when_it_trains(tmp_path):
    reads_none = (
        'pools.labelled has features of text, which only "ngram_bag", "encoder" and "static" read'
    )
    refused(tmp_path, VECTOR, TEXT, f"fit.large.model.kind = 'mlp': {reads_none}")
    student = JOB.replace(
        '[fit.large]\n    model = { kind = "mlp", hidden = [16] }\n    on = "labelled"', ""
    )
    student = student.replace(
        '{ kind = "fitted", fit = "large" }', '{ kind = "custom", file = "mine.py" }'
    )
    mine = 'class Labeler:\n    revision = "1"\n    classes = ("a", "b", "c", "d")\n    def label(self, features): ...\n'
    (tmp_path / "mine.py").write_text(mine)
    with pytest.raises(
        JobError,
        match=r"students\.combined\.model\.kind = 'linear': pools\.unlabelled has features of text",
    ):
        tiny_job(tmp_path, student.replace(VECTOR, TEXT))
    labels_only = student.partition("[students.combined]")[0] + '[evaluate]\n    on = "test"\n'
    assert tiny_job(tmp_path, labels_only.replace(VECTOR, TEXT)).labels.keys() == {"large"}


def test_a_network_for_text_is_given_numbers_or_the_other_way(tmp_path):
    refused(
        tmp_path,
        '{ kind = "linear" }',
        BAG,
        "students.combined",
        'model.kind = "ngram_bag": reads text, but pools.unlabelled',
    )
    text = (
        JOB.replace(VECTOR, TEXT)
        .replace('{ kind = "mlp", hidden = [16] }', BAG)
        .replace('{ kind = "linear" }', BAG)
    )
    job = tiny_job(tmp_path, text)
    assert job.students["combined"].model.buckets == 64
    for own in (BAG.replace("64", "32"), '{ kind = "linear" }'):
        heads = f"{BAG}\n    heads = {{ main = {{ model = {own} }} }}\n    [[students"
        with pytest.raises(
            JobError,
            match=r"students\.combined\.heads\.main\.model\.kind = .*: does not see rows as",
        ):
            tiny_job(tmp_path, text.replace(f"{BAG}\n    [[students", heads, 1))


def test_a_cnn_folds_images_by_another_order_than_they_have(tmp_path):
    job = JOB.replace(VECTOR, IMAGE)
    right = job.replace('{ kind = "linear" }', '{ kind = "cnn", shape = [3, 8, 6] }')
    assert tiny_job(tmp_path, right).pools["test"].features.shape == (8, 6, 3)
    with pytest.raises(
        JobError, match=r"images of pools\.unlabelled are 8 high, 6 wide.*Write \[3, 8, 6\]"
    ):
        tiny_job(
            tmp_path, job.replace('{ kind = "linear" }', '{ kind = "cnn", shape = [8, 6, 3] }')
        )
    heads = '{ kind = "linear" }\n    heads = { main = { model = { kind = "cnn", shape = [8, 6, 3] } } }'
    with pytest.raises(
        JobError,
        match=r"students\.combined\.heads\.main\.model\.shape = \[8, 6, 3\]: .*Write \[3, 8, 6\]",
    ):
        tiny_job(tmp_path, job.replace('{ kind = "linear" }', heads))
