"""Altered images: torchvision's own operations, and the same pixels for the same seed."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from distill.core.errors import MissingExtraError
from distill.models import augment as room
from distill.models.augment import Augmentation, row_seeds
from distill.spec.augment import (
    Augment,
    ColourJitter,
    Erasing,
    RandAugment,
    RandomCrop,
)
from distill.spec.pools import ImageFeatures, TextFeatures

EVERYTHING = Augment(
    crop=RandomCrop(scale=(0.35, 1.0)),
    shift=2,
    flip=0.5,
    rand_augment=RandAugment(),
    colour=ColourJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1),
    erase=Erasing(),
)


def drawn(rows=6, height=20, width=28, channels=3):
    noise = np.random.default_rng(0).integers(0, 256, (rows, height, width, channels))
    smooth = np.linspace(0, 200, width)[None, None, :, None]
    return (0.3 * noise + 0.7 * smooth).astype(np.uint8)


SEEDS = row_seeds(3, 1, np.arange(6))
FIRST_SEEDS = [2558736989570252433, 4764156602392020899]
SHIFTED = [27, 24, 21, 18, 15]
"""Of what is drawn by this version."""


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_depend_on_the_batch_the_draws_of_others_or_the_threads(channels):
    images = drawn(channels=channels)
    before = images.copy()
    augmentation = Augmentation(EVERYTHING)
    torch.manual_seed(0)
    whole = augmentation(images, SEEDS)
    state = torch.get_rng_state()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = [
        augmentation(images[row : row + 1], SEEDS[row : row + 1])[0] for row in range(5, -1, -1)
    ]
    torch.set_num_threads(threads)
    np.testing.assert_array_equal(whole, alone[::-1])
    np.testing.assert_array_equal(images, before)
    # the network's dropout draws of this one meanwhile
    assert torch.equal(torch.get_rng_state(), state)
    assert (whole != images).mean() > 0.5


def test_threads_share_what_they_draw():
    images = drawn()
    augmentation = Augmentation(EVERYTHING)
    due = augmentation(images, SEEDS)
    found = [None] * 4

    def work(number):
        found[number] = augmentation(images, SEEDS)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for each in found:
        np.testing.assert_array_equal(each, due)


def test_rows_or_epochs_are_altered_alike():
    rows = np.arange(1000)
    seeds = [row_seeds(seed, epoch, rows) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len(np.unique(np.concatenate(seeds))) == 6000
    assert row_seeds(0, 1, rows[7:8])[0] == seeds[1][7]


def test_pixels_of_today_are_others_tomorrow():
    """What is stored with a seed, such as a teacher's views, is replayed by these draws."""
    assert row_seeds(0, 0, np.arange(2)).tolist() == FIRST_SEEDS
    images = np.arange(4 * 5 * 3, dtype=np.uint8).reshape(1, 4, 5, 3)
    altered = Augmentation(Augment(shift=1, flip=0.5))(images, np.array([7], np.uint64))
    assert altered[0, 2, :, 0].tolist() == SHIFTED


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("magnitude", [0, 9, 17, 30])
def test_an_operation_is_another_than_torchvisions(channels, magnitude):
    names = {"colour": "Color", "auto_contrast": "AutoContrast"}
    theirs = v2.RandAugment()
    image = torch.from_numpy(drawn(1, channels=channels)[0].transpose(2, 0, 1).copy())
    assert len(room._operations()) == len(theirs._AUGMENTATION_SPACE) == 14
    for name, operation in room._operations().items():
        known = names.get(name) or "".join(part.capitalize() for part in name.split("_"))
        make, is_signed = theirs._AUGMENTATION_SPACE[known]
        magnitudes = make(31, *image.shape[1:])
        for sign in (1, -1):
            size = 0.0 if magnitudes is None else float(magnitudes[magnitude])
            due = (
                theirs._apply_image_or_video_transform(
                    image,
                    known,
                    size * (sign if is_signed else 1),
                    v2.InterpolationMode.NEAREST,
                    {},
                )
                if name != "identity"
                else image
            )
            mine = operation(image, sign * magnitude / 30)
            assert (mine.int() - due.int()).abs().max() <= 1, (name, sign)


