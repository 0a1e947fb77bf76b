"""Tables that contradict each other are refused with key, value and remedy, before any work."""

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job

ESZSL = 'kind = "eszsl", descriptions = "described.csv" }'
NETWORK = 'kind = "mlp", hidden = [16] }'
DESCRIBED = "class,loops,lines\na,1,0\nb,0,1\nc,1,1\nd,0,0.5\nunseen,2,2\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            'on = "labelled"',
            'on = "labeled"',
            ["fit.large.on = 'labeled': there is no such pool", "labelled, test"],
        ),
        (
            'fit = "large"',
            'fit = "larg"',
            ["labels.large.labeler.fit = 'larg': there is no such fit. There is: large"],
        ),
        (
            '["unlabelled", "test"]',
            '["unlabeled"]',
            ["labels.large.over = 'unlabeled': there is no such pool"],
        ),
        (
            '"labels.large"',
            '"labels.lage"',
            [
                "students.combined.terms.0.learns = 'lage': there is no such label set. There is: large"
            ],
        ),
        (
            '"pools.labelled"',
            '"pools.lab"',
            ["students.combined.terms.1.learns = 'lab': there is no such pool"],
        ),
        (
            '{ kind = "linear" }',
            '{ kind = "linear" }\n    on = ["x"]',
            ["students.combined.on = 'x': there is no such pool"],
        ),
        (
            '{ kind = "linear" }',
            '{ kind = "linear" }\n    heads = { aux = {} }',
            ["students.combined.heads = 'aux'", "main"],
        ),
        (
            "[evaluate]",
            '[sweep.s]\n    student = "x"\n    seed = [1]\n    [evaluate]',
            ["sweep.s.student = 'x'", "combined"],
        ),
        (
            '[evaluate]\n    on = "test"',
            '[evaluate]\n    on = "tset"',
            ["evaluate.on = 'tset': there is no such pool"],
        ),
        (
            "[evaluate]\n",
            '[evaluate]\n    teacher = "x"\n',
            ["evaluate.teacher = 'x': there is no such label set. There is: large"],
        ),
    ],
)
def test_an_unknown_name_is_told_with_those_that_exist(tmp_path, old, new, said):
    refused(tmp_path, old, new, *said)


@pytest.mark.parametrize(
    "path", ["pool", "pool/", "./pool", "pool/part", ".", "x/../pool", "file://{here}/pool"]
)
def test_two_pools_that_share_files_are_refused_however_their_paths_are_spelled(tmp_path, path):
    here = path.replace("{here}", str(tmp_path))
    refused(
        tmp_path,
        'path = "labelled/"',
        f'path = "{here}"',
        "pools.labelled.path",
        "pools.unlabelled",
        "a folder of its own",
    )


def test_a_pool_of_a_like_name_shares_no_files(tmp_path):
    assert (
        tiny_job(tmp_path, JOB.replace('"labelled/"', '"pool2"'))
        .pool_uri("labelled")
        .endswith("pool2")
    )


def test_a_root_inside_a_pool_is_refused_since_its_objects_would_become_shards(tmp_path):
    refused(tmp_path, 'root = "runs"', 'root = "pool/runs"', "root = ", "pools.unlabelled")


