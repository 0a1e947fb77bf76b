"""What goes along with a job: all that it needs, nothing secret, and not the pool."""

from __future__ import annotations

import io
import sys
import zipfile

import pytest

from distill.core.errors import JobError, MissingExtraError
from distill.engine.ray.submission import package
from distill.engine.ray.submission.package import pack_job


def write(folder, **files):
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "job.toml"


@pytest.fixture
def job(tmp_path):
    return write(
        tmp_path / "digits",
        **{
            "job.toml": "root = 's3://b/r'",
            "labeler.py": "x = 1",
            "words/classes.txt": "a",
            "random.py": "raise SystemExit",
            ".env": "hush",
            ".git/config": "hush",
            "server.key": "hush",
            "sub/id_rsa": "hush",
            "__pycache__/labeler.pyc": "x",
            "runs/old/commit.json": "x",
        },
    )


def names(packed):
    return set(zipfile.ZipFile(io.BytesIO(packed.content)).namelist())


def of_job(packed):
    return {name.removeprefix("job/") for name in names(packed) if name.startswith("job/")}


def test_secrets_or_leftovers_go_along_or_files_of_the_job_do_not(job):
    packed = pack_job(job)
    assert of_job(packed) == {"job.toml", "labeler.py", "random.py", "words/classes.txt"}
    assert (packed.job_file, packed.files) == ("job/job.toml", 4)


def test_a_file_of_the_users_stands_in_for_a_module(job):
    packed = pack_job(job)
    top = {name.partition("/")[0] for name in names(packed)}
    assert top == {"job", "distill"}
    assert {"distill/__main__.py", "distill/engine/ray/submission/environment.py"} <= names(packed)
    assert not [name for name in names(packed) if "__pycache__" in name]


def test_the_package_goes_along_where_the_image_has_it(job):
    assert {name.partition("/")[0] for name in names(pack_job(job, with_package=False))} == {"job"}


def test_the_ignore_file_does_not_say_it_in_gits_words(job):
    ignore = "# a comment\nwords/\n/labeler.py\n!server.key\n*.toml\n"
    write(job.parent, **{".distillignore": ignore, "sub/labeler.py": "y"})
    # the job file goes along, whatever ignores it
    assert of_job(pack_job(job)) == {"job.toml", "random.py", "server.key", "sub/labeler.py"}


def test_places_of_the_job_go_along(job):
    write(job.parent, **{"shared/pool/part.parquet": "x", "shared/code.py": "x"})
    packed = pack_job(job, elsewhere=[job.parent / "shared" / "pool"])
    assert {each for each in of_job(packed) if "shared" in each} == {"shared/code.py"}


def test_the_same_files_are_another_package(job, tmp_path):
    first = pack_job(job)
    (job.parent / "labeler.py").touch()
    assert pack_job(job) == first
    (job.parent / "labeler.py").write_text("x = 2")
    assert pack_job(job).uri != first.uri


def test_too_much_is_sent_or_refused_without_naming_it(job, monkeypatch):
    monkeypatch.setattr(package, "MOST_BYTES", 1_000_000)
    write(job.parent, **{"words/weights.bin": "x" * 900_000, "pool.csv": "x" * 300_000})
    with pytest.raises(JobError) as caught:
        pack_job(job)
    text = str(caught.value)
    assert "6 files of 1.2 MB would go along with the job, and 1.0 MB may" in text
    assert text.index("words/weights.bin (0.9 MB)") < text.index("pool.csv (0.3 MB)")
    assert ".distillignore" in text
    write(job.parent, **{".distillignore": "*.bin"})
    assert "pool.csv" in of_job(pack_job(job))


def test_a_missing_library_is_a_traceback(job, monkeypatch):
    monkeypatch.setitem(sys.modules, "pathspec", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distill\[cluster\]'"):
        pack_job(job)
