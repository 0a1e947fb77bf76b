"""Files that a job names are run from beside it, and shown in tracebacks as the user wrote them."""

import os
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.core.errors import JobError
from distill.core.source import PythonFile, read_source

CODE = "def fail():\n    return 1 / 0  # the user's own line\n"


def test_a_traceback_shows_the_users_own_line_although_the_file_is_not_there(tmp_path):
    with pytest.raises(ZeroDivisionError) as told:
        PythonFile(str(tmp_path / "on_the_driver_only.py"), CODE).load("fail")()
    assert "the user's own line" in "".join(traceback.format_exception(told.value))


def test_a_users_file_does_not_take_the_name_of_an_importable_module(tmp_path):
    PythonFile(str(tmp_path / "json.py"), CODE).load("fail")
    assert not hasattr(sys.modules.get("json"), "fail")


def test_a_name_that_the_file_lacks_is_told_with_those_it_has(tmp_path):
    with pytest.raises(
        JobError, match=r"labels\.x\.labeler: .*code\.py has no 'Labeler'; it has \['fail'\]"
    ):
        PythonFile(str(tmp_path / "code.py"), CODE).load("Labeler", "labels.x.labeler")


@pytest.mark.parametrize(
    "code", ["def broken(:\n", "import a_library_that_is_not_there\n", "raise ValueError('mine')\n"]
)
def test_a_file_that_cannot_be_loaded_is_told_with_its_key_and_line(tmp_path, code):
    with pytest.raises(
        JobError, match=r"labels\.x\.labeler: .*code\.py raises when it is loaded"
    ) as told:
        PythonFile(str(tmp_path / "code.py"), code).load("Labeler", "labels.x.labeler")
    assert code.strip() in str(told.value)


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), (b"\xff\xfe", "UTF-8")])
def test_a_file_that_cannot_be_read_is_told_with_its_key(tmp_path, content, said):
    if content is not None:
        (tmp_path / "code.py").write_bytes(content)
    with pytest.raises(JobError, match=rf"labels\.x\.labeler\.file = .*code\.py.*{said}"):
        read_source(tmp_path / "code.py", "labels.x.labeler.file")


@pytest.mark.parametrize("code", ["import os\nos._exit(3)", "from os import _exit\n_exit(0)"])
@pytest.mark.parametrize("beside", [False, True])
def test_a_file_that_ends_the_process_is_not_told(tmp_path, code, beside):
    (tmp_path / "mine.py").write_text("import helper" if beside else code)
    (tmp_path / "helper.py").write_text(code)
    leave = os._exit
    with pytest.raises(JobError, match=r"labels\.x: .*mine\.py ends the process.*_exit") as told:
        read_source(tmp_path / "mine.py", "labels.x").run("labels.x")
    assert code.splitlines()[1] in str(told.value)
    assert os._exit is leave


def test_a_process_that_a_file_forks_goes_on_as_the_command(tmp_path):
    code = "import os\npid = os.fork()\nif not pid: os._exit(7)\nstatus = os.waitpid(pid, 0)[1]"
    assert PythonFile(str(tmp_path / "forks.py"), code).load("status") >> 8 == 7


def test_a_second_thread_finds_a_file_half_run():
    file = PythonFile("slow.py", "import time\ntime.sleep(0.2)\nclass Late:\n    pass\n")
    leave = os._exit
    with ThreadPoolExecutor(8) as threads:
        found = {threads.submit(file.load, "Late") for _ in range(8)}
    assert len({each.result() for each in found}) == 1
    assert os._exit is leave
