from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from distill.core.errors import MissingExtraError
from distill.core.results import Evaluation
from distill.core.schema import digest, unseal
from distill.core.verdict import verdict
from distill.stages.report.page import Page
from distill.stages.report.write_report import write_report
from distill.storage.open import open_storage

ALL = ("digits", "binary", "values", "hostile", "alone", "labels_alone", "study")
VOID = {"meta", "link", "br", "img", "hr", "input"}


class _Outline(HTMLParser):
    """Tags, attributes and text of a page; every tag must be closed by its own."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data if not self.open or self.open[-1] not in ("style",) else ""

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


_written: dict[str, str] = {}


@pytest.fixture
def written(tmp_path):
    """The page of an evaluation, rendered once a session."""

    def write(evaluation: Evaluation) -> str:
        key = digest(evaluation.to_plain())
        if key not in _written:
            folder = open_storage(str(tmp_path))
            assert write_report(folder, evaluation) == folder.url("report.html")
            _written[key] = folder.read("report.html").decode()
        return _written[key]

    return write


@pytest.mark.parametrize("name", ALL)
def test_page_is_not_well_formed(name, request, written):
    outline = _Outline(written(request.getfixturevalue(name)))

    assert outline.count("html") == outline.count("main") == outline.count("h1") == 1


@pytest.mark.parametrize("name", ALL)
def test_page_fetches_something_or_runs_a_script(name, request, written):
    page = written(request.getfixturevalue(name))
    outline = _Outline(page)

    assert outline.count("script") == outline.count("img") == 0
    for _, attributes in outline.tags:
        assert not [key for key in attributes if key.startswith("on")]
        for key in ("src", "href", "xlink:href"):
            assert (attributes.get(key) or "#").startswith(("#", "data:"))
    style = re.sub(r"<text.*?</text>|<pre>.*?</pre>", "", page, flags=re.S)
    assert "@import" not in style
    assert not re.search(r"url\((?!#)", style)


def test_name_becomes_markup(hostile, written):
    page = written(hostile)

    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_name_is_read_as_mathtext_or_left_out(hostile, written):
    text = _Outline(written(hostile)).text

    assert text.count("$\\frac{1}{$") >= 3  # table, bars, legend
    assert text.count("_hidden") >= 3


def test_headline_is_not_the_verdict(digits, written):
    text = _Outline(written(digits)).text
    sentence = verdict(digits).partition(". ")[0]

    assert sentence in text


@pytest.mark.parametrize("name", ALL)
def test_figure_without_a_text_alternative(name, request, written):
    outline = _Outline(written(request.getfixturevalue(name)))
    drawn = [attributes for tag, attributes in outline.tags if tag == "svg"]

    assert drawn
    assert all(each["role"] == "img" and len(each["aria-label"] or "") > 10 for each in drawn)


def test_best_of_a_column_is_not_the_best_student(digits, written):
    page = written(digits)

    # the smallest; the best on seen classes, where the teacher has 99.1; the best on all
    assert re.findall(r"<b>([^<]*)</b>", page)[:3] == ["1,562", "96.4 ± 0.4", "81.4 ± 0.4"]


def test_teacher_as_good_as_the_best_student_is_bold(digits, written):
    teacher = replace(digits.methods[0], parameters=1_562)
    page = written(replace(digits, methods=(teacher, *digits.methods[1:])))

    assert page.count("<td>1,562</td>") == page.count("<td><b>1,562</b></td>") == 1


def test_bold_where_all_are_alike(digits, written):
    page = written(digits)

    assert "<b>0.0021</b>" not in page


def test_lone_student_is_called_best_of_columns(alone, written):
    page = written(alone)

    assert "<b>" not in page
    assert "Bold" not in page


def test_rows_do_not_add_up(digits, written):
    page = written(digits)

    assert "<td>1,200,000</td><td>1,199,963</td><td>37</td><td>24</td><td>23.5 MB</td>" in page
    assert "<td>9.12 kB</td>" in page
    assert [Page.size_of(count) for count in (0, 999, 1000, 10**6, 2 * 10**15)] == [
        "0 B",
        "999 B",
        "1 kB",
        "1 MB",
        "2 PB",
    ]


def test_independent_outputs_are_said_to_have_unseen_classes(binary, written):
    page = written(binary)

    assert "nseen" not in page
    assert "independent outputs" in page


def test_value_is_judged_by_what_classes_have(values, written):
    text = _Outline(written(values)).text

    assert "MSE" in text
    assert "NLL" not in text
    assert "ECE" not in text


def test_students_are_praised_where_none_is_trained(labels_alone, written):
    assert "Best student" not in written(labels_alone)


def test_45_students_bury_the_charts(study, written):
    page = written(study)

    assert page.index("16 of 47 methods") < page.index("In pictures") < page.index("All methods")
    assert "mlp_labels_16" in page[page.index("All methods") :]


def test_job_file_is_not_told_verbatim(digits, written):
    assert digits.job_text in _Outline(written(digits)).text


def test_one_seed_is_said_to_have_a_spread(binary, written):
    page = written(binary)

    assert "one seed" in page
    assert "±" not in re.sub(r"test rows alone leave.*", "", page)


def test_same_report_is_rendered_again(digits, tmp_path, monkeypatch):
    folder = open_storage(str(tmp_path))
    write_report(folder, digits)
    before = folder.list_objects()
    monkeypatch.setattr(
        "distill.stages.report.write_report._render", lambda *_: pytest.fail("rendered again")
    )

    write_report(folder, Evaluation.from_plain(digits.to_plain()))

    assert folder.list_objects() == before


def test_report_from_before_students_were_named_is_rendered_again(tmp_path, monkeypatch):
    reports = Path(__file__).parents[2] / "fixtures" / "root_before" / "runs" / "reports"
    (file,) = reports.glob("*/*/evaluation.json")
    plain = unseal(file.read_bytes(), str(file))
    folder = open_storage(str(tmp_path))
    folder.put("report.html", f'<meta content="{digest([2, plain])}">'.encode())
    monkeypatch.setattr(
        "distill.stages.report.write_report._render", lambda *_: pytest.fail("rendered again")
    )

    write_report(folder, Evaluation.from_plain(plain))


def test_report_of_another_evaluation_is_kept(digits, tmp_path):
    folder = open_storage(str(tmp_path))
    write_report(folder, digits)

    write_report(folder, replace(digits, job="other"))

    assert b"<title>other" in folder.read("report.html")


def test_same_evaluation_gives_other_bytes(digits, written, tmp_path):
    folder = open_storage(str(tmp_path / "other"))
    write_report(folder, digits)

    assert folder.read("report.html").decode() == written(digits)


def test_finished_job_imports_matplotlib(digits, tmp_path):
    write_report(open_storage(str(tmp_path)), digits)
    (tmp_path / "evaluation.json").write_text(json.dumps(digits.to_plain()))
    code = f"""
import json, sys
from distill.stages.report.write_report import write_report
from distill.stages.report.page import Page
from distill.core.results import Evaluation
from distill.core.schema import digest
from distill.storage.open import open_storage
write_report(open_storage({str(tmp_path)!r}), Evaluation.from_plain(json.load(open({str(tmp_path / "evaluation.json")!r}))))
print([name for name in ("matplotlib", "jinja2", "torch", "ray") if name in sys.modules])
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout.strip() == "[]"


@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_missing_extra_is_told_as_an_import_error(library, digits, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(MissingExtraError, match=rf"{library}.*distill\[report\]"):
        write_report(open_storage(str(tmp_path)), digits)


def test_callers_matplotlib_settings_are_lost(alone, tmp_path):
    import matplotlib as mpl

    with mpl.rc_context({"font.size": 23.0}):
        write_report(open_storage(str(tmp_path)), alone)

        assert mpl.rcParams["font.size"] == 23.0
