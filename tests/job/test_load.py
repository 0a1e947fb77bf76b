"""A wrong job file is refused with its file, key, value and a way out, before any work."""

import json

import pytest

from distill.core.errors import JobError
from distill.core.source import read_source
from distill.job.job import Job
from distill.models.networks.linear import Linear
from distill.models.networks.mlp import Mlp
from distill.plan.load import load_job
from tests.job.right_job import JOB, refused
from tests.tiny import tiny_job, write_job


def test_a_right_job_loads_with_its_defaults_filled_in(tmp_path):
    job = tiny_job(tmp_path, JOB)
    assert job.name == "job"
    assert job.root_uri == str(tmp_path / "runs")
    assert job.pool_uri("unlabelled") == str(tmp_path / "pool")
    assert job.pools["test"].features == job.pools["unlabelled"].features
    assert job.students["combined"].on == ("unlabelled",), (
        "the judged pool must not be learned from"
    )
    assert job.students["combined"].seed == job.fit["large"].seed == 0
    assert job.labels["large"].encoding.temperatures == (1.0, 4.0)
    assert job.text == (tmp_path / "job.toml").read_text()


def test_another_root_replaces_the_files_own(tmp_path):
    assert tiny_job(tmp_path, JOB, root="s3://bucket/x/").root_uri == "s3://bucket/x"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "fragment_rows = 500",
            "fragment_row = 500",
            ["fragment_row: unknown key", "'fragment_rows'"],
        ),
        (
            "[pools.labelled]\n",
            "[pools.labelled]\n    privat = []\n",
            ["pools.labelled.privat: unknown key", "'private'"],
        ),
        (
            "hidden = [16]",
            "hidden = [16], droput = 0.1",
            ["fit.large.model.droput: unknown key", "'dropout'"],
        ),
        (
            "temperature = 4 }",
            "temprature = 4 }",
            ["students.combined.terms.0.loss.temprature: unknown key", "'temperature'"],
        ),
        (
            "[evaluate]\n",
            "[evaluate]\n    zzz = 1\n",
            ["evaluate.zzz: unknown key", "distill schema"],
        ),
    ],
)
def test_an_unknown_key_is_named_by_path_with_the_nearest_known(tmp_path, old, new, said):
    refused(tmp_path, old, new, *said)