def test_pools_inside_the_root_are_fine(tmp_path):
    assert tiny_job(tmp_path, JOB.replace('"pool/"', '"{root}/pool"')).pool_uri(
        "unlabelled"
    ) == str(tmp_path / "runs/pool")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "temperature = 4",
            "temperature = 2",
            ["terms.0.loss.temperature = 2.0", "[1.0, 4.0]", "declare 2.0", "encode dense"],
        ),
        ("k = 3", "k = 5", ["labels.large.encoding.k = 5: there are 4 classes"]),
        (
            "temperatures = [1, 4]",
            "temperatures = [4]",
            ["labels.large.encoding.temperatures = [4.0]", "Add 1"],
        ),
        (
            '"topk", k = 3, temperatures = [1, 4]',
            '"value"',
            ["labels.large.encoding.kind = 'value'", "dense or topk"],
        ),
        (
            'kind = "kl", temperature = 4',
            'kind = "mse"',
            ["terms.0.loss.kind = 'mse': sees every logit, but labels.large keeps its top 3"],
        ),
        (
            'kind = "kl", temperature = 4',
            'kind = "cosine"',
            ["terms.0.loss.kind = 'cosine': learns values of a label set, but labels.large"],
        ),
        (
            'kind = "kl", temperature = 4',
            'kind = "cross_entropy", smoothing = 0.1',
            ["terms.0.loss.smoothing = 0.1: soft labels are soft"],
        ),
        (
            'kind = "kl", temperature = 4',
            'kind = "custom", file = "gone.py"',
            ["terms.0.loss.file = 'gone.py': there is no file"],
        ),
        (
            'kind = "kl", temperature = 4',
            'kind = "binary_cross_entropy"',
            ["terms.0.loss.kind = 'binary_cross_entropy'"],
        ),
        (
            '{ kind = "cross_entropy" }',
            '{ kind = "kl" }',
            ["terms.1.loss.kind = 'kl': learns label sets alone, but pools.labelled"],
        ),
        (
            '{ kind = "cross_entropy" }',
            '{ kind = "cross_entropy", temperature = 2 }',
            ["terms.1.loss.temperature = 2.0", "no temperature"],
        ),
        (
            '{ kind = "linear" }',
            '{ kind = "linear" }\n    heads = { main = { classes = ["a", "b"] } }',
            ["classes ['c', 'd'] are not among"],
        ),
        (
            '"pools.labelled"',
            '"pools.test"',
            ["students.combined", "pools.test, which it is judged on"],
        ),
        (
            '{ kind = "linear" }',
            '{ kind = "linear" }\n    on = ["test"]',
            ["students.combined.on: has pools.test, which it is judged on"],
        ),
        (
            '{ kind = "linear" }',
            '{ kind = "linear" }\n    on = ["labelled"]',
            ["students.combined.on = ['labelled']: labels.large covers"],
        ),
        (
            '"pools.labelled"',
            '"pools.unlabelled"',
            ["terms.1.learns = 'pools.unlabelled': that pool has no target"],
        ),
        (
            'on = "labelled"',
            'on = "unlabelled"',
            ["fit.large.on = 'unlabelled': that pool has no target"],
        ),
        (
            '[evaluate]\n    on = "test"',
            '[evaluate]\n    on = "unlabelled"',
            ["evaluate.on = 'unlabelled'", "has no target"],
        ),
        (
            "hidden = [16] }",
            "hidden = [16] }\n    training = { batch_rows = 100 }",
            ["fit.large.training.batch_rows = 100", "lanes = 8"],
        ),
        (
            "hidden = [16] }",
            "hidden = [16] }\n    training = { workers = 3 }",
            ["fit.large.training.workers = 3", "lanes = 8"],
        ),
        (
            "hidden = [16] }",
            "hidden = [16] }\n    training = { workers = [4, 2] }",
            ["fit.large.training.workers = [4, 2]", "the fewest come first"],
        ),
        (
            "hidden = [16] }",
            "hidden = [16] }\n    training = { workers = [1, 9] }",
            ["fit.large.training.workers = [1, 9]", "more than lanes = 8"],
        ),
        (
            'path = "test/"',
            'path = "test/"\n    keys = ["id"]',
            [
                "labels.large.over: the pools keep different keys",
                "'test': ('id',)",
                "Give them the same keys",
            ],
        ),
        (
            'path = "test/"',
            'path = "test/"\n    keys = ["row"]',
            ["keep ['row'] as keys", "Rename them in the pool"],
        ),
        ("features = {", "# {", ["pools.unlabelled.features: missing"]),
        (
            'path = "test/"\n    target = "digit"\n    classes = ["a", "b", "c", "d"]',
            'path = "test/"\n    target = "digit"\n    classes = ["a"]',
            [
                "pools.test.classes = ['a']: one exclusive class is every row's",
                "say outputs = 'independent'",
            ],
        ),
        (
            '"pools.labelled"',
            '"pools.labelled"\n    head = "main_probability"',
            [
                "students.combined.heads: heads 'main' and 'main_probability' would have columns of one name"
            ],
        ),
    ],
)
def test_what_cannot_work_is_refused_with_its_key(tmp_path, old, new, said):
    refused(tmp_path, old, new, *said)


def test_a_private_column_is_not_read_by_way_of_another_pools_features(tmp_path):
    refused(
        tmp_path,
        'path = "labelled/"',
        'path = "labelled/"\n    private = ["pixels"]',
        "pools.labelled.private = ['pixels']",
        "features",
    )


