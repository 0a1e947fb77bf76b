"""Label sets of several roots as one: three parties, one public pool, real stores on disk."""

import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import distill.labels
from distill.core.errors import ContractError, JobError
from distill.plan.load import load_job
from distill.run import label_pool, run_job, status, verify_labels
from distill.storage.request_counts import requests

LABELER = """
import logging

import numpy as np

class Labeler:
    revision = "{revision}"
    classes = {classes}

    def label(self, features):
        outputs = np.asarray(features) @ np.array({weights}, np.float32)
        {then}
        return outputs
"""
PUBLIC = """
root = "{root}"
fragment_rows = {fragment_rows}
[pools.public]
path = "public/"
features = {{ kind = "vector", columns = ["x", "y"] }}
"""
WEIGHTS = {
    "a": [[1.0, -1.0, 0.0], [0.5, 0.0, -1.0]],
    "b": [[0.8, -1.2, 0.1], [0.6, 0.2, -0.9]],
    "c": [[1.3, -0.7, 0.0], [0.4, -0.1, -1.2]],
}


@pytest.fixture
def public(tmp_path):
    folder = tmp_path / "public"
    folder.mkdir()
    draw = np.random.default_rng(7)
    for number in range(3):
        rows = draw.normal(size=(150, 2))
        table = pa.table({"x": rows[:, 0], "y": rows[:, 1]})
        pq.write_table(table, folder / f"{number}.parquet")
    return tmp_path


def party(folder, name, *, classes=("k", "l", "m"), fragment_rows=64, then="pass", encoding=""):
    """Label the public pool under a root of its own; that root's label set."""
    order = [("k", "l", "m").index(each) for each in classes]
    weights = np.array(WEIGHTS.get(name, WEIGHTS["a"]))[:, order].tolist()
    source = LABELER.format(revision=name, classes=classes, weights=weights, then=then)
    (folder / f"{name}.py").write_text(source)
    job = folder / f"{name}.toml"
    job.write_text(
        PUBLIC.format(root=f"root_{name}", fragment_rows=fragment_rows)
        + f'[labels.own]\nlabeler = {{ kind = "custom", file = "{name}.py" }}\nover = ["public"]\n'
        + (f"encoding = {encoding}\n" if encoding else "")
        + "max_rejected_fraction = 1\n"
    )
    label_pool(load_job(job), "own", engine="local")
    return f"root_{name}/labels/own/v1"


def consensus(folder, of, *, name="consensus", more=""):
    job = folder / f"{name}.toml"
    names = ", ".join(f'"{each}"' for each in of)
    job.write_text(
        PUBLIC.format(root=f"root_{name}", fragment_rows=75)
        + f'[labels.agreed]\nlabeler = {{ kind = "merge", of = [{names}]{more} }}\n'
        + 'over = ["public"]\nmax_rejected_fraction = 1\n'
    )
    return load_job(job)


def merged(job, folder, name="consensus"):
    (summary,) = label_pool(job, "agreed", engine="local")
    stored = distill.labels.open(folder / f"root_{name}/labels/agreed/v1/public")
    tables = list(stored.decoded(temperature=1))
    lists = [row or [np.nan] * 3 for each in tables for row in each["logits"].to_pylist()]
    outputs = np.array(lists)
    apart = np.concatenate([each["disagreement"].to_numpy() for each in tables])
    return summary, outputs, apart


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def expected(folder, *names):
    tables = [pq.read_table(folder / f"public/{number}.parquet") for number in range(3)]
    rows = np.concatenate([np.stack([each["x"], each["y"]], 1) for each in tables])
    rows = rows.astype(np.float32)
    return np.stack([softmax(rows @ np.array(WEIGHTS[name], np.float32)) for name in names])


def test_the_consensus_of_three_roots_is_not_the_mean_of_what_each_says(public):
    of = [
        party(public, "a"),
        party(public, "b", classes=("m", "k", "l"), fragment_rows=100),
        party(public, "c"),
    ]
    summary, outputs, apart = merged(consensus(public, of), public)
    p_MBC = expected(public, "a", "b", "c")
    np.testing.assert_allclose(softmax(outputs), p_MBC.mean(0), atol=2e-6)
    entropy = lambda p: -(p * np.log(p)).sum(-1)  # noqa: E731
    np.testing.assert_allclose(apart, entropy(p_MBC.mean(0)) - entropy(p_MBC).mean(0), atol=2e-6)
    assert (summary.labelled, summary.rejected) == (450, 0)
    for found in verify_labels(load_job(public / "consensus.toml"), "agreed"):
        assert not found.problems


