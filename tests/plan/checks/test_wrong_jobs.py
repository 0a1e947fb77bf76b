"""Slips of the hand: each is refused as the job is read, with its key, its value and what to write,
and in no words of the library that validates."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from distill.core.errors import JobError, PoolError, RejectedError
from distill.run import label_pool, prepare_inputs, train_students
from tests.job.right_job import JOB, refused
from tests.tiny import DOUBLING, tiny_job

LIBRARY = ("input", "discriminator", "validation", "valid array", "tag", "pydantic", "should")
MODEL = 'model = { kind = "linear" }'
FEATURES = '{ kind = "vector", columns = ["pixels"] }'
LABELER = '{ kind = "fitted", fit = "large" }'
OVER = 'over = ["unlabelled", "test"]'
LOSS = '{ kind = "kl", temperature = 4 }'
ROOT = 'root = "runs"'
TEST_PATH = 'path = "test/"'
MARK = "must be one ASCII character that is no letter, digit or line break"
ENCODING = "k = 3, temperatures = [1, 4]"
TRAINING = MODEL + "\n    training = "
SWEEP = '[sweep.s]\n    student = "combined"\n    {}\n    [evaluate]'
KINDS_OF_FEATURES = 'a table { kind = "…", … } whose kind is one of "vector", "image", "text".'


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (FEATURES, '"pixels"', f"features = 'pixels': must be {KINDS_OF_FEATURES}"),
        (FEATURES, '{ columns = ["pixels"] }', f"must be {KINDS_OF_FEATURES}"),
        (FEATURES, '{ kind = "vectr", columns = [] }', 'must be a table { kind = "vector", … }'),
        (FEATURES, '{ kind = "vector" }', "columns: missing; it must be given (Columns in"),
        (FEATURES, '{ kind = "vector", columns = "x" }', 'must be a list: write ["x"].'),
        (FEATURES, '{ kind = "image", column = "x", shape = [8, 8] }', "item 2 is missing (Height"),
        (FEATURES, '{ kind = "vector", columns = ["x"], scale = 0 }', "makes all numbers 0"),
        (OVER, "over = []", "must be a list of at least 1 item (Pools to label)."),
        (OVER, 'over = "test"', "labels.large.over = 'test': must be a list: write [\"test\"]."),
        (OVER, 'over = ["test", "test"]', "names ['test'] twice; name each once"),
        (MODEL, MODEL + '\n    on = ["test", "test"]', "names ['test'] twice; name each once"),
        (LOSS, '"kl"', 'must be a table { kind = "kl", … }'),
        (LOSS, "{ temperature = 4 }", "whose kind is one of"),
        (LOSS, '{ kind = "KL" }', 'whose kind is one of "kl", "reverse_kl"'),
        (LOSS, '{ kind = "kl", temperature = 0 }', "temperature = 0: must be at least 0.001."),
        (LOSS, '{ kind = "kl", temperature = 1e200 }', "must be at most 10,000."),
        (LOSS, '{ kind = "kl", temperature = "4" }', "must be a number, without quotes: write 4."),
        (LOSS, '{ kind = "kl", temperature = nan }', "must be a finite number."),
        (ENCODING, "k = 3, temperatures = [1, 4e9]", "temperatures.1 = 4000000000.0: must be at"),
        (ENCODING, "k = 3, temperatures = []", "must be a list of at least 1 item"),
        (ROOT, 'root = ""', "root = '': must be text that is not empty (Folder"),
        (ROOT, 'root = "  "', "root = '  ': must be text that is not empty"),
        (TEST_PATH, TEST_PATH + '\n    csv.delimiter = "||"', f"delimiter = '||': {MARK}."),
        (TEST_PATH, TEST_PATH + '\n    csv.escape = "a"', f"escape = 'a': {MARK}."),
        (TEST_PATH, TEST_PATH + '\n    csv.quote = "ab"', f"quote = 'ab': {MARK} or ''."),
        (ROOT, "root = 3", "root = 3: must be text in quotes."),
        (ROOT, 'root = "$HOME/runs"', "/$HOME/runs' names a variable, which nobody replaces here."),
        (ROOT, 'root = "${SCRATCH}"', "names a variable, which nobody replaces here. Write the"),
        (ROOT, 'root = "s3:/bucket/runs"', ", as s3://…"),
        (ROOT, 'root = "job.toml"', "/job.toml': is a file. Name a folder, which need not be"),
        (ROOT, ROOT + "\n    seed = 99999999999999999999", "must be less than 9.22337e+18."),
        (TEST_PATH, 'path = "test/*.parquet"', "is a pattern, and a path is due. Name the folder"),
        (TEST_PATH, 'path = "x/../pool"', "its files lie in pools.unlabelled too"),
        (TEST_PATH, 'path = "ftp://a.org/b.csv"', "has the scheme 'ftp'; distill reads and"),
        ('target = "digit"', 'target = "pixels"', "'pixels': is among its features, so a model"),
        (
            FEATURES,
            '{ kind = "vector", columns = ["x", "x"] }',
            "names ['x'] twice; name each once",
        ),
        ('on = "test"', 'on = "unlabelled"', "that pool has no target to judge by. Name its"),
        (OVER, 'over = ["unlabelled", "tset"]', "'tset': there is no such pool. There is: unlab"),
        ('learns = "labels.large"', 'learns = "large"', "is neither 'labels.NAME' nor 'pools.NAME"),
        ('path = "test/"', 'path = ""', "pools.test.path = '': must be text that is not empty"),
        (ROOT, ROOT + "\n    seed = 1.5", "seed = 1.5: must be a whole number."),
        (ROOT, ROOT + "\n    plugins = true", "plugins = true: must be a list"),
        ("[16]", "16", "fit.large.model.hidden = 16: must be a list: write [16]."),
        ("[16]", "[1000000000000]", "hidden.0 = 1000000000000: must be less than 2,147,483,648."),
        ("[16]", "[1000000, 1000000]", "fit.large.model: hidden = [1000000, 1000000] make"),
        ("[16]", '["16"]', "hidden.0 = '16': must be a whole number, without quotes: write 16."),
        (MODEL, 'model = "linear"', 'must be a table { kind = "linear", … }'),
        (MODEL, TRAINING + "{ epochs = 0 }", "epochs = 0: must be at least 1."),
        (MODEL, TRAINING + "{ epochs = 1000000000 }", "must be at most 10,000,000."),
        (MODEL, TRAINING + "{ batch_rows = 1000000000 }", "must be at most 16,777,216."),
        (MODEL, TRAINING + "{ epochs = true }", "epochs = true: must be a whole number."),
        (MODEL, TRAINING + "{ gpus = -1 }", "gpus = -1: must be 'auto' or at least 0."),
        (MODEL, TRAINING + '{ workers = "2" }', "must be a whole number or a list."),
        (MODEL, TRAINING + "{ learning_rate = 1e200 }", "must be at most 3.4e+38."),
        (MODEL, TRAINING + '{ compile = "yes" }', "must be true or false."),
        (MODEL, TRAINING + "3", "students.combined.training = 3: must be a table."),
        ("[students.combined]", "[[students.combined]]", "must be one table ([[ ]] begins a list"),
        ("[pools.test]", '[pools."my test"]', "is no name. A name begins with a letter"),
        ("weight = 0.5", "weight = -1", "weight = -1: must be at least 0."),
        ("weight = 0.5", "weight = 1e300", "must be at most 1,000,000,000."),
        (LABELER, '"large"', "whose kind is one of"),
        (LABELER, '{ kind = "custom", file = "" }', "file = '': must be text that is not empty"),
        ("[evaluate]", SWEEP.format('"terms.0.loss.temperature" = [1e200]'), "must be at most"),
        ("[evaluate]", SWEEP.format('"training.lr" = [0.1]'), "Did you mean 'learning_rate'?"),
        ("[evaluate]", SWEEP.format('"terms.0.loss" = ["kl"]'), 'a table { kind = "kl", … }'),
    ],
)
def test_a_slip_is_taken_or_told_in_a_librarys_words(tmp_path, old, new, said):
    text = refused(tmp_path, old, new, said).replace(str(tmp_path), "")
    assert not [word for word in LIBRARY if word in text.lower()]


@pytest.mark.parametrize(
    ("table", "key", "meant"),
    [
        (TRAINING + "{ %s = 1 }", "lr", "learning_rate"),
        (TRAINING + "{ %s = 1 }", "batch_size", "batch_rows"),
        (TRAINING + "{ %s = 1 }", "num_epochs", "epochs"),
        (TRAINING + "{ %s = 1 }", "max_grad_norm", "clip_norm"),
        (TRAINING + "{ %s = 1 }", "wd", "weight_decay"),
        (TRAINING + "{ %s = 1 }", "num_workers", "workers"),
        (TRAINING + "{ %s = 1 }", "fp16", "precision"),
        (MODEL + "\n    %s = 1", "lr", "training.learning_rate"),
        (MODEL + "\n    %s = 1", "losses", "terms"),
        (MODEL + "\n    %s = 1", "early_stopping", "early_stop"),
    ],
)
def test_a_key_of_another_trainer_is_not_known(tmp_path, table, key, meant):
    refused(tmp_path, MODEL, table % key, f"{key}: unknown key. Did you mean {meant!r}?")


@pytest.mark.parametrize(
    ("old", "new", "meant"),
    [
        (LOSS, '{ kind = "kl", T = 4 }', "'temperature'?"),
        (LOSS, '{ kind = "kl", alpha = 0.5 }', "'weight', in the table that has this one?"),
        ("weight = 0.5", "alpha = 0.5", "'weight'?"),
        ("weight = 0.5", "temperature = 4", "'loss.temperature'?"),
        ("[16]", "[16], dropout_rate = 0.1", "'dropout'?"),
        (OVER, 'datasets = ["test"]', "'over'?"),
        (ROOT, 'output_dir = "runs"', "'root'?"),
        ('target = "digit"', 'label_column = "digit"', "'target'?"),
    ],
)
def test_another_name_of_a_key_is_not_known(tmp_path, old, new, meant):
    refused(tmp_path, old, new, f"unknown key. Did you mean {meant}")


@pytest.mark.parametrize("weights", [("0", "0"), ("0.0", "0")])
def test_a_student_that_learns_nothing_is_trained(tmp_path, weights):
    first = f"loss = {LOSS}\n    weight = {weights[0]}"
    job = JOB.replace(f"loss = {LOSS}", first).replace("weight = 0.5", f"weight = {weights[1]}")
    with pytest.raises(JobError, match=r"students\.combined: terms\.0\.weight, terms\.1\.weight"):
        tiny_job(tmp_path, job)


def test_a_term_that_ramps_down_to_0_counts_as_nothing(tmp_path):
    down = "weight = 0\n    ramp = { begin = 1.0 }"
    job = JOB.replace(f"loss = {LOSS}", f"loss = {LOSS}\n    weight = 0")
    assert tiny_job(tmp_path, job.replace("weight = 0.5", down)).students["combined"]


OWN = JOB.replace(LABELER, '{ kind = "custom", file = "own.py" }').replace(
    'encoding = { kind = "topk", k = 3, temperatures = [1, 4] }', ""
)
LABEL = "def label(self, features):"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (LABEL, "def predict(self, features):", ["no method `label", "it has ['predict']"]),
        (LABEL, "label = None\n    def ask(self, features):", ["no method `label", "['ask']"]),
        (LABEL, "async def label(self, features):", ["`label` is `async`"]),
        (LABEL, "def label(self):", ["`label` is called with one batch", "def label(self, f"]),
        (LABEL, "def label(self, features, more):", ["missing a required argument: 'more'"]),
        (LABEL, "def __init__(self, path): ...\n    " + LABEL, ["Labeler()", "'path'"]),
        (LABEL, "def prepare(self): ...\n    " + LABEL, ["`prepare` is called with one batch"]),
        ("class Labeler:", "import sys; sys.exit()\nclass Labeler:", ["own.py", "sys.exit"]),
        (
            "class Labeler:",
            "import abc\nclass Labeler(abc.ABC):\n    @abc.abstractmethod\n    def a(self): ...",
            ["is abstract: it lacks ['a']"],
        ),
        ("class Labeler:", "def Labeler(): ...\nclass Other:", ["Labeler in own.py is no class"]),
        ("class Labeler:", "Labeler = 3\nclass Other:", ["Labeler in own.py is no class"]),
        ('revision = "1"', "def revision(self): return 1", ["must have a `revision` (text)"]),
        ('revision = "1"', "revision = property(str)", ["must have a `revision` (text)"]),
        ('("a", "b", "c", "d")', 'np.array(["a", "b"])', ["(distinct names in a tuple)", "array"]),
        ('("a", "b", "c", "d")', '{"a", "b"}', ["(distinct names in a tuple)"]),
        ('("a", "b", "c", "d")', '"abcd"', ["(distinct names in a tuple)", "classes='abcd'"]),
        ('("a", "b", "c", "d")', "(0, 1, 2, 3)", ["(distinct names in a tuple)"]),
        ("class Labeler:", "import os; os._exit(0)\nclass Labeler:", ["own.py", "os._exit"]),
        ("class Labeler:", "exit(0)\nclass Labeler:", ["own.py", "line 3"]),
    ],
)
def test_a_class_that_cannot_be_asked_is_found_out_by_a_fragment(tmp_path, old, new, said):
    text = DOUBLING.replace('"a", "b", "c"', '"a", "b", "c", "d"')
    assert old in text
    text = f"import numpy as np\n{text.replace(old, new)}"
    (tmp_path / "own.py").write_text(text, "utf-8")
    with pytest.raises(JobError) as told:
        tiny_job(tmp_path, OWN)
    for part in ("job.toml: labels.large.labeler", *said):
        assert part in str(told.value)


@pytest.mark.parametrize(
    "new",
    [
        "def label(self, features, more=1):",
        "def __init__(self, path='x'): ...\n    " + LABEL,
        "def label(self, *rest):",
    ],
)
def test_a_class_that_can_be_asked_is_refused(tmp_path, new):
    text = DOUBLING.replace('"a", "b", "c"', '"a", "b", "c", "d"')
    (tmp_path / "own.py").write_text(text.replace(LABEL, new), "utf-8")
    assert tiny_job(tmp_path, OWN).labels["large"]


def test_a_pool_that_is_a_link_to_another_is_judged_on(tmp_path):
    (tmp_path / "pool").mkdir()
    (tmp_path / "test").symlink_to("pool")
    with pytest.raises(
        JobError, match=r"pools\.test\.path = .*its files lie in pools\.unlabelled too"
    ):
        tiny_job(tmp_path, JOB)


LOOKED_AT = """
    root = "runs"
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["x", "z"] }
    target = "y"
    classes = ["a", "b"]
    [fit.large]
    model = { kind = "linear" }
    on = "rows"