def test_a_crop_is_another_than_torchvisions(monkeypatch):
    image = drawn(1)[0]
    monkeypatch.setattr(room, "_rectangle", lambda *_: (3, 5, 11, 14))
    mine = room._cropped(image, RandomCrop(), np.random.default_rng(0))
    tensor = torch.from_numpy(image.transpose(2, 0, 1).copy())
    due = v2.functional.resized_crop(tensor, 3, 5, 11, 14, [20, 28], antialias=True)
    np.testing.assert_array_equal(mine, due.numpy().transpose(1, 2, 0))


def test_crops_are_drawn_otherwise_than_torchvisions():
    """Their areas and sides, by their means and quantiles."""
    crop = v2.RandomResizedCrop((20, 28), scale=(0.2, 0.8))
    torch.manual_seed(0)
    image = torch.zeros(3, 40, 56)
    theirs = [crop.make_params([image]) for _ in range(3000)]
    draw = np.random.default_rng(0)
    mine = [room._rectangle((40, 56), (0.2, 0.8), (3 / 4, 4 / 3), draw) for _ in range(3000)]
    due = np.array([[each[key] for key in ("top", "left", "height", "width")] for each in theirs])
    found = np.array([box for box in mine if box])
    assert len(found) > 2900
    shares = np.quantile(due, [0.1, 0.5, 0.9], axis=0)
    np.testing.assert_allclose(np.quantile(found, [0.1, 0.5, 0.9], axis=0), shares, atol=2)
    np.testing.assert_allclose(found.mean(0), due.mean(0), atol=0.7)


def test_a_flip_a_shift_or_an_erasure_is_something_else():
    images = drawn(40)
    seeds = row_seeds(0, 0, np.arange(40))
    flipped = Augmentation(Augment(flip=0.5))(images, seeds)
    turned = [np.array_equal(one, two[:, ::-1]) for one, two in zip(flipped, images, strict=True)]
    same = [np.array_equal(one, two) for one, two in zip(flipped, images, strict=True)]
    assert all(one != two for one, two in zip(turned, same, strict=True))
    assert 10 < sum(turned) < 30
    shifted = Augmentation(Augment(shift=3))(np.full((40, 9, 9, 1), 5, np.uint8), seeds)
    assert set(np.unique(shifted)) == {0, 5}
    assert shifted[:, 3:6, 3:6].min() == 5
    erased = Augmentation(Augment(erase=Erasing(probability=1.0)))(images, seeds)
    changed = (erased != images).any(axis=3).mean(axis=(1, 2))
    assert ((changed > 0.015) & (changed < 0.34)).all()


def test_a_narrow_image_has_no_crop():
    image = drawn(1, 4, 28)
    altered = Augmentation(Augment(crop=RandomCrop(scale=(0.9, 1.0))))(image, SEEDS[:1])
    assert altered.shape == image.shape


def test_a_library_that_is_missing_is_found_missing_late(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distill\[vision\]'"):
        Augmentation(EVERYTHING)
    Augmentation(Augment(flip=0.5, shift=2))  # which needs none


def test_a_pool_that_cannot_be_altered_so_is_taken():
    text = TextFeatures(kind="text", column="x")
    assert list(EVERYTHING.misfits(text, "a")) == ["augment: pools.a has no images. Leave it out."]
    four = ImageFeatures(kind="image", column="x", shape=(4, 4, 4))
    (problem,) = EVERYTHING.misfits(four, "a")
    assert "with 4 channels, cannot be altered" in problem
    assert not list(Augment(flip=0.5).misfits(four, "a"))
    with pytest.raises(ValueError, match="turn them round"):
        RandomCrop(scale=(0.5, 0.1))