@pytest.mark.parametrize("by", ["median", "trimmed"])
def test_one_poisoned_party_of_five_moves_the_consensus(public, by):
    of = [party(public, name) for name in ("a", "b", "c")]
    honest = [*of, party(public, "d")]
    poisoned = [*honest, party(public, "liar", then="outputs = 1e4 * np.roll(outputs, 1, axis=1)")]
    _, alone, _ = merged(consensus(public, honest, name="h", more=f', by = "{by}"'), public, "h")
    _, moved, _ = merged(consensus(public, poisoned, name="p", more=f', by = "{by}"'), public, "p")
    _, mean, _ = merged(consensus(public, poisoned, name="m"), public, "m")
    far = np.abs(softmax(moved) - softmax(alone)).max(1)
    far_mean = np.abs(softmax(mean) - softmax(alone)).max(1)
    print(
        f"\n{by}: one liar of five moves a row by {far.mean():.3f}, the mean by {far_mean.mean():.3f}"
    )
    low, high = expected(public, "a", "b", "c").min(0), expected(public, "a", "b", "c").max(0)
    # before they are brought to a sum of 1 again, numbers lie within what honest parties say
    assert ((softmax(moved) > low - 0.1) & (softmax(moved) < high + 0.1)).all()
    assert far.mean() < 0.3 * far_mean.mean()
    changed = (moved.argmax(1) != alone.argmax(1)).mean()
    assert changed < (mean.argmax(1) != alone.argmax(1)).mean()


def test_rows_that_a_party_rejected_are_taken_for_zeros(public):
    of = [
        party(public, "a", then="outputs[features[:, 0] > 1] = np.nan"),
        party(public, "b", then="outputs[features[:, 0] > 0.5] = np.nan"),
    ]
    summary, outputs, _ = merged(consensus(public, of), public)
    tables = [pq.read_table(public / f"public/{number}.parquet") for number in range(3)]
    x = np.concatenate([each["x"].to_numpy() for each in tables]).astype(np.float32)
    nobody = x > 1
    alone = x > 0.5
    first, second = expected(public, "a", "b")
    want = np.where(alone[:, None], first, (first + second) / 2)
    assert summary.rejected == nobody.sum() > 0
    assert (alone & ~nobody).any()
    np.testing.assert_array_equal(np.isnan(outputs[:, 0]), nobody)
    np.testing.assert_allclose(softmax(outputs[~nobody]), want[~nobody], atol=2e-6)


def test_a_party_that_keeps_its_largest_logits_is_misread(public):
    of = [
        party(public, "a", encoding='{ kind = "topk", k = 2, temperatures = [1] }'),
        party(public, "b"),
    ]
    _, outputs, _ = merged(consensus(public, of), public)
    want = expected(public, "a", "b").mean(0)  # two of three kept: the third is what is left of 1
    assert np.abs(softmax(outputs) - want).max() < 0.01


def test_parties_that_mean_different_things_are_merged(public):
    of = [party(public, "a"), party(public, "b", classes=("k", "l"))]
    with pytest.raises(JobError, match=r"labels\.agreed\.labeler\.of.*k, l, m.*root_b.*k, l\]"):
        label_pool(consensus(public, of), "agreed", engine="local")


def test_a_party_without_all_rows_is_merged_unnoticed(public, caplog):
    of = [party(public, "a"), party(public, "b")]
    extra = pq.read_table(public / "public/0.parquet")
    pq.write_table(extra, public / "public/3.parquet")
    with pytest.raises(ContractError, match=r"labelled 450 of the 600 rows.*leave_out"):
        label_pool(consensus(public, of), "agreed", engine="local")
    label_pool(load_job(public / "b.toml"), "own", engine="local")
    job = consensus(public, of, more=', missing = "leave_out"')
    summary, outputs, _ = merged(job, public)
    assert "root_a/labels/own/v1 has labelled 450 of the 600 rows" in caplog.text
    assert summary.labelled == 600
    alone = softmax(outputs[450:])
    np.testing.assert_allclose(alone, expected(public, "b")[0][:150], atol=2e-6)


def test_labels_are_merged_anew_in_silence_where_a_party_has_changed(public):
    of = [party(public, "a"), party(public, "b")]
    job = consensus(public, of)
    label_pool(job, "agreed", engine="local")
    (line,) = status(job)
    assert line.done == line.total
    (public / "b.toml").write_text(
        (public / "b.toml").read_text().replace("max_rej", "version = 2\nmax_rej")
    )
    WEIGHTS["b2"] = [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    (public / "b.py").write_text(
        (public / "b.py")
        .read_text()
        .replace('revision = "b"', 'revision = "b2"')
        .replace("pass", "outputs = -outputs")
    )
    label_pool(load_job(public / "b.toml"), "own", engine="local")
    changed = consensus(public, [of[0], "root_b/labels/own/v2"])
    with pytest.raises(ContractError, match=r"version = 2"):
        label_pool(changed, "agreed", engine="local")


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (("root_a/labels/own/v1", "nowhere"), r"names no label set"),
        (
            ("root_x/labels/own/v1", "root_y/labels/own/v1"),
            r"none of root_x.*has labels over pools.public",
        ),
        (("labels.other", "root_a/labels/own/v1"), r"'other'"),
        (("root_a/labels/own/v1",), r"of"),
        (("root_a/labels/own/v1", "root_a/labels/own/v1"), r"root_a/labels/own/v1"),
    ],
)
def test_a_wrong_party_ends_in_a_traceback(public, of, message):
    party(public, "a")
    with pytest.raises((JobError, ContractError), match=message):
        label_pool(consensus(public, of), "agreed", engine="local")


