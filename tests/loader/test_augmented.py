"""Images are altered by (seed, epoch, row) on their way into a batch: alike for any number of
workers and lanes and after a restart, otherwise in each epoch, and never in the cache."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from distill.core.errors import JobError
from distill.loader.dataset import Dataset
from distill.loader.loader import Loader
from distill.loader.sampler import Sampler, cut_chunks
from distill.models.augment import Augmentation, row_seeds
from distill.spec.augment import Augment
from distill.spec.pools import ImageFeatures
from tests.tiny import tiny_job

ROWS, SEED = 70, 5
AUGMENT = Augment(shift=2, flip=0.5)
FEATURES = ImageFeatures(kind="image", column="image", shape=(6, 5, 1))


class Images(Dataset):
    """Rows that are drawn, in place of files."""

    remote = False

    def load(self, chunk):
        rows = np.arange(chunk.start, chunk.start + chunk.rows)
        images = np.stack([image_of(row) for row in rows])
        images.flags.writeable = False
        return {"features": images, "row": rows}


def image_of(row):
    return np.random.default_rng(row).integers(1, 256, size=(6, 5, 1), dtype=np.uint8)


def seen(workers, first_step=0, steps=12, lanes=4, augment=AUGMENT):
    """(step, row) → pixels, of all workers' batches."""
    dataset = Images((), FEATURES, 30, augment=augment)
    sampler = Sampler(cut_chunks([[[ROWS]]], lanes, 20), lanes, 8 // lanes, SEED)
    found = {}
    for rank in range(workers):
        loader = Loader(dataset, sampler, rank=rank, workers=workers)
        batches = itertools.islice(loader.batches(first_step), steps)
        for step, batch in enumerate(batches, first_step):
            for row, image in zip(batch["row"].tolist(), batch["features"], strict=True):
                if row >= 0:
                    found[step, row] = image.copy()
                else:
                    assert not image.any(), "padding is altered"
        for arrays in loader.cache.chunks.values():
            for row, image in zip(arrays["row"], arrays["features"], strict=True):
                assert np.array_equal(image, image_of(row)), "the cache is altered"
        loader.close()
    return found


def require_same(found, due):
    assert found.keys() == due.keys()
    assert all(np.array_equal(found[key], due[key]) for key in due)


def test_workers_or_a_restart_see_other_pixels():
    due = seen(1)
    require_same(seen(2), due)
    require_same(seen(4), due)
    later = {key: image for key, image in due.items() if key[0] >= 7}
    require_same(seen(2, first_step=7, steps=5), later)


def test_pixels_depend_on_more_than_seed_epoch_and_row():
    steps = Sampler(cut_chunks([[[ROWS]]], 4, 20), 4, 2, SEED).steps_per_epoch
    for (step, row), image in seen(1, steps=2 * steps).items():
        seeds = row_seeds(SEED, step // steps, np.array([row]))
        assert np.array_equal(image, Augmentation(AUGMENT)(image_of(row)[None], seeds)[0])


def test_two_epochs_see_the_same_or_other_lanes_other_pixels():
    steps = Sampler(cut_chunks([[[ROWS]]], 4, 20), 4, 2, SEED).steps_per_epoch
    by_epoch = [{}, {}]
    for (step, row), image in seen(1, steps=2 * steps).items():
        by_epoch[step // steps][row] = image
    first, second = by_epoch
    assert sorted(first) == sorted(second) == list(range(ROWS))
    assert sum(not np.array_equal(first[row], second[row]) for row in first) > ROWS / 2
    eight = {row: image for (_, row), image in seen(1, lanes=8, steps=9).items()}
    assert len(eight) > ROWS / 2
    assert all(np.array_equal(image, first[row]) for row, image in eight.items())


def test_without_the_key_anything_is_altered():
    assert all(
        np.array_equal(image, image_of(row)) for (_, row), image in seen(1, augment=None).items()
    )


def test_numbers_that_are_no_images_are_altered(tmp_path):
    text = """
        root = "root"
        [pools.rows]
        path = "rows"
        features = { kind = "vector", columns = ["pixels"] }
        target = "kind"
        classes = ["a", "b"]
        [students.small]
        model = { kind = "linear" }
        training = { augment = { flip = 0.5 } }
        [[students.small.terms]]
        learns = "pools.rows"
        loss = { kind = "cross_entropy" }
    """
    with pytest.raises(JobError, match=r"training\.augment: pools\.rows has no images"):
        tiny_job(tmp_path, text)