"""
RIGHT_CSV = "x,z,y\n1,2,a\n3,4,b\n"
RIGHT_JSON = '{"x": 1, "z": 2, "y": "a"}'


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", RIGHT_CSV, None),
        ("a.csv", RIGHT_CSV.replace("\n", "\r"), None),
        ("a.csv", RIGHT_CSV.replace("\n", ",\n"), None),
        ("a.csv", "\ufeff" + RIGHT_CSV, None),
        ("a.csv", RIGHT_CSV.replace(",", ", "), "no column 'z'. It has: x,  z,  y."),
        ("a.csv", RIGHT_CSV.replace(",", ";"), 'Say csv = { delimiter = ";" } for the pool'),
        ("a.csv", "x,z,x\n1,2,3\n", "2 columns 'x'. It has: x, z, x. Correct the job"),
        ("a.csv", "# made today\n" + RIGHT_CSV, "no column 'x'. It has: # made today."),
        ("a.csv", "x,z,y\n", "hold no rows. Put rows there"),
        ("a.csv", 'x,z,y\n"1,5","2,5",a\n', "such as '1,5'. Write numbers with a decimal point."),
        ("a.csv", "x,z,y\n5%,3%,a\n", "such as '5%'. Use `text` features, or another column."),
        ("a.csv", "x,z,y\n1,2,A\n", "none of its 1 rows has a target"),
        ("a.csv", "x,z,y\n1,2,a \n", "'a ' 1. Correct pools.rows.classes."),
        ("a.csv", "PAR1\0\0", "is no text, but binary or packed in a way"),
        ("a.parquet", RIGHT_CSV, "a.parquet: is no readable Parquet file"),
        ("a.parquet", "", "Parquet file size is 0 bytes"),
        ("a.zip", "PK", "the ending of 'a.zip' tells no format"),
        ("a.jsonl", RIGHT_JSON, None),
        ("a.jsonl", RIGHT_JSON * 2, "`jq -c . FILE` writes each on one."),
        ("a.json", f'{{"data": [{RIGHT_JSON}]}}', "no column 'x'. It has: data. Correct the job"),
        (
            "a.json",
            '{"x": [1, 2], "z": [3, 4], "y": ["a", "b"]}',
            "column 'x': a column of type list",
        ),
        ("a.jsonl", '{"f": {"x": 1}}', "no column 'x'. It has: f."),
    ],
)
def test_a_wrong_file_is_found_later_than_when_it_is_listed(tmp_path, name, content, said):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / name).write_text(content, "utf-8")
    job = tiny_job(tmp_path, LOOKED_AT)
    if said is None:
        prepare_inputs(job, engine="local")
        return
    with pytest.raises(PoolError) as told:
        prepare_inputs(job, engine="local")
    assert f"{tmp_path}/job.toml: pools.rows" in str(told.value)
    assert said in str(told.value)


def test_too_many_rejected_rows_are_told_without_one_of_them(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("x,z,y\n1,2,a\n1,2,a,\n")
    (tmp_path / "own.py").write_text(DOUBLING.replace('"a", "b", "c"', '"a", "b"'))
    own = '[labels.large]\n    labeler = { kind = "custom", file = "own.py" }\n    over = ["rows"]'
    job = tiny_job(tmp_path, LOOKED_AT.partition("[fit")[0] + own)
    with pytest.raises(RejectedError) as told:
        label_pool(job, "large", engine="local")
    assert "allows, such as a.csv, row 1 (undecodable): the row has 4 cells" in str(told.value)


POLLUTING = """
import numpy as np, torch, warnings
torch.set_default_dtype(torch.float64)
np.seterr(all="raise")
class Labeler:
    revision = "1"
    classes = ("a", "b")
    def label(self, features):
        torch.set_default_dtype(torch.float64)
        return np.asarray(features, np.float32)
"""


def test_what_a_labeler_sets_for_its_process_breaks_the_training(tmp_path):
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").write_text("x,z,y\n" + "1,2,a\n3,1,b\n" * 20)
    (tmp_path / "own.py").write_text(POLLUTING)
    text = (
        LOOKED_AT.partition("[fit")[0]
        + """
    [labels.large]
    labeler = { kind = "custom", file = "own.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "linear" }
    training = { epochs = 1 }
    [[students.small.terms]]
    learns = "labels.large"
    loss = { kind = "kl", temperature = 2 }
    """
    )
    before = np.geterr(), torch.get_default_dtype()
    try:
        job = tiny_job(tmp_path, text)
        label_pool(job, "large", engine="local")
        (trained,) = train_students(job, engine="local")
    finally:
        np.seterr(**before[0])
        torch.set_default_dtype(before[1])
    assert trained.now