def test_topk_of_independent_outputs_is_refused(tmp_path):
    job = JOB.replace('target = "digit"', 'target = "digit"\n    outputs = "independent"')
    with pytest.raises(
        JobError, match=r"labels\.large\.encoding\.kind = 'topk': independent outputs.*Use dense"
    ):
        tiny_job(tmp_path, job)


def test_a_teacher_that_does_not_label_the_judged_pool_is_refused(tmp_path):
    job = JOB.replace('over = ["unlabelled", "test"]', 'over = ["unlabelled"]').replace(
        "[evaluate]", '[evaluate]\n    teacher = "large"'
    )
    with pytest.raises(
        JobError, match=r"evaluate\.teacher = 'large': it does not label pools\.test"
    ):
        tiny_job(tmp_path, job)


def test_a_wrong_value_that_only_a_sweep_makes_is_refused_too(tmp_path):
    sweep = '[sweep.s]\n    student = "combined"\n    "terms.0.loss.temperature" = [4, 2]\n    [evaluate]'
    refused(tmp_path, "[evaluate]", sweep, "students.combined.terms.0.loss.temperature = 2.0")


@pytest.mark.parametrize(
    ("described", "said"),
    [
        (None, ["fit.large.model.descriptions = ", "No such file"]),
        ("", ["fit.large.model.descriptions: the header must be `class,ATTRIBUTE…`"]),
        (DESCRIBED.replace("d,0,0.5\n", ""), ["no row for the classes ['d'] of pools.labelled"]),
        (DESCRIBED.replace("d,0,0.5", "d,0"), ["the same number of numbers"]),
        (DESCRIBED.replace("0.5", "half"), ["the same number of numbers"]),
        (DESCRIBED.replace("0.5", "nan"), ["the same number of numbers"]),
        ("class\na\nb\nc\nd\n", ["the same number of numbers"]),
        (DESCRIBED + "a,1,1\n", ["['a'] stand there more than once"]),
    ],
)
def test_descriptions_that_cannot_be_learned_from_are_refused(tmp_path, described, said):
    if described is not None:
        (tmp_path / "described.csv").write_text(described)
    refused(tmp_path, NETWORK, ESZSL, *said)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("feature_ridges = [0.1, 0]", ["feature_ridges.1 = 0", "greater than 0"]),
        ("attribute_ridges = [-1.0]", ["attribute_ridges.0 = -1.0", "greater than 0"]),
        ("scales = [0.0]", ["scales.0 = 0.0", "greater than 0"]),
        ("calibrations = []", ["calibrations = ", "at least 1"]),
    ],
)
def test_candidates_that_make_a_singular_matrix_or_no_choice_are_found_out_by_a_task(
    tmp_path, more, said
):
    (tmp_path / "described.csv").write_text(DESCRIBED)
    refused(tmp_path, NETWORK, ESZSL.replace(" }", f", {more} }}"), *said)


def test_descriptions_that_are_right_add_the_unseen_classes(tmp_path):
    from tests.resolved import label_outputs

    (tmp_path / "described.csv").write_text("# made by hand\n" + DESCRIBED)
    job = tiny_job(tmp_path, JOB.replace(NETWORK, ESZSL))
    assert label_outputs(job, "large").classes == ("a", "b", "c", "d", "unseen")


def test_zero_shot_from_too_few_classes_is_refused(tmp_path):
    (tmp_path / "described.csv").write_text(DESCRIBED)
    with pytest.raises(JobError, match="3 labelled classes are too few"):
        tiny_job(tmp_path, JOB.replace(NETWORK, ESZSL).replace('"c", "d"', '"c"'))


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


def test_a_teacher_fitted_on_the_judged_rows_is_refused(tmp_path):
    refused(
        tmp_path,
        'on = "labelled"',
        'on = "test"',
        "fit.large.on = 'test': students are judged on that pool",
    )


def test_a_judge_that_speaks_of_other_classes_is_refused(tmp_path):
    test = 'path = "test/"\n    target = "digit"\n    classes = ["a", "b", "c", "d"]'
    refused(
        tmp_path,
        test,
        test.replace('"a", "b", "c", "d"', '"A", "B"'),
        "shares no class with pools.test",
    )