def test_a_key_of_another_table_is_not_offered_as_itself(tmp_path):
    said = refused(
        tmp_path,
        "weight = 0.5",
        "weight = 0.5\n    hidden = [3]",
        "students.combined.terms.1.hidden: unknown key",
    )
    assert "Did you mean 'hidden'" not in said


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('{ kind = "kl", temperature = 4 }', '{ kind = "mse", temperature = 4 }'),
        ("weight = 0.5", "weight = 0.5\n    patienc = 3"),
        ("fragment_rows = 500", "fragment_rows = 500\n    epoch = 3"),
        ("hidden = [16]", "hidden = [16], shap = [1]"),
    ],
)
def test_a_wrong_key_is_led_into_another_table(tmp_path, old, new):
    said = refused(tmp_path, old, new, "unknown key. `distill schema` lists the known ones.")
    assert "Did you mean" not in said


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "weight = 0.5",
            "weight = 0.5\n    wieght = 3",
            "students.combined.terms.1.wieght: unknown key. Did you mean 'weight'?",
        ),
        (
            'model = { kind = "linear" }',
            'model = { kind = "linear" }\n    heads = { main = { clases = ["a"] } }',
            "students.combined.heads.main.clases: unknown key. Did you mean 'classes'?",
        ),
        (
            'model = { kind = "linear" }',
            'model = { kind = "linear" }\n    early_stop = { learns = "pools.x", patienc = 3 }',
            "students.combined.early_stop.patienc: unknown key. Did you mean 'patience'?",
        ),
        (
            'model = { kind = "linear" }',
            'model = { kind = "linear" }\n    early_stop = { learns = "pools.x", loss = { kind = "kl", temperatur = 3 } }',
            "students.combined.early_stop.loss.temperatur: unknown key. Did you mean 'temperature'?",
        ),
        (
            "[labels.large]\n",
            "[labels.large]\n    compute = { mni = 3 }\n",
            "labels.large.compute.mni: unknown key. Did you mean 'min'?",
        ),
    ],
)
def test_a_wrong_key_of_a_nested_table_has_no_hint(tmp_path, old, new, said):
    refused(tmp_path, old, new, said)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "fragment_rows = 500",
            'fragment_rows = "500"',
            ["fragment_rows = '500': must be a whole number, without quotes: write 500."],
        ),
        (
            "fragment_rows = 500",
            "fragment_rows = 63",
            ["fragment_rows = 63", "must be at least 64"],
        ),
        ("hidden = [16]", "hidden = [16, 0]", ["fit.large.model.hidden.1 = 0"]),
        ("hidden = [16]", "hidden = []", ["fit.large.model.hidden = []"]),
        ("weight = 0.5", "weight = -0.5", ["students.combined.terms.1.weight = -0.5"]),
        ("weight = 0.5", "weight = nan", ["students.combined.terms.1.weight"]),
        ("weight = 0.5", "weight = inf", ["students.combined.terms.1.weight"]),
        (
            "temperature = 4 }",
            "temperature = 0 }",
            ["students.combined.terms.0.loss.temperature = 0"],
        ),
        ('kind = "mlp"', 'kind = "mpl"', ["fit.large.model", "mlp"]),
        (
            'learns = "labels.large"',
            'learns = "large"',
            ["students.combined.terms.0.learns = 'large'", "labels.NAME"],
        ),
        ('on = "labelled"', "", ["fit.large.on: missing"]),
        ("[pools.labelled]", '[pools."my pool"]', ["pools.my pool"]),
        ('target = "digit"\n', "", ["pools.labelled", "has classes but no target"]),
        ('["a", "b", "c", "d"]', '["a", "b", "a", "d"]', ["pools.labelled", "twice: ['a']"]),
        (
            'model = { kind = "linear" }',
            'model = { kind = "linear" }\n    heads = { main = { classes = ["a", "b", "a"] } }',
            [
                "students.combined.heads.main",
                "classes must be distinct and at least one; twice: ['a']",
            ],
        ),
        ('over = ["unlabelled", "test"]', "over = []", ["labels.large.over = []"]),
        (
            "[labels.large]\n",
            "[labels.large]\n    compute = { min = 3, max = 2 }\n",
            ["labels.large.compute", "min = 3 is more than max = 2"],
        ),
        (
            'private = ["email"]',
            'private = ["pixels"]',
            ["pools.unlabelled", "private columns ['pixels']"],
        ),
    ],
)
def test_a_wrong_value_is_named_by_path_and_value(tmp_path, old, new, said):
    refused(tmp_path, old, new, *said)


def test_all_wrong_values_are_told_at_once(tmp_path):
    refused(
        tmp_path,
        "fragment_rows = 500",
        'fragment_rows = 1\n    seed = "x"',
        "fragment_rows = 1",
        "seed = 'x'",
    )
    refused(
        tmp_path,
        "fragment_rows = 500",
        "seed = 9223372036854775808",
        "seed = 9223372036854775808",
        "less than",
    )


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (
            "weight = 0.5\n",
            '[students.other]\n    model = { kind = "linear" }\n'
            '    terms = [{ learns = "labels.large", loss = { kind = "kl" }, wieght = 2 }]\n',
            "students.other.terms.0.wieght: unknown key",
        ),
        ("hidden = [16]", "hidden = [0]", "fit.large.model.hidden.0 = 0"),
    ],
)
def test_a_mistake_within_a_list_is_told_as_an_empty_list_too(tmp_path, old, new, said):
    assert len(refused(tmp_path, old, new, said).splitlines()) == 1


def test_a_missing_job_file_is_told_with_what_writes_one(tmp_path):
    with pytest.raises(JobError, match=r"none\.toml: No such file or directory.*distill init"):
        load_job(tmp_path / "none.toml")


@pytest.mark.parametrize(
    "content", [b"root = ", b"[pools\n", b"\x89PNG\r\n\x1a\n\xff", 'root = "ä"'.encode("latin-1")]
)
def test_what_is_not_toml_is_told_without_a_traceback(tmp_path, content):
    (tmp_path / "job.toml").write_bytes(content)
    with pytest.raises(JobError, match=r"job\.toml: not TOML"):
        load_job(tmp_path / "job.toml")


def test_classes_come_from_a_file_in_its_order(tmp_path):
    (tmp_path / "classes.txt").write_text("d\nc\n\nb\na\n")
    job = tiny_job(tmp_path, JOB.replace('["a", "b", "c", "d"]', '"classes.txt"', 1))
    assert job.pools["labelled"].class_names == ("d", "c", "b", "a")