def test_a_student_of_the_jobs_own_label_sets_cannot_learn_their_consensus(public):
    party(public, "a")
    party(public, "b")
    (public / "all.toml").write_text(
        PUBLIC.format(root="root_all", fragment_rows=64)
        + """
[labels.agreed]
labeler = { kind = "merge", of = ["labels.one", "labels.two"], by = "median" }
over = ["public"]
[labels.one]
labeler = { kind = "custom", file = "a.py" }
over = ["public"]
[labels.two]
labeler = { kind = "custom", file = "b.py" }
over = ["public"]
[students.s]
model = { kind = "linear" }
training = { epochs = 2 }
[[students.s.terms]]
learns = "labels.agreed"
loss = { kind = "kl" }
row_weight = { kind = "agreement" }
"""
    )
    run_job(load_job(public / "all.toml"), engine="local")
    kinds = {line.name: line.done for line in status(load_job(public / "all.toml"))}
    assert all(kinds.values())


def test_parties_are_weighed_alike_whatever_they_get_wrong(public, caplog):
    caplog.set_level(logging.INFO, "distill")
    guess = "outputs = np.roll(outputs, 1, axis=1) * (np.arange(len(outputs)) % 5 > 1)[:, None]"
    of = [party(public, "a"), party(public, "b"), party(public, "c")]
    of += [party(public, "guess", then=guess), party(public, "guess2", then=guess)]
    job = consensus(public, of, more=', by = "dawid_skene"')
    summary, outputs, _ = merged(job, public)
    truth = expected(public, "a")[0].argmax(1)
    right = (outputs.argmax(1) == truth).mean()
    _, mean, _ = merged(consensus(public, of, name="m"), public, "m")
    assert right > (mean.argmax(1) == truth).mean()
    assert right > 0.9
    assert "root_guess/labels/own/v1 and root_guess2/labels/own/v1 are wrong in the same way" in (
        caplog.text
    )
    before = requests().put
    (again,) = label_pool(job, "agreed", engine="local")
    assert (again.labelled_now, again.label_hash) == (0, summary.label_hash)
    assert requests().put == before  # what is known of the parties is not found again


def test_votes_are_counted_of_what_nobody_votes_on(public):
    of = [party(public, "a"), party(public, "b")]
    for root in of:
        assert (public / root).is_dir()
    (public / "v.py").write_text(
        "class Labeler:\n    revision = '1'\n    kind = 'value'\n    width = 2\n"
        "    def label(self, features):\n        return features\n"
    )
    (public / "values.toml").write_text(
        PUBLIC.format(root="root_v", fragment_rows=64)
        + '[labels.one]\nlabeler = { kind = "custom", file = "v.py" }\nover = ["public"]\n'
        + '[labels.two]\nlabeler = { kind = "custom", file = "v.py" }\nover = ["public"]\n'
        + "[labels.agreed]\nover = ['public']\n"
        + 'labeler = { kind = "merge", of = ["labels.one", "labels.two"], by = "dawid_skene" }\n'
    )
    with pytest.raises(JobError, match=r"dawid_skene.*counts votes.*mean, median or trimmed"):
        run_job(load_job(public / "values.toml"), engine="local")


@pytest.mark.ray
def test_several_workers_find_the_parties_to_err_otherwise_than_one(public, ray, monkeypatch):
    # a dozen tasks a pass, which Ray adds up as they come
    monkeypatch.setattr("distill.stages.label.fit_annotators._CHUNK_ROWS", 40)
    guess = "outputs = np.roll(outputs, 1, axis=1) * (np.arange(len(outputs)) % 5 > 1)[:, None]"
    silent = "outputs[features[:, 0] > 1] = np.nan"
    of = [party(public, "a"), party(public, "b", then=silent), party(public, "c", then=guess)]
    found = {}
    for engine in ("local", "ray"):
        job = consensus(public, of, name=engine, more=', by = "dawid_skene"').path
        compute = "compute = { min = 2, max = 2 }\n" if engine == "ray" else ""
        job.write_text(job.read_text() + compute)
        (summary,) = label_pool(load_job(job), "agreed", engine=engine)
        root = public / f"root_{engine}"
        (known,) = (root / "annotators/agreed").glob("*/*.safetensors")
        found[engine] = (summary.label_hash, summary.labelled, known.name, known.read_bytes())
    assert found["ray"] == found["local"]
    assert found["ray"][1] == 450
