"""A loss and a network from outside the package, one file each, in a job that uses both."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from distill.core.errors import ContractError, JobError
from distill.core.plugins import loaded_plugins
from distill.labelers.network import load_network
from distill.models.record import NetworkPlan, read_record
from distill.spec.losses import LossRows
from distill.storage.open import open_storage
from tests.making import label_by_worker
from tests.resolved import check_networks_build, plan_student
from tests.tiny import DOUBLING, tiny_job, write_pool

PLUGINS = Path(__file__).parents[1] / "fixtures" / "plugins"
BOTH = [str(PLUGINS / "huber_loss.py"), str(PLUGINS / "gelu_network.py")]
JOB = """
    root = "root"
    plugins = PLUGINS
    [pools.rows]
    path = "rows"
    features = { kind = "vector", columns = ["pixels"] }
    target = "kind"
    classes = ["a", "b", "c"]
    [labels.teacher]
    labeler = { kind = "custom", file = "mine.py" }
    over = ["rows"]
    [students.small]
    model = { kind = "gelu", hidden = 6 }
    training = { epochs = 5, batch_rows = 64, lanes = 4, learning_rate = 0.01 }
    [[students.small.terms]]
    learns = "labels.teacher"
    loss = { kind = "huber", delta = 0.5 }
"""


def job(folder, plugins=BOTH, old="", new=""):
    text = JOB.replace("PLUGINS", str(list(plugins)))
    return tiny_job(folder, text.replace(old, new, 1) if old else text)


@pytest.fixture
def folder(tmp_path):
    write_pool(tmp_path / "rows", [150])
    (tmp_path / "mine.py").write_text(DOUBLING, "utf-8")
    return tmp_path


TRAIN = """
import pickle, sys
from distill.core.plugins import load_plugins
from distill.engine.protocol import WorkerContext
files, plan = pickle.load(sys.stdin.buffer)
load_plugins(files)
from distill.stages.train.loop import run_trainings
run_trainings([pickle.loads(plan)], WorkerContext(0, 1, "cpu"))
"""


def test_a_second_process_cannot_train_by_a_plugins_loss_and_network(folder):
    made = job(folder)
    label_by_worker(made, "teacher")
    plan = plan_student(made, made.variants[0])
    sent = pickle.dumps((loaded_plugins(), pickle.dumps(plan)))
    second = subprocess.run([sys.executable, "-c", TRAIN], input=sent, capture_output=True)
    assert second.returncode == 0, second.stderr.decode()
    record = read_record(open_storage(plan.folder))
    assert record.plan["model"] == {"kind": "gelu", "revision": "1", "hidden": 6}
    history = [each["loss"] for each in record.details["history"]]
    assert history[-1] < history[0]
    network = load_network(plan.folder, record)
    assert [type(each) for each in network.trunk] == [torch.nn.Linear, torch.nn.GELU]


def test_a_plugins_loss_is_not_what_its_formula_says(folder):
    loss = job(folder).students["small"].terms[0].loss
    draw = np.random.default_rng(0)
    student, taught = (torch.from_numpy(draw.normal(scale=2, size=(5, 3))) for _ in range(2))
    rows = LossRows(head=student, positions=None, weight=torch.ones(5), outputs=taught)
    due = [
        sum(0.5 * x**2 if x <= 0.5 else 0.5 * (x - 0.25) for x in row) / 3
        for row in (student - taught).abs().tolist()
    ]
    np.testing.assert_allclose(loss.row_losses(rows), due)


def test_what_is_wrong_with_a_plugins_table_is_told_otherwise_than_with_one_of_ours(folder):
    for old, new, said in (
        ("delta =", "delt =", r"terms\.0\.loss\.delt: unknown key. Did you mean 'delta'\?"),
        ("hidden = 6", "hiden = 6", r"model\.hiden: unknown key. Did you mean 'hidden'\?"),
        ("delta = 0.5", "delta = 0", r"terms\.0\.loss\.delta = 0: .*greater than 0"),
        ('"huber", delta = 0.5', '"hubber"', r'terms\.0\.loss = .*"kl", .*"custom", "huber"\.'),
        (
            'learns = "labels.teacher"',
            'learns = "pools.rows"',
            r"loss\.kind = 'huber': learns values of a target, but",
        ),
    ):
        with pytest.raises(JobError, match=rf"job\.toml: students\.small\..*{said}"):
            job(folder, old=old, new=new)


def test_a_changed_revision_trains_nothing_again(folder):
    file = folder / "own.py"
    text = (PLUGINS / "huber_loss.py").read_text("utf-8").replace('"huber"', '"huber_of_mine"')
    wanted = {"plugins": ["own.py", BOTH[1]], "old": '"huber"', "new": '"huber_of_mine"'}
    folders = []
    for revised in (text, f"{text}\n# a comment\n", text.replace('"1"', '"2"')):
        file.write_text(revised, "utf-8")
        made = job(folder, **wanted)
        if not folders:
            label_by_worker(made, "teacher")
        folders.append(plan_student(made, made.variants[0]).folder)
    assert folders[0] == folders[1] != folders[2]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("nn.GELU()", "nn.BatchNorm1d(self.hidden)", "running_mean, .*change in training"),
        ("nn.GELU()), self.hidden", "nn.GELU()), 7", "rows of 6 numbers, where its class says 7"),
    ],
)
def test_a_plugins_network_that_cannot_be_trained_is_found_by_a_worker(folder, old, new, said):
    kind = f"gelu_{len(new)}"
    text = (PLUGINS / "gelu_network.py").read_text("utf-8").replace('"gelu"', f'"{kind}"')
    assert old in text
    (folder / "own.py").write_text(text.replace(old, new), "utf-8")
    made = job(folder, ["own.py", BOTH[0]], '"gelu"', f'"{kind}"')
    with pytest.raises(JobError, match=rf"students\.small\.model: .*{said}"):
        check_networks_build(made)


def test_a_network_whose_plugin_is_missing_is_told_in_pydantics_words():
    plain = {"in_features": 4, "model": {"kind": "gone"}, "heads": {}}
    with pytest.raises(ContractError, match=r"'kind': 'gone'.*in the job's `plugins`"):
        NetworkPlan.from_plain(plain)


def test_a_job_with_plugins_loads_torch(folder):
    job(folder)
    read = (
        "import sys\nfrom distill.plan.load import load_job\n"
        f"load_job({str(folder / 'job.toml')!r})\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", read], check=True)
