"""Python code in a process that cannot import some libraries, as where they are not installed.

It is forked (`tests.forkserver`), so that torch is there without the 3 CPU-seconds of its import;
what is refused is taken out of what was imported ahead. Environments in which nothing of ours lies
are tests/stages/export/test_alone.py's.
"""

from __future__ import annotations

from pathlib import Path

from tests.command import start_code
from tests.waiting import LIMIT_SECONDS

OURS = ("distill", "ray", "pyarrow", "pydantic", "xxhash")
_ALONE = """
import os, sys
folder, names, code = sys.argv[1:]
refused = names.split()
for name in [name for name in sys.modules if name.partition(".")[0] in refused]:
    del sys.modules[name]
# an import then finds none, and so does who only looks whether one is there
sys.modules.update(dict.fromkeys(refused))
os.chdir(folder)
sys.path.insert(0, folder)
exec(code, {"__name__": "__main__"})
"""


def run_alone(code: str, folder: Path, refused: tuple[str, ...] = OURS) -> str:
    """Run `code` in `folder` to its end, without the libraries `refused`. Returns what it printed."""
    process = start_code(_ALONE, folder, " ".join(refused), code)
    output, _ = process.communicate(timeout=LIMIT_SECONDS)
    assert process.returncode == 0, output
    return output
