"""Training of students on timm's networks, held against a plain loop of timm."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distill.engine.protocol import WorkerContext
from distill.labelers.network import load_network
from distill.models.augment import Augmentation, row_seeds
from distill.models.network import build_network
from distill.spec.augment import Augment
from distill.stages.train.batches import seed_part
from distill.stages.train.loop import run_trainings
from tests.late import Late
from tests.resolved import find_student, plan_student
from tests.tiny import tiny_job

TIMM = Late("timm")

STEPS, ROWS, BATCH, SIDE = 20, 64, 32, 16
CLASSES = ("x", "y", "z")
MEAN, STD = 0.4, 0.3
JOB = """
    root = "root"
    [pools.rows]
    path = "rows"
    features = { kind = "image", column = "image", shape = [16, 16, 3], encoded = false }
    target = "kind"
    classes = ["x", "y", "z"]
    [students.small]
    training = { epochs = 10, batch_rows = 32, lanes = 1, learning_rate = 1e-3, workers = 1 MORE }
    model = { kind = "timm", shape = [3, 16, 16], mean = [0.4], std = [0.3], MODEL }
    [[students.small.terms]]
    learns = "pools.rows"
    loss = { kind = "cross_entropy" }
"""
VIT = {"patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "proj_drop_rate": 0.1}
AUGMENT = Augment(shift=2, flip=0.5)


def taught(folder, model, more):
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (ROWS, SIDE, SIDE, 3), np.uint8)
    kinds = draw.integers(0, 3, ROWS)
    packed = pa.array([each.tobytes() for each in images], pa.binary(SIDE * SIDE * 3))
    table = pa.table({"image": packed, "kind": [CLASSES[kind] for kind in kinds]})
    (folder / "rows").mkdir()
    pq.write_table(table, folder / "rows" / "a.parquet")
    job = tiny_job(folder, JOB.replace("MODEL", model).replace("MORE", more))
    plan = plan_student(job, job.variants[0])
    run_trainings([plan], WorkerContext(0, 1, "cpu"))
    where, record = find_student(job, job.variants[0])
    assert record.details["steps"] == STEPS
    return plan, load_network(where.uri, record), images, kinds


def rows_of_steps(plan):
    """Row numbers of each step, in the order in which they are gathered, with the epoch."""
    from distill.loader.loader import Loader

    loader = Loader(plan.sources[0], plan.order(0), rank=0, workers=1, ahead=False)
    batches = loader.batches()
    for step in range(STEPS):
        yield step // (ROWS // BATCH), next(batches)["row"].copy()
    loader.close()


@pytest.mark.parametrize(
    ("model", "options", "more"),
    [
        (
            'name = "vit_tiny_patch16_224", options = { patch_size = 8, embed_dim = 16, depth = 2,'
            " num_heads = 2, proj_drop_rate = 0.1 }",
            {**VIT, "img_size": SIDE},
            "",
        ),
        (
            'name = "resnet10t", options = { channels = [8, 8, 16, 16], stem_width = 8 }',
            {"channels": [8, 8, 16, 16], "stem_width": 8},
            ', batch_norm = "sync", augment = { shift = 2, flip = 0.5 }',
        ),
    ],
)
def test_fine_tuning_is_another_than_a_plain_loop_of_timm(tmp_path, model, options, more):
    plan, network, images, kinds = taught(tmp_path, model, more)
    name = plan.plan.model.name
    theirs = TIMM.create_model(name, num_classes=3, in_chans=3, **options).train()
    # the same first weights: those that distill draws
    drawn = build_network(plan.plan, plan.seed)
    classifier = theirs.pretrained_cfg["classifier"]
    first = drawn.trunk.body.state_dict()
    head = drawn.heads["head_main"].state_dict()
    first |= {f"{classifier}.{part}": value for part, value in head.items()}
    theirs.load_state_dict(first)
    moved = torch.optim.AdamW(theirs.parameters(), 1e-3, weight_decay=0.0)
    augmentation = Augmentation(AUGMENT)
    for step, (epoch, rows) in enumerate(rows_of_steps(plan)):
        seen = images[rows]
        if "augment" in more:
            seen = augmentation(seen, row_seeds(plan.seed, epoch, rows))
        x = torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255
        seed_part("cpu", 0, plan.seed, step, 0)
        moved.zero_grad()
        answer = theirs((x - MEAN) / STD)
        torch.nn.functional.cross_entropy(answer, torch.from_numpy(kinds[rows])).backward()
        moved.step()
    mine = network.trunk.body.state_dict()
    head = network.heads["head_main"].state_dict()
    mine |= {f"{classifier}.{part}": value for part, value in head.items()}
    due = theirs.state_dict()
    assert mine.keys() == due.keys()
    for part, value in due.items():
        torch.testing.assert_close(mine[part], value, atol=1e-5, rtol=0)
