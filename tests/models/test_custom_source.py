"""Networks of the user's own and widths of heads in a job: what is wrong with them is found before
any work."""

from __future__ import annotations

import pytest

from distill.core.errors import JobError
from tests.job.right_job import JOB
from tests.resolved import fit_code, student_code
from tests.tiny import tiny_job

OWN = '{ kind = "custom", file = "mine.py" }'
LINEAR = '{ kind = "linear" }'
CLASS = 'class Trunk:\n    revision = "1"\n'
TEXT = '{ kind = "text", column = "said" }'
VECTOR = '{ kind = "vector", columns = ["pixels"] }'


def own(folder, text=CLASS, job=JOB, model=OWN):
    if text is not None:
        (folder / "mine.py").write_text(text, "utf-8")
    return tiny_job(folder, job.replace(LINEAR, model))


def test_the_source_of_a_fits_or_a_students_network_is_not_the_file_beside_the_job(tmp_path):
    job = own(tmp_path, job=JOB.replace('{ kind = "mlp", hidden = [16] }', OWN))
    assert fit_code(job, "large")["model"].text == CLASS
    heads = f"{LINEAR}\n    heads = {{ main = {{ model = {OWN} }} }}"
    job = tiny_job(tmp_path, JOB.replace(LINEAR, heads))
    assert student_code(job, job.students["combined"], "students.combined").keys() == {
        "heads.main.model"
    }
    assert fit_code(job, "large") == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "students.combined.model.file = "),
        ("class Other: pass\n", "students.combined.model: "),
        ("class Trunk: pass\n", 'must be a class with a `revision` (text, such as "1")'),
        ("class Trunk:\n    revision = 1\n", "it is a type with revision=1"),
        ("def Trunk(): pass\n", "it is a function with revision=None"),
        ("raise ValueError('mine')\n", "mine.py raises when it is loaded"),
    ],
)
def test_a_class_that_is_not_there_or_does_not_say_its_revision_fails_when_it_trains(
    tmp_path, text, said
):
    with pytest.raises(JobError) as told:
        own(tmp_path, text)
    assert said in str(told.value)
    assert str(tmp_path / "job.toml") in str(told.value)


def test_a_network_of_ones_own_reads_text_only_where_it_says_so(tmp_path):
    bag = '{ kind = "ngram_bag", buckets = 64, ngrams = 1, most = 8 }'
    text = JOB.replace(VECTOR, TEXT).replace('{ kind = "mlp", hidden = [16] }', bag)
    with pytest.raises(
        JobError,
        match=r"students\.combined\.model\.kind = 'custom': pools\.unlabelled has features of text",
    ):
        own(tmp_path, job=text)
    hashed = OWN.replace(" }", ", text = { buckets = 64, ngrams = 1, most = 8 } }")
    assert own(tmp_path, job=text, model=hashed).students["combined"].model.text.most == 8
    with pytest.raises(
        JobError, match=r"students\.combined\.model\.text: reads text, but pools\.unlabelled"
    ):
        own(tmp_path, model=hashed)
    heads = f"{hashed}\n    heads = {{ main = {{ model = {bag.replace('64', '32')} }} }}"
    with pytest.raises(
        JobError, match=r"heads\.main\.model\.kind = 'ngram_bag': does not see rows as"
    ):
        own(tmp_path, job=text, model=heads)


def test_options_are_swept_or_refused_as_unknown_keys(tmp_path):
    job = JOB + '    [sweep.size]\n    student = "combined"\n    "model.options.hidden" = [4, 8]\n'
    made = own(
        tmp_path, job=job, model=OWN.replace(" }", ", options = { hidden = 2, names = ['a'] } }")
    )
    assert [each.spec.model.options for each in made.variants] == [
        {"hidden": size, "names": ["a"]} for size in (4, 8)
    ]


def test_an_option_that_no_record_can_keep_fails_when_it_is_trained(tmp_path):
    with pytest.raises(
        JobError, match=r"students\.combined\.model\.options = .*: has a number that is not finite"
    ):
        own(tmp_path, model=OWN.replace(" }", ", options = { scale = [1.0, inf] } }"))


def test_a_width_on_a_head_of_classes_is_ignored(tmp_path):
    with pytest.raises(
        JobError,
        match=r"students\.combined\.heads\.main\.width = 5: its terms teach exclusive classes \[a",
    ):
        tiny_job(
            tmp_path, JOB.replace(LINEAR, f"{LINEAR}\n    heads = {{ main = {{ width = 5 }} }}")
        )
    with pytest.raises(JobError, match=r"heads\.main = .*: has classes and a width"):
        tiny_job(
            tmp_path,
            JOB.replace(
                LINEAR, f'{LINEAR}\n    heads = {{ main = {{ width = 5, classes = ["a"] }} }}'
            ),
        )


def test_a_students_code_is_missed_only_when_it_labels(tmp_path):
    student = '{ kind = "student", model = "s", classes = ["a", "b", "c", "d"], file = "none.py" }'
    with pytest.raises(
        JobError, match=r"labels\.large\.labeler\.file = 'none\.py': there is no file"
    ):
        tiny_job(tmp_path, JOB.replace('{ kind = "fitted", fit = "large" }', student))


HINT = """
    [labels.hints]
    labeler = { kind = "custom", file = "hints.py" }
    over = ["unlabelled"]
"""
HINT_TERM = """
    [[students.combined.terms]]
    learns = "labels.hints"
    loss = { kind = "mse" }
    head = "hint"
"""


def test_a_hint_is_judged_against_classes(tmp_path):
    hints = 'class Labeler:\n    revision = "1"\n    kind = "value"\n    width = 8\n'
    hints += "    def label(self, features): ...\n"
    (tmp_path / "hints.py").write_text(hints, "utf-8")
    text = JOB.replace("[evaluate]", HINT_TERM + "    [evaluate]") + HINT
    with pytest.raises(
        JobError, match=r"heads\.hint: answers with a value, but pools\.test, which it is judged on"
    ):
        tiny_job(tmp_path, text)
    heads = f"{LINEAR}\n    heads = {{ hint = {{ width = 5 }} }}"
    assert tiny_job(tmp_path, text.replace(LINEAR, heads)).students["combined"].judged_heads == (
        "main",
    )
    alone = (
        text.partition("    [[students.combined.terms]]")[0]
        + HINT_TERM
        + '    [evaluate]\n    on = "test"\n'
        + HINT
    )
    alone = alone.replace('over = ["unlabelled", "test"]', 'over = ["unlabelled"]')
    with pytest.raises(JobError, match=r"evaluate\.on = 'test': no label set covers it, and hints"):
        tiny_job(tmp_path, alone.replace(LINEAR, heads))
