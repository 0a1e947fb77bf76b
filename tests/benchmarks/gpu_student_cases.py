"""The students of `gpu_students`, the teachers beside them, and the pools and jobs that they learn
from.

Two students of model kinds that a job can name: a CNN over 3×64×64 images, whose teacher is a
ViT-B/16 over the same pixels, and an MLP over 1,024 numbers, whose teacher is a wider, deeper MLP.
Either teacher takes 20 to 50 times the student's floating-point operations (test_gpu_students.py).

Shapes: B rows, F numbers a row, C classes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from distill.models.network import MultiHead, build_network
from distill.models.networks.cnn import Cnn
from distill.models.networks.mlp import Mlp
from distill.models.record import HeadPlan, NetworkPlan
from tests.benchmarks import gpu_models
from tests.benchmarks.gpu_pools import MODELS
from tests.benchmarks.pools import write_source
from tests.tiny import write_job as write_text

TEMPERATURE, KEPT = 2, 16
STUDENT, HEAD = "student", "main"
_KINDS = {"cnn": Cnn, "mlp": Mlp}
_JOB = """\
    root = "root"
    fragment_rows = {fragment_rows}
    [pools.rows]
    path = "pool"
    features = {features}
    [labels.teacher]
    labeler = {{ kind = "custom", file = "labelers.py", name = "AsleepImages" }}
    over = ["rows"]
    encoding = {{ kind = "topk", k = {kept}, temperatures = [{temperature}] }}
    batch_rows = 1024
    compute = {{ gpus = 0 }}
    [students.{student}]
    model = {model}
    terms = [{{ learns = "labels.teacher", loss = {{ kind = "kl", temperature = {temperature} }} }}]
    on = ["rows"]
    [students.{student}.training]
    precision = "bfloat16"
    compile = {compiled}
    workers = 1
    batch_rows = {batch_rows}
    epochs = 1000000
    checkpoint_epochs = 1000000
"""


@dataclass(frozen=True)
class Case:
    """One student, its teacher, and its pool."""

    name: str
    model: Mapping[str, Any]
    """As a job has it."""
    teacher: Mapping[str, Any]
    """Constants of `gpu_models` for a ViT; `hidden` for an MLP."""
    batch_rows: int
    fragment_rows: int
    group_rows: int
    shard_rows: int
    shards: int
    """Listed; a few of them are written, and linked again and again."""
    in_features: int
    side: int = 0
    """Of its images; 0: its rows are vectors."""
    classes: int = 1_000
    written: int = 4
    compiled: bool = True
    """Whether its training is; its steps are timed both ways."""

    @property
    def rows(self) -> int:
        return self.shards * self.shard_rows

    @property
    def plan(self) -> NetworkPlan:
        return _plan(self, _KINDS[self.model["kind"]](**self.model))


def _image_case(
    side: int, channels: tuple[int, ...], hidden: int, teacher: Mapping[str, Any], **sizes: int
) -> Case:
    model = {"kind": "cnn", "shape": (3, side, side), "channels": channels, "hidden": hidden}
    return Case(
        "images", model, {"side": side, **teacher}, side=side, in_features=3 * side**2, **sizes
    )


def _vector_case(
    width: int, hidden: tuple[int, ...], taught: tuple[int, ...], **sizes: int
) -> Case:
    return Case(
        "vectors", {"kind": "mlp", "hidden": hidden}, {"hidden": taught}, in_features=width, **sizes
    )


_TINY = {
    "batch_rows": 64,
    "fragment_rows": 64,
    "group_rows": 64,
    "shard_rows": 256,
    "shards": 2,
    "written": 1,
}
_TINY_VIT = {"patch": 8, "layers": 2, "width": 64, "heads": 4, "classes": 32}
CASES = (
    _image_case(
        64,
        (32, 64, 128),
        512,
        {},
        batch_rows=4_096,
        fragment_rows=2_048,
        group_rows=2_048,
        shard_rows=16_384,
        shards=16,
    ),
    _vector_case(
        1_024,
        (2_048, 2_048),
        (8_192,) * 5,
        batch_rows=4_096,
        fragment_rows=16_384,
        group_rows=8_192,
        shard_rows=32_768,
        shards=8,
    ),
)
QUICK_CASES = (
    # to compile takes longer than all else, and the other case shows that it works
    _image_case(16, (4,), 16, _TINY_VIT, classes=32, compiled=False, **_TINY),
    _vector_case(32, (32,), (128, 128), classes=32, **_TINY),
)


def find_case(name: str, quick: bool) -> Case:
    """The case of that name, tiny or not."""
    return next(case for case in (QUICK_CASES if quick else CASES) if case.name == name)


def student_network(case: Case) -> MultiHead:
    """As `distill train` builds it."""
    return build_network(case.plan)


def teacher_network(case: Case) -> nn.Module:
    """`forward(x_BF)` gives logits (B, C) of what the student sees. Of a ViT the constants of
    `gpu_models` stay set, which it reads as it computes."""
    if not case.side:
        return _Answering(build_network(_plan(case, Mlp(kind="mlp", **case.teacher))))
    for name, value in {**case.teacher, "classes": case.classes}.items():
        setattr(gpu_models, name.upper(), value)
    return _Seeing(gpu_models.VisionTransformer(), case.side)


def online_teacher(case: Case, device: str) -> Callable[[Tensor], Tensor]:
    """What a loop without stored labels asks in every step: weights and products in bfloat16, no
    gradients, never compiled."""
    network = teacher_network(case).eval().to(device, torch.bfloat16)

    @torch.no_grad()  # not inference_mode: the student's backward keeps what is answered
    def answer(x_BF: Tensor) -> Tensor:
        logits_BC: Tensor = network(x_BF.bfloat16())
        return logits_BC.float()

    return answer


def flops_of_a_row(made: Callable[[Case], nn.Module], case: Case) -> int:
    """Floating-point operations of one row's forward pass: products and convolutions."""
    with torch.device("meta"), FlopCounterMode(display=False) as counted:
        made(case)(torch.empty(1, case.in_features))
    return counted.get_total_flops()


