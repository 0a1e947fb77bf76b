"""Texts of like length come together and are padded to the longest; what is learned of a batch does
not depend on its parts. Other workers and kills: `test_new_options`."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from distill.core.errors import JobError
from distill.engine.protocol import WorkerContext
from distill.loader.loader import Loader
from distill.loader.sampler import Sampler
from distill.loader.shuffle import like_length
from distill.models.network import build_network
from distill.spec.models import Training
from distill.stages.train.combined_loss import CombinedLoss
from distill.stages.train.gradients import LaneGradients, WorkerGradients
from distill.stages.train.optimizer import Optimizer
from distill.stages.train.token_budget import TokenBudget, cut_by_length, give_rows, part_padding
from tests.resolved import plan_student
from tests.stages.train.test_combined_loss import KL, term
from tests.stages.train.test_new_options import TEXTS, made
from tests.stages.train.test_table_rows import LANES, batch, plan
from tests.tiny import tiny_job
from tests.tiny_models import save_classifier

HERE = WorkerContext(0, 1, "cpu")


def as_tensors(step):
    return {name: torch.from_numpy(values) for name, values in batch(step).items()}


def test_a_part_has_more_tokens_than_memory_holds_or_a_row_is_lost():
    lengths = np.array([0, 0, 1, 2, 2, 3, 5, 5, 6, 9, 40])
    cut = list(cut_by_length(lengths, 12))
    assert [row for each in cut for row in each] == list(range(len(lengths)))
    for each in cut:
        assert len(each) == 1 or len(each) * lengths[each[-1]] <= 12
    assert [len(each) for each in cut] == [5, 2, 2, 1, 1]
    assert list(cut_by_length(np.zeros(0, np.int64), 12)) == [range(0)]


def test_a_part_has_more_padding_than_another_part_costs():
    lengths = np.array([0, 0, 1, 2, 2, 3, 5, 5, 6, 9, 40])
    cut = list(cut_by_length(lengths, 1_000, 6))
    assert [row for each in cut for row in each] == list(range(len(lengths)))

    def padding(first, stop):
        return (stop - first) * lengths[stop - 1] - lengths[first:stop].sum()

    assert all(padding(each.start, each.stop) <= 6 for each in cut)
    # and none ends before it has to
    assert all(padding(each.start, each.stop + 1) > 6 for each in cut[:-1])


def test_parts_are_cut_as_if_weights_and_calls_cost_nothing():
    def network(words, width):
        table = torch.nn.Embedding(words, width)
        return torch.nn.Sequential(table, torch.nn.Linear(width, 1_024, bias=False))

    assert part_padding(network(100, 1_024), "cpu") == 60
    # a table gives the rows that a part has
    assert part_padding(network(4_000, 1_024), "cpu") == 60
    assert part_padding(network(100, 1), "cpu") == 30 * 1_025
    assert part_padding(network(100, 1)[0], "cpu") is None
    assert part_padding(network(100, 1), "cuda:0") is None
    by_rows = build_network(plan(200_000))
    due = part_padding(by_rows, "cpu")
    assert Optimizer(Training(), by_rows, 10).tables
    assert part_padding(by_rows, "cpu") == due


def test_a_part_writes_the_gradient_of_a_whole_table_of_words(tmp_path):
    from transformers import AutoModel

    model = AutoModel.from_pretrained(save_classifier(tmp_path / "model", ["x", "y"]))
    give_rows(torch.nn.Sequential(model))
    model(
        torch.tensor([[3, 3, 5]]), token_type_ids=torch.tensor([[0, 0, 0]])
    ).pooler_output.sum().backward()
    sparse = [name for name, each in model.named_parameters() if each.grad.is_sparse]
    assert sparse == ["embeddings.word_embeddings.weight"]


def test_parts_have_padding_that_no_text_of_theirs_needs():
    seen = []
    budget = TokenBudget(tokens=20, lanes=LANES, padding=0)
    for part in budget.parts([as_tensors(0), as_tensors(1)], LANES):
        lengths = np.concatenate([(each["features"] > 0).sum(1) for each in part])
        widths = {each["features"].shape[1] for each in part}
        assert widths == {max(1, lengths.max())}
        assert len(lengths) == 1 or len(lengths) * lengths.max() <= 20 * LANES
        seen.append([each["row"].tolist() for each in part])
    for source in range(2):
        assert sorted(itertools.chain(*(each[source] for each in seen))) == list(range(16))


def test_parts_of_a_batch_teach_otherwise_than_the_whole():
    batches = [as_tensors(0)]
    made_gradients = []
    budget = TokenBudget(6, LANES, 0)
    for way in ("whole", "parts", "budget", "lanes"):
        network = build_network(plan()).double()
        loss = CombinedLoss((term("0", KL, 1.0),), "cpu")
        told = (network, loss, HERE, lambda model: model)
        gradients = {
            "whole": lambda told=told: WorkerGradients(*told),
            "parts": lambda told=told: WorkerGradients(*told, parts=3),
            "budget": lambda told=told: WorkerGradients(*told, budget=budget),
            "lanes": lambda told=told: LaneGradients(*told, LANES, budget=budget),
        }[way]()
        arrays = [{name: values.numpy() for name, values in each.items()} for each in batches]
        sums = gradients.backward(0, 0, arrays)
        made_gradients.append((sums, [each.grad.clone() for each in network.parameters()]))
    due_sums, due = made_gradients[0]
    for sums, got in made_gradients[1:]:
        torch.testing.assert_close(sums, due_sums)
        for mine, theirs in zip(got, due, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("rows_before", [0, 5, 8, 13])
def test_shares_have_mixed_lengths_or_a_row_comes_twice(rows_before):
    draw = np.random.default_rng(0)
    positions = draw.permutation(61)
    lengths = draw.integers(0, 200, size=61)
    order = lambda shares: np.random.default_rng(1).permutation(shares)  # noqa: E731
    got = like_length(positions, lengths, rows_before, 8, order)
    assert sorted(got) == list(range(61))
    head = -rows_before % 8
    assert got[:head].tolist() == positions[:head].tolist()
    shares = [lengths[got[start : start + 8]] for start in range(head, 54, 8)]
    spans = sorted((each.min(), each.max()) for each in shares)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_two_lanes_give_a_step_texts_of_other_lengths():
    sampler = Sampler((), 4, 8, seed=3, like_length=True)
    longer, shorter = (sampler.share_order(2, 1, shares) for shares in (20, 19))
    assert [each for each in longer if each != 19] == shorter.tolist()
    assert sampler.share_order(3, 1, 20).tolist() != longer.tolist()


def test_less_is_padded_though_every_row_is_seen_once(tmp_path):
    """Counted: places that are computed, of those that are words."""
    computed = {}
    for name, more in {"mixed": "clip_norm = 1.0", "alike": "tokens = 64"}.items():
        job = made(tmp_path / name, more)
        lesson = plan_student(job, job.variants[0])
        rows, places, words = [], 0, 0
        loader = Loader(lesson.sources[0], lesson.order(0), rank=0, workers=1, threads=False)
        steps = lesson.order(0).steps_per_epoch
        budget = TokenBudget(64, 4, 0)
        for each in itertools.islice(loader.batches(), steps):
            copied = {key: torch.from_numpy(values.copy()) for key, values in each.items()}
            rows += copied["row"][copied["row"] >= 0].tolist()
            parts = [[copied]] if name == "mixed" else budget.parts([copied], 4)
            for (part,) in parts:
                width = (part["features"] > 0).any(0).sum()
                places += int(len(part["row"]) * width)
                words += int((part["features"] > 0).sum())
        loader.close()
        assert sorted(rows) == list(range(TEXTS))
        computed[name] = places / words
    assert computed["alike"] < 1.15
    assert computed["mixed"] > 1.4


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("tokens = 64, accumulate_batches = 2", "accumulate_batches = 2: tokens = 64 says"),
        ('tokens = 64, batch_norm = "sync"', "but tokens takes them in parts"),
    ],
)
def test_keys_that_do_not_go_with_a_budget(tmp_path, more, said):
    with pytest.raises(JobError, match=said):
        made(tmp_path, more)


def test_a_budget_of_tokens_for_a_network_that_reads_none(tmp_path):
    text = """
        root = "root"
        [pools.rows]
        path = "rows"
        features = { kind = "vector", columns = ["pixels"] }
        target = "kind"
        classes = ["a", "b"]
        [students.small]
        model = { kind = "linear" }
        training = { tokens = 64 }
        [[students.small.terms]]
        learns = "pools.rows"
        loss = { kind = "cross_entropy" }
    """
    with pytest.raises(JobError, match=r"training\.tokens = 64: 'linear' reads no text"):
        tiny_job(tmp_path, text)


def test_a_default_enters_the_digest_of_a_student_from_before():
    from distill.plan.identity import _learned

    known = {"warmup_fraction", "clip_norm", "precision", "gradients", "compile"}
    new = {"head_learning_rate", "layer_decay", "decayed", "batch_norm", "tokens"}
    new |= {"accumulate_batches", "activation_checkpoints"}
    plain = _learned(Training())
    assert not (known | new) & plain.keys()
    assert _learned(Training(tokens=5))["tokens"] == 5
