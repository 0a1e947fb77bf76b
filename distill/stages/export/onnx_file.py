"""A student as one ONNX file, for programs without torch: `features` goes in, each head's outputs
come out under the head's name.

torch's exporter translates a copy of the network. Two things of it are ours:

    the bag of n-grams    `nn.EmbeddingBag` is a loop over rows in ONNX; the mean over the places
                          that hold an n-gram is the same, zeros for a text without any included
    names and notes       inner values get names of ours (torch's may be a head's: `linear`,
                          `relu`), and torch's notes on where each operation comes from go; so the
                          same weights are the same bytes, which name no folder of this machine

No translation is trusted (onnxscript 0.7.0's GRU differed by 8% from torch's): the bytes that will
be written are opened by ONNX Runtime and predict rows of the student's pool, and one with nothing
in it, in batches of several sizes, beside the network itself. torch's exporter walks through a GRU
step by step, 0.05 s a step and layer; in the file it is one operation.
"""

from __future__ import annotations

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  torch's own habit

from distill.core.errors import ExportError, JobError, MissingExtraError
from distill.labelers.runtime import computing
from distill.models.network import MultiHead
from distill.models.record import ModelRecord

GIVEN = "features"  # what the file calls its input
CLASSES = "classes"  # of its metadata: the names of each head's outputs, as JSON
# how far ONNX Runtime may be from torch, as a share of the head's largest output: 3·10⁻⁵. The same
# float32 numbers added in another order: 6·10⁻⁶ for a sum over 150,528 features, below 10⁻⁶ for
# most students.
TOLERANCE = 2.0**-15
# no empty one: ONNX Runtime 1.32 aborts the process when the GRU is given no row
_BATCHES = (1, 2, 7)
# weights lie within the file, which Protocol Buffers keep below 2 GiB
_MOST_BYTES = (1 << 31) - (1 << 20)  # of weights; the rest is for the graph


def require_onnx_extra() -> None:
    """Refuse to begin work whose result could not be exported.

    Raises MissingExtraError where the extra `onnx` is not installed."""
    for library in ("onnx", "onnxscript", "onnxruntime"):
        if find_spec(library) is None:
            raise MissingExtraError(library, "onnx", "export to ONNX")


def onnx_file(where: str, record: ModelRecord, network: MultiHead, seen: Tensor) -> bytes:
    """Return the file's bytes, checked against the network on the rows `seen`, as it sees them.

    Raises JobError where it cannot be one file, ExportError where torch cannot translate it or ONNX
    Runtime predicts something else."""
    require_onnx_extra()
    _require_one_file(where, record, network)
    nothing = 0 if network.tokens is None else -1
    empty_row = torch.full_like(seen[:1], nothing)  # of texts: one without n-grams or tokens
    parts = [empty_row, seen]
    rows = torch.cat(parts)
    try:
        content = translate(record, network, rows[:2])
    except torch.onnx.OnnxExporterError as error:  # a network of the user's own may do anything
        message = f"{where}: torch's exporter cannot translate it, so nothing was written: {error}"
        raise ExportError(message) from error
    check_answers(where, content, network, rows)
    return content


def translate(record: ModelRecord, network: MultiHead, seen: Tensor) -> bytes:
    """Return the network as ONNX, unchecked; `seen` are two rows or more, as it sees them."""
    heads = list(record.heads)
    with _quiet_exporter(), torch.inference_mode(False), torch.no_grad():
        program = torch.onnx.export(
            _Exported(network, heads).eval(),
            (seen,),
            input_names=[GIVEN],
            dynamic_shapes=(_dynamic(network),),
            dynamo=True,
            verbose=False,
        )
        assert program is not None
        _rename(program.model, heads)
        named = {head: list(outputs.classes) for head, outputs in record.heads.items()}
        identity = {"student": record.digest, "weights_sha256": record.sha256}
        program.model.metadata_props.update(identity)
        program.model.metadata_props[CLASSES] = json.dumps(named, ensure_ascii=False)
        content: bytes = program.model_proto.SerializeToString()
    return content


def _dynamic(network: MultiHead) -> dict[int, Any]:
    """The sides of what goes in that are of any length: rows, and tokens of the longest text."""
    rows = {0: torch.export.Dim("rows")}
    return rows if network.tokens is None else {**rows, 1: torch.export.Dim("tokens")}