def test_a_byte_order_mark_is_part_of_a_text(tmp_path):
    """Editors on Windows write it."""
    mark = "\ufeff"
    plugin = "from distill.spec.losses import Loss\n"
    (tmp_path / "classes.txt").write_text(f"{mark}d\nc\nb\na\n")
    (tmp_path / "plugin.py").write_text(mark + plugin)
    text = JOB.replace('["a", "b", "c", "d"]', '"classes.txt"', 1)
    job = tiny_job(tmp_path, f'{mark}plugins = ["plugin.py"]\n{text}')
    assert job.pools["labelled"].class_names == ("d", "c", "b", "a")
    assert not job.text.startswith(mark)
    assert read_source(tmp_path / "plugin.py", "plugins.0").text == plugin


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "No such file"),
        (b"", "0 names"),
        (b"a\nb\na\n", "3 names, 2 distinct"),
        (b"\xff\xfe", "UTF-8"),
    ],
)
def test_a_file_of_classes_that_is_wrong_is_named_with_its_key(tmp_path, content, said):
    if content is not None:
        (tmp_path / "classes.txt").write_bytes(content)
    refused(
        tmp_path,
        '["a", "b", "c", "d"]',
        '"classes.txt"',
        "pools.labelled.classes = ",
        "classes.txt",
        said,
    )


def test_a_job_cannot_be_changed_after_it_was_checked(tmp_path):
    job = tiny_job(tmp_path, JOB)
    with pytest.raises(ValueError, match="frozen"):
        job.seed = 3


def test_the_json_schema_of_a_job_says_every_table_and_what_it_means():
    schema = json.loads(json.dumps(Job.model_json_schema()))
    assert schema["additionalProperties"] is False
    assert set(schema["properties"]) == {
        "audit",
        "root",
        "gate",
        "plugins",
        "seed",
        "fragment_rows",
        "storage",
        "pools",
        "fit",
        "structure",
        "select",
        "labels",
        "students",
        "sweep",
        "evaluate",
        "apply",
        "cascade",
        "review",
        "prices",
        "budget",
    }
    assert set(schema["required"]) == {"root", "pools"}
    assert schema["$defs"]["Term"]["properties"]["weight"]["description"] == "λ is one of these."
    assert schema["$defs"]["TopK"]["properties"]["kind"]["const"] == "topk"


DESIGN = """
    root = "s3://bucket/digits"
    [pools.unlabelled]
    path = "s3://bucket/pool/"
    features = { kind = "vector", columns = ["pixels"] }
    private = ["email"]                                     # never leaves the reader
    [pools.labelled]
    path = "labelled/"
    target = "digit"
    classes = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]
    [pools.test]
    path = "test/"
    [fit.large]
    model = { kind = "cnn", shape = [1, 8, 8] }
    on = "labelled"
    [fit.zero_shot]
    model = { kind = "eszsl", descriptions = "digits.csv" }
    on = "labelled"
    [labels.large]
    labeler = { kind = "fitted", fit = "large" }
    over = ["unlabelled", "test"]
    encoding = { kind = "topk", k = 8, temperatures = [1, 4] }
    compute = { gpus = "auto", min = 1, max = 64 }
    [labels.zero_shot]
    labeler = { kind = "fitted", fit = "zero_shot" }
    over = ["unlabelled", "test"]
    [students.combined]
    model = { kind = "mlp", hidden = [16] }
    [[students.combined.terms]]
    learns = "labels.large"
    loss = { kind = "kl", temperature = 4 }
    [[students.combined.terms]]
    learns = "labels.zero_shot"
    loss = { kind = "cross_entropy" }
    weight = 0.5                                            # λ
    [sweep.lambda]
    student = "combined"
    "terms.1.weight" = [0.0, 0.3, 1.0]
"""


def test_the_example_of_the_design_loads(tmp_path):
    (tmp_path / "digits.csv").write_text(
        "class,loops,lines\n" + "".join(f"{digit},{digit % 3},{digit % 4}\n" for digit in range(10))
    )
    job = load_job(write_job(tmp_path, DESIGN))
    assert job.pool_uri("unlabelled") == "s3://bucket/pool"
    assert job.pool_uri("labelled") == str(tmp_path / "labelled")
    assert [variant.name for variant in job.variants] == [
        f"combined[terms.1.weight={weight}]" for weight in (0.0, 0.3, 1.0)
    ]
    assert isinstance(job.variants[0].spec.model, Mlp)
    assert not isinstance(job.fit["large"].model, Linear)
