"""Tables that contradict each other are refused with key, value and remedy, before any work."""

import pytest

from tests.job.right_job import refused


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
            "hidden = [16] }\n    training = { batch_rows = 9, lanes = 3 }",
            ["fit.large.training.lanes = 3", "workers is left out, 2 on Ray. Say workers = 1."],
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
