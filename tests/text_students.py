"""Students that begin as somebody's model: tiny ones, and a job that teaches them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from distill.models.files import identify_model
from distill.models.network import MultiHead, build_network
from distill.models.networks.encoder import EncoderNetwork
from distill.models.networks.static import StaticNetwork
from distill.models.record import HeadPlan, NetworkPlan
from distill.models.text_tokens import padded
from tests.tiny import write_job
from tests.tiny_models import WORDS

JOB = """
    root = "root"
    fragment_rows = 64
    [pools.rows]
    path = "rows"
    features = { kind = "text", column = "text" }
    target = "topic"
    classes = ["games", "markets", "films"]
    [pools.test]
    path = "test"
    features = { kind = "text", column = "text" }
    target = "topic"
    classes = ["games", "markets", "films"]
    [students.small]
    model = MODEL
    training = { epochs = 2, batch_rows = 32, lanes = 4, learning_rate = 1e-3 }
    [[students.small.terms]]
    learns = "pools.rows"
    loss = { kind = "cross_entropy" }
    [evaluate]
    on = "test"
"""
TOPICS = {"team": "games", "market": "markets", "film": "films"}


def some_texts(rows: int, *, seed: int = 0, longest: int = 20) -> list[str]:
    """Texts of one to so many words."""
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(1, longest + 1))) for _ in range(rows)]


def write_texts(folder: Path, rows: int, *, seed: int = 0, longest: int = 20) -> list[str]:
    """A pool of texts, each with a word that tells its topic."""
    rng = np.random.default_rng(seed)
    known = rng.choice(list(TOPICS), rows)
    bare = some_texts(rows, seed=seed, longest=longest)
    texts = [f"{word} {text}" for word, text in zip(known, bare, strict=True)]
    topics = [TOPICS[word] for word in known]
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"text": texts, "topic": topics}), folder / "0.parquet")
    return texts


def text_job(folder: Path, model: str, *, rows: int = 96, longest: int = 20) -> Path:
    """The job file of a student of this model."""
    write_texts(folder / "rows", rows, longest=longest)
    write_texts(folder / "test", 32, seed=1, longest=longest)
    return write_job(folder, JOB.replace("MODEL", model))


def encoder(folder: Path, **keys: object) -> EncoderNetwork:
    """The network of an encoder's folder, its files identified."""
    network = EncoderNetwork(kind="encoder", model=str(folder), **keys)
    return network.with_files(identify_model(str(folder), None, "model"))


def static(folder: Path, **keys: object) -> StaticNetwork:
    """The network of a table's folder, its files identified."""
    network = StaticNetwork(kind="static", model=str(folder), **keys)
    return network.with_files(identify_model(str(folder), None, "model"))


def built(model: EncoderNetwork | StaticNetwork, outputs: int = 3, seed: int = 0) -> MultiHead:
    """A student's network, ready to answer."""
    return build_network(NetworkPlan(1, model, {"main": HeadPlan(outputs)}), seed).eval()


def answers(network: MultiHead, texts: list[str], width: int | None = None) -> torch.Tensor:
    """What its one head says of texts, padded to so many tokens."""
    ids = padded(network.tokens.encode(texts), width)
    with torch.inference_mode():
        (outputs,) = network(torch.from_numpy(ids)).values()
    return outputs


def require_same(found: torch.Tensor, due: torch.Tensor, most: float = 1e-6) -> None:
    """Hold answers to another batch's, or another library's: to 1e-6 of the largest."""
    largest = max(1.0, float(due.detach().abs().max()))
    torch.testing.assert_close(found, due, atol=most * largest, rtol=0)