def write_shards(folder: Path, case: Case) -> list[Path]:
    """The distinct shards of a pool, in zstd, as `gpu_pools` has them."""
    folder.mkdir(parents=True)
    paths = [folder / f"{number}.parquet" for number in range(case.written)]
    with ThreadPoolExecutor() as threads:
        list(threads.map(partial(_write_shard, case), paths))
    return paths


def write_job(folder: Path, case: Case) -> Path:
    """The job over the pool beside it. Its labeler answers the same logits for every batch: what
    they say costs a student's step nothing."""
    write_source(folder, MODELS, classes=case.classes)
    shape = f'{{ kind = "image", column = "x", shape = [{case.side}, {case.side}, 3] }}'
    told = {
        **vars(case),
        "features": shape if case.side else '{ kind = "vector", columns = ["x"] }',
        "model": "{ "
        + ", ".join(f"{name} = {json.dumps(value)}" for name, value in case.model.items())
        + " }",
        "compiled": json.dumps(case.compiled),
        "kept": KEPT,
        "temperature": TEMPERATURE,
        "student": STUDENT,
    }
    return write_text(folder, _JOB.format(**told))


class _Seeing(nn.Module):
    """A ViT of bytes that is given a student's features: channels × height × width numbers in 0..1."""

    def __init__(self, network: nn.Module, side: int) -> None:
        super().__init__()
        self.network, self.side = network, side

    def forward(self, x_BF: Tensor) -> Tensor:
        logits_BC: Tensor = self.network(
            x_BF.unflatten(1, (3, self.side, self.side)).permute(0, 2, 3, 1) * 255
        )
        return logits_BC


class _Answering(nn.Module):
    """The one head of a network of ours."""

    def __init__(self, network: MultiHead) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BF: Tensor) -> Tensor:
        logits_BC: Tensor = self.network(x_BF)[HEAD]
        return logits_BC


def _plan(case: Case, model: Cnn | Mlp) -> NetworkPlan:
    return NetworkPlan(case.in_features, model, {HEAD: HeadPlan(case.classes)})


def _write_shard(case: Case, path: Path) -> None:
    draw = np.random.default_rng(int(path.stem))
    kind = pa.binary(3 * case.side**2) if case.side else pa.list_(pa.float32(), case.in_features)
    schema = pa.schema([("x", kind)])
    with pq.ParquetWriter(
        path, schema, compression="zstd", use_dictionary=False, write_statistics=False
    ) as writer:
        for _ in range(math.ceil(case.shard_rows / case.group_rows)):
            writer.write_table(pa.table([_column(draw, case)], schema=schema))


def _column(draw: np.random.Generator, case: Case) -> pa.Array:
    """Images of 64 values, of which zstd makes three quarters; vectors of normal numbers."""
    if not case.side:
        drawn = draw.standard_normal(case.group_rows * case.in_features, np.float32)
        return pa.FixedSizeListArray.from_arrays(pa.array(drawn), case.in_features)
    size = 3 * case.side**2
    pixels = np.frombuffer(draw.bytes(case.group_rows * size), np.uint8) & 63
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(size), case.group_rows, [None, pa.py_buffer(pixels)]
    )
