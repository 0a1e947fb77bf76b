"""The GPU benchmark's teachers are of the size they claim, and answer each row by itself."""

from __future__ import annotations

import numpy as np
import pytest

from distill.core.source import read_source
from tests.benchmarks import gpu_models
from tests.benchmarks.gpu_pools import MODELS
from tests.benchmarks.pools import write_source

torch = pytest.importorskip("torch")

TEXTS = np.array(
    [
        "one two three",
        "",
        "two",
        "one  two three four five six seven eight nine ten",
        "three two one",
    ],
    object,
)


@pytest.fixture
def tiny(tmp_path):
    """The file as a job ships it, small."""
    write_source(
        tmp_path,
        MODELS,
        layers=1,
        width=32,
        heads=2,
        side=32,
        sorted_rows=3,
        log=str(tmp_path / "batches.log"),
    )
    file = read_source(tmp_path / "labelers.py", "labelers.py")
    return lambda name: file.load(name)()


def parameters(network):
    with torch.device("meta"):
        return sum(each.numel() for each in network().parameters())


def test_the_networks_are_of_the_size_they_claim():
    assert parameters(gpu_models.VisionTransformer) == 86_567_656  # timm's vit_base_patch16_224
    assert parameters(gpu_models.TextEncoder) == pytest.approx(109e6, rel=0.01)


def test_texts_are_answered_in_their_own_order(tiny):
    teacher = tiny("Texts")
    together = teacher.label(teacher.prepare(TEXTS))
    alone = np.concatenate(
        [teacher.label(teacher.prepare(TEXTS[[row]])) for row in range(len(TEXTS))]
    )
    np.testing.assert_allclose(together, alone, atol=0.02)
    assert np.abs(alone[0] - alone[2]).max() > 0.1


def test_images_are_answered_row_by_row_and_seen_as_patches(tiny):
    teacher, seen = tiny("Images"), []
    teacher.network.patches.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    answers = teacher.label(teacher.prepare(images))
    assert answers.shape == (4, 1_000)
    np.testing.assert_allclose(teacher.label(teacher.prepare(images[2:3])), answers[2:3], atol=0.02)
    assert np.abs(answers[0] - answers[1]).max() > 0.02
    lower_left = images[1, 16:, :16].ravel() / 127.5 - 1
    np.testing.assert_allclose(seen[0][1, 2].float().cpu(), lower_left, atol=0.01)


def test_words_have_one_token_wherever_they_stand():
    tokens, lengths = gpu_models.tokenise(["one two three", "", "three " * 200])
    assert lengths.tolist() == [4, 1, gpu_models.LONGEST]
    assert tokens[0, 3] == tokens[2, 1] == tokens[2, -1] > 1
    assert (tokens[1, 1:] == 0).all()
    assert (tokens[:, 0] == 1).all()


def test_each_batch_is_noted(tiny, tmp_path):
    teacher = tiny("AsleepTexts")
    for rows in (5, 3):
        teacher.label(teacher.prepare(TEXTS[:rows]))
    noted = np.loadtxt(tmp_path / "batches.log")
    assert noted[:, 3].tolist() == [5, 3]
    assert (noted[:, 1] <= noted[:, 2]).all()