def test_independent_answers_are_not_judged_as_exclusive_ones(tmp_path):
    test = 'path = "test/"\n    target = "digit"\n    classes = ["a", "b", "c", "d"]'
    refused(
        tmp_path,
        test,
        test + '\n    outputs = "independent"',
        "is judged on, has independent classes",
    )


def test_a_name_that_only_a_sweep_makes_wrong_is_told_and_not_a_traceback(tmp_path):
    sweep = '[sweep.wrong]\n    student = "combined"\n    "terms.0.learns" = ["labels.nosuch"]\n    [evaluate]'
    refused(tmp_path, "[evaluate]", sweep, "students.combined.terms.0.learns = 'nosuch'")


@pytest.mark.parametrize("key", ['root = "runs"', 'path = "test/"'])
def test_a_secret_in_a_uri_is_refused_before_any_message_shows_it(tmp_path, key):
    name = key.split(" ")[0]
    told = refused(tmp_path, key, f'{name} = "s3://AKIAX:SEKRET@bucket/x"', "carries credentials")
    assert "SEKRET" not in told


@pytest.mark.parametrize("classes", ['("a", "b", "a")', '{"a", "b"}', "(1, 2)"])
def test_classes_of_a_custom_labeler_are_distinct_and_in_order(tmp_path, classes):
    (tmp_path / "mine.py").write_text(
        f"class Labeler:\n    revision = '1'\n    classes = {classes}\n", "utf-8"
    )
    refused(
        tmp_path,
        '{ kind = "fitted", fit = "large" }',
        '{ kind = "custom", file = "mine.py" }',
        "distinct names in a tuple",
    )


def test_a_teacher_of_one_class_teaches_that_all_rows_are_of_it(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Labeler:\n    revision = '1'\n    classes = ('a',)\n", "utf-8"
    )
    refused(
        tmp_path,
        '{ kind = "fitted", fit = "large" }',
        '{ kind = "custom", file = "mine.py" }',
        "labels.large.labeler: says exclusive classes [a], and one exclusive class is every row's",
    )


TEXT = '{ kind = "text", column = "said" }'
IMAGE = '{ kind = "image", column = "picture", shape = [8, 6, 3] }'
VECTOR = '{ kind = "vector", columns = ["pixels"] }'


def test_a_student_or_fit_on_text_fails_only_when_it_trains(tmp_path):
    reads_none = 'pools.labelled has features of text, which only "ngram_bag" reads'
    refused(tmp_path, VECTOR, TEXT, f"fit.large.model.kind = 'mlp': {reads_none}")
    student = JOB.replace(
        '[fit.large]\n    model = { kind = "mlp", hidden = [16] }\n    on = "labelled"', ""
    )
    student = student.replace(
        '{ kind = "fitted", fit = "large" }', '{ kind = "custom", file = "mine.py" }'
    )
    mine = 'class Labeler:\n    revision = "1"\n    classes = ("a", "b", "c", "d")\n'
    (tmp_path / "mine.py").write_text(mine)
    with pytest.raises(
        JobError,
        match=r"students\.combined\.model\.kind = 'linear': pools\.unlabelled has features of text",
    ):
        tiny_job(tmp_path, student.replace(VECTOR, TEXT))
    labels_only = student.partition("[students.combined]")[0] + '[evaluate]\n    on = "test"\n'
    assert tiny_job(tmp_path, labels_only.replace(VECTOR, TEXT)).labels.keys() == {"large"}


BAG = '{ kind = "ngram_bag", buckets = 64 }'


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


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ('keys = ["id", "id"]', "names a column twice"),
        ('keys = ["email"]', "private columns ['email'] are used"),
        ('format = "orc"', "'parquet', 'arrow', 'jsonl' or 'csv'"),
    ],
)
def test_keys_or_formats_that_cannot_be_are_taken(tmp_path, new, said):
    refused(
        tmp_path, 'private = ["email"]', f'private = ["email"]\n    {new}', "pools.unlabelled", said
    )


def test_a_made_pool_of_another_format_is_refused(tmp_path):
    (tmp_path / "make.py").write_text("")
    refused(
        tmp_path,
        'private = ["email"]',
        'made_by = "make.py:f"\n    format = "csv"',
        "pools.unlabelled.format = 'csv': a pool that is made is Parquet",
    )