def check_answers(where: str, content: bytes, network: MultiHead, rows: Tensor) -> None:
    """Give ONNX Runtime and the network the same rows, in batches of several sizes. Raises
    ExportError where their outputs differ."""
    import onnxruntime

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    with computing("cpu", "float32"):
        outputs = network(rows)
        largest = {head: float(values.abs().max()) for head, values in outputs.items()}
        for size in (*_BATCHES, len(rows)):
            batch = rows[:size]
            due = network(batch)
            predicted = session.run(list(due), {GIVEN: batch.numpy()})
            for (head, values), onnx_values in zip(due.items(), predicted, strict=True):
                differences = (torch.from_numpy(onnx_values) - values).abs()
                difference = float(differences.max())
                # not `>`: a NaN must not pass
                if not difference <= TOLERANCE * largest[head]:
                    raise _difference_error(where, head, len(batch), difference, largest[head])


def _difference_error(
    where: str, head: str, rows: int, difference: float, largest: float
) -> ExportError:
    import onnxruntime

    return ExportError(
        f"{where}: in a batch of {rows}, ONNX Runtime {onnxruntime.__version__} answers by up to"
        f" {difference:.3g} otherwise than torch {torch.__version__} for the head {head!r},"
        f" whose largest answer is {largest:.3g};"
        f" {TOLERANCE * largest:.3g} ({TOLERANCE:.2g} of that) may be."
        " Nothing was written. Export without ONNX, or try other versions of onnx, onnxscript and"
        " onnxruntime."
    )


def _require_one_file(where: str, record: ModelRecord, network: MultiHead) -> None:
    """Raises JobError where the student cannot be one ONNX file."""
    if GIVEN in record.heads:
        raise JobError(
            f"{where}: a head is called {GIVEN!r}, which is what an ONNX file calls its input."
            " Name the head otherwise, or export without ONNX."
        )
    size = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size > _MOST_BYTES:
        raise JobError(
            f"{where}: its weights are {size:,} bytes, but an ONNX file that holds them has room"
            f" for {_MOST_BYTES:,}. Export without ONNX: weights.safetensors and model.py have no"
            " such limit."
        )


class _Exported(nn.Module):
    """A copy of the network that returns its heads in order, in operations that ONNX knows."""

    def __init__(self, network: MultiHead, heads: list[str]) -> None:
        super().__init__()
        # the caller's network goes on with its own layers
        self.network = copy.deepcopy(network)
        self.names = heads
        for module in list(self.network.modules()):
            for name, part in list(module.named_children()):
                if isinstance(part, nn.EmbeddingBag):
                    mean = _MeanOfPlaces(part)
                    setattr(module, name, mean)

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(features)
        return tuple(outputs[name] for name in self.names)


class _MeanOfPlaces(nn.Module):
    """The mean of the rows of a table (places, H) at the places (B, L) of a text that are not 0;
    zeros where all are."""

    def __init__(self, bag: nn.EmbeddingBag) -> None:
        super().__init__()
        self.weight = bag.weight

    def forward(self, places_BL: Tensor) -> Tensor:
        # `nn.EmbeddingBag` would be a loop over rows in ONNX
        is_used_BL1 = (places_BL != 0).to(self.weight.dtype)[:, :, None]
        total_BH = (F.embedding(places_BL, self.weight) * is_used_BL1).sum(1)
        counts_B = is_used_BL1.sum(1)
        count_B1 = counts_B.clamp_min(1)
        return total_BH / count_B1


def _rename(model: Any, heads: list[str]) -> None:
    """Name outputs as the heads, and everything within by its number and a dot, which no head's
    name has; take torch's notes away."""
    graph = model.graph
    values = [value for node in graph for value in node.outputs]
    initializers = graph.initializers.values()
    constants = list(initializers)
    for number, node in enumerate(graph):
        node.name = f"node.{number}"
    for number, value in enumerate(values):
        value.name = f"value.{number}"
    for number, constant in enumerate(constants):
        if "." not in constant.name:  # weights have torch's names, which have dots
            constant.name = f"constant.{number}"
    for value, head in zip(graph.outputs, heads, strict=True):
        value.name = head
    for each in (model, graph, *graph, *graph.inputs, *values, *constants):
        # torch's notes name files of this machine, so the same weights would be other bytes
        each.metadata_props.clear()


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Silence what torch's exporter says to its own authors: deprecations within it, and that
    torchvision is not there."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
