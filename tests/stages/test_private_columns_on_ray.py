"""Private values on Ray: not in its logs, nor in what it spills, nor in its object store while rows
pass through it."""

from __future__ import annotations

import json

import pytest

from tests.canaries import CANARY, found_in, leaks
from tests.command import distill
from tests.stages.test_private_columns import KEY, private_rows, write_rows
from tests.summary import forget_ray_folder, ray_folder
from tests.tiny import write_job

PUBLIC = "oeffentlich"
"""Is in each text, and so in each block of rows."""
TEACHER = """
import json
import os
from glob import glob

import numpy as np

def store_content(folder):
    files = set()
    # the raylet keeps the file of its object store open, which has no name any more
    for process in glob("/proc/[0-9]*"):
        try:
            with open(process + "/cmdline", "rb") as file:
                if folder.encode() not in file.read():
                    continue
            for descriptor in glob(process + "/fd/*"):
                file_number = os.stat(descriptor).st_ino
                if "plasma" in os.readlink(descriptor) and file_number not in files:
                    files.add(file_number)
                    with open(descriptor, "rb") as file:
                        yield from written_parts(file.fileno())
        except OSError:
            continue

def written_parts(file):
    at = 0
    while True:
        try:
            start = os.lseek(file, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(file, start, os.SEEK_HOLE)
        yield os.pread(file, at - start, start)

class Labeler:
    revision = "1"
    classes = ("cat", "dog")

    def label(self, texts):
        content = b"".join(store_content(os.environ["RAY_TMPDIR"]))
        line = {"secret": SECRET in content, "public": PUBLIC in content}
        with open(os.path.join(FOLDER, "seen.jsonl"), "a") as file:
            file.write(json.dumps(line) + "\\n")
        print("teacher saw", texts[0])
        if len(open(os.path.join(FOLDER, "seen.jsonl")).readlines()) > 1:
            raise ValueError(f"cannot read {texts[0]!r}")
        return np.ones((len(texts), 2), np.float32)
"""
JOB = """
    root = "root"
    fragment_rows = 8192
    [pools.notes]
    path = "notes"
    features = { kind = "text", column = "note" }
    keys = ["person"]
    private = ["email", "photo"]
    [pools.notes.mask]
    person = { kind = "hash", key = "env:MASK_KEY" }
    note = { kind = "redact", find = ["email"], patterns = { member = "M-\\\\w+" } }
    [labels.teacher]
    labeler = { kind = "custom", file = "teacher.py" }
    over = ["notes"]
    batch_rows = 4096
    compute = { prepare_on = "cluster" }
"""


@pytest.mark.ray
@pytest.mark.slow
def test_a_private_value_is_in_rays_logs_or_in_its_object_store(tmp_path):
    write_rows(tmp_path / "notes", private_rows(16_384, more=PUBLIC * 4))
    # in two halves, so that the labeler's own text is none that is looked for
    head = f"FOLDER = {str(tmp_path)!r}\nPUBLIC = {PUBLIC.encode()!r}\n"
    head += f"SECRET = {CANARY[:3].encode()!r} + {CANARY[3:].encode()!r}\n"
    (tmp_path / "teacher.py").write_text(head + TEACHER, "utf-8")
    job = write_job(tmp_path, JOB)
    folder = ray_folder()
    # whatever is in the store is spilled at once
    spilling = {"RAY_object_spilling_threshold": "0.0001", "RAY_min_spilling_size": "0"}
    ended = distill("label", job, MASK_KEY=KEY, RAY_TMPDIR=str(folder), **spilling)
    try:
        assert ended.code == 1, ended.output
        assert "[email]" in ended.output
        assert found_in(ended.output.encode()) == []
        assert leaks([tmp_path, folder], skip=[tmp_path / "notes"]) == []
        lines = (tmp_path / "seen.jsonl").read_text("utf-8").splitlines()
        seen = [json.loads(line) for line in lines]
        assert any(line["public"] for line in seen), "the object store was not looked at"
        assert not any(line["secret"] for line in seen)
        logs = [each for each in folder.rglob("*.out") if "teacher saw" in each.read_text("utf-8")]
        assert logs, "Ray's logs were not looked at"
    finally:
        forget_ray_folder(folder)
