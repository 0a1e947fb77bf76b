"""A sweep trains exactly the students that its grid says, each once."""

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job


def variants(folder, sweep):
    return tiny_job(folder, JOB.replace("[evaluate]", sweep + "\n    [evaluate]")).variants


def test_a_student_without_a_sweep_is_its_own_only_variant(tmp_path):
    job = tiny_job(tmp_path, JOB)
    assert [(variant.name, variant.spec) for variant in job.variants] == [
        ("combined", job.students["combined"])
    ]


def test_a_grid_is_the_product_of_its_lists(tmp_path):
    made = variants(
        tmp_path,
        '[sweep.s]\n    student = "combined"\n    "terms.1.weight" = [0, 0.3]\n    seed = [1, 2, 3]',
    )
    assert [(variant.spec.terms[1].weight, variant.spec.seed) for variant in made] == [
        (w, s) for w in (0.0, 0.3) for s in (1, 2, 3)
    ]
    assert made[4].name == "combined[terms.1.weight=0.3,seed=2]"
    assert all(variant.spec.terms[0].weight == 1.0 for variant in made)


def test_what_two_sweeps_say_alike_is_trained_once(tmp_path):
    made = variants(
        tmp_path,
        "".join(
            f'\n    [sweep.{name}]\n    student = "combined"\n    seed = {seeds}'
            for name, seeds in (("s", [1, 2]), ("t", [2, 3]))
        ),
    )
    assert [variant.spec.seed for variant in made] == [1, 2, 3]


def test_a_sweep_over_label_sets_sees_the_rows_of_the_first_alone(tmp_path):
    other = '[labels.other]\n    labeler = { kind = "fitted", fit = "large" }\n    over = ["unlabelled", "more", "test"]\n    '
    more = '[pools.more]\n    path = "more/"\n    '
    sweep = '[sweep.s]\n    student = "combined"\n    "terms.0.learns" = ["labels.large", "labels.other"]\n    '
    made = tiny_job(
        tmp_path, JOB.replace("[evaluate]", more + other + sweep + "[evaluate]")
    ).variants
    assert [variant.spec.on for variant in made] == [("unlabelled",), ("unlabelled", "more")]


def test_a_sweep_over_the_models_width_changes_the_model(tmp_path):
    job = JOB.replace('model = { kind = "linear" }', 'model = { kind = "mlp", hidden = [8, 4] }')
    made = tiny_job(
        tmp_path,
        job.replace(
            "[evaluate]",
            '[sweep.s]\n    student = "combined"\n    "model.hidden.0" = [16, 32]\n    [evaluate]',
        ),
    ).variants
    assert [variant.spec.model.hidden for variant in made] == [(16, 4), (32, 4)]


def test_a_trial_is_refused_by_the_name_that_is_printed_of_it(tmp_path):
    sweep = '[sweep.s]\n    student = "combined"\n    "terms.1.weight" = [0.0, 0.3]\n    seed = [1, 11]\n    [evaluate]'
    job = tiny_job(tmp_path, JOB.replace("[evaluate]", sweep))
    for variant in job.variants:
        assert job.chosen_variants([variant.name]) == [variant]
    assert job.chosen_variants(["combined", job.variants[1].name]) == list(job.variants), (
        "each once"
    )
    with pytest.raises(
        JobError,
        match=r"no student 'combined\[seed=1\]'.*combined; of a sweep also .* 'combined\[terms\.1\.weight=0\.0,seed=1\]'",
    ):
        job.chosen_variants(["combined[seed=1]"])


def test_a_job_without_a_sweep_is_hinted_at_trials(tmp_path):
    with pytest.raises(JobError, match=r"no student 'large'\. There is: combined\.$"):
        tiny_job(tmp_path, JOB).chosen_variants(["large"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('"terms.1.wieght" = [1.0]', ["sweep.s.terms.1.wieght", "no 'wieght' there", "'weight'"]),
        ('"terms.7.weight" = [1.0]', ["sweep.s.terms.7.weight", "no '7' there", "[0, 1]"]),
        ('"terms.1.weight.x" = [1.0]', ["sweep.s.terms.1.weight.x", "no 'x' there"]),
        ('"terms.1.weight" = [-1.0]', ["sweep.s: terms.1.weight = -1.0"]),
        ('"terms.1.weight" = ["much"]', ["sweep.s: terms.1.weight = 'much'"]),
        (
            '"training.checkpoint_epochs" = [1, 2]',
            ["sweep.s.training.checkpoint_epochs", "all of them would be one student"],
        ),
        (
            '"training.workers.0" = [1, 2]',
            ["sweep.s.training.workers.0", "all of them would be one student"],
        ),
        ('"terms.1.weight" = 0.3', ["sweep.s", "not a list of values"]),
        ('"terms.1.weight" = []', ["sweep.s", "not a list of values"]),
        ("", ["sweep.s", "sweeps nothing"]),
    ],
)
def test_a_path_or_value_that_does_not_fit_the_student_is_named(tmp_path, line, said):
    refused(
        tmp_path,
        "[evaluate]",
        f'[sweep.s]\n    student = "combined"\n    {line}\n    [evaluate]',
        *said,
    )


TEXT = """
    root = "runs"
    [pools.texts]
    path = "texts"
    features = { kind = "text", column = "text" }
    target = "topic"
    classes = ["a", "b"]
    [students.small]
    model = { kind = "ngram_bag", hidden = 8WORDS }
    training = { epochs = 1 }
    [[students.small.terms]]
    learns = "pools.texts"
    loss = { kind = "cross_entropy" }
    [sweep.s]
    student = "small"
    seed = [1, 2]
"""


@pytest.mark.parametrize(("said", "unsaid"), [("", True), (', words = "unicode"', False)])
def test_a_swept_text_student_that_was_trained_before_is_not_found(tmp_path, said, unsaid):
    """It is found by what its table leaves out."""
    (variant, *_) = tiny_job(tmp_path, TEXT.replace("WORDS", said)).variants
    assert variant.spec.model.words_are_unsaid == unsaid
