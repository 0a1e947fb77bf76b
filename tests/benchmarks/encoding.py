"""What labels cost in bytes and seconds: `python -m tests.benchmarks.encoding [--out FILE.json]` prints Markdown.

Layouts of the same k classes a row: ours, by both ways to store a logit; list columns as a lake has them (Parquet) and as Arrow IPC, both
zstd; TinyViT's (int16 class, fp16 probability, packed; classes beyond 32,767 wrap, so none at 128,000); and every logit in fp16 (zstd).

Distributions, over classes in groups of 20 that lie together and share most of their features, so that a row's classes are alike:
    peaked    a trained classifier: one class has most of the mass
    long tail classes drawn by Zipf's law, with the prior in the logits
    flat      next to nothing is known: top probability of a few thousandths

Seconds are CPU seconds of one thread, so that a busy machine changes them little; rounds are interleaved and medians are told. `write` packs
k logits a row into a file's bytes; `read` gives int64 classes and float32 log-probabilities; `choose` finds the k largest and the
log-normaliser among all classes, which every layout of k needs. KL is in nats a row, p being what the labeler said:
    quantised   stored against the same k unquantised, the other classes as they were: mean, and the worst row
    truncated   the same k exactly, the others' mass spread evenly over them: what k itself costs
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distill.labels import Contract, data_bytes, decode, encode, label_schema, read_data
from distill.labels.codes import to_gaps, to_logits
from distill.labels.encoding import _keep, _packed, _topk_parts
from tests.making import a_contract, a_topk_contract

ROWS = {1_000: 20_000, 21_841: 4_000, 128_000: 1_000}
KEPT = (8, 16, 100)
DISTRIBUTIONS = ("peaked", "long tail", "flat")
TEMPERATURES = (1.0, 4.0)
BATCH = 256
BLOCK = 1 << 20
FEATURES = 32
ROUNDS = 5


@dataclass
class Chosen:
    """The 100 largest of each row, how far they lie below the largest, and sums over all classes by temperature."""

    index: np.ndarray
    below: np.ndarray
    sums: dict[float, np.ndarray]
    """Σ exp(−b / T)"""
    moments: dict[float, np.ndarray]
    """Σ exp(−b / T) · b / T"""

    def normalizer(self, temperature: float = 1.0) -> np.ndarray:
        return np.log(self.sums[temperature])


def logits(distribution: str, classes: int, rows: int) -> Iterator[np.ndarray]:
    """Batches (B, C) of logits."""
    draw = np.random.default_rng(0)
    groups = np.arange(classes) * max(2, classes // 20) // classes
    features = draw.normal(size=(groups[-1] + 1, FEATURES))[groups] + 0.7 * draw.normal(size=(classes, FEATURES))
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    prior = draw.permutation(1 / np.arange(1, classes + 1))
    prior /= prior.sum()
    scale, bias, truth = {
        "peaked": (22.0, 0.0, None),
        "long tail": (8.0, 0.6 * np.log(prior).astype(np.float32), prior),
        "flat": (0.7, 0.0, None),
    }[distribution]
    for start in range(0, rows, BATCH):
        true = draw.choice(classes, min(BATCH, rows - start), p=truth)
        seen = features[true] + 0.16 * draw.normal(size=(len(true), FEATURES)).astype(np.float32)
        noise = draw.standard_normal((len(true), classes), np.float32)
        yield np.float32(scale) * (seen @ features.T) + bias + np.float32(0.3) * noise


def choose(distribution: str, classes: int) -> tuple[Chosen, dict[int, float], np.ndarray]:
    """The largest of all rows, CPU seconds of choosing k by k, and the last batch."""
    index, below, sums, moments, seconds = [], [], {t: [] for t in TEMPERATURES}, {t: [] for t in TEMPERATURES}, {}
    for z in logits(distribution, classes, ROWS[classes]):
        for k in KEPT:
            contract = a_topk_contract(classes, k)
            before = time.process_time()
            top, _, _ = _keep(z[: max(1, BLOCK // classes)], contract)
            seconds.setdefault(k, []).append((time.process_time() - before) / len(top))
        top = np.concatenate([_keep(part, contract)[0] for part in np.array_split(z, min(32, len(z)))])
        index.append(top)
        b = z.max(axis=1, keepdims=True) - z
        below.append(np.take_along_axis(b, top, axis=1))
        for temperature in TEMPERATURES:
            p = np.exp(-b / np.float32(temperature))
            sums[temperature].append(p.sum(axis=1, dtype=np.float64))
            moments[temperature].append((p * b).sum(axis=1, dtype=np.float64) / temperature)
    joined = [{t: np.concatenate(parts) for t, parts in each.items()} for each in (sums, moments)]
    return Chosen(np.concatenate(index), np.concatenate(below), *joined), {k: median(s) for k, s in seconds.items()}, z


def added(chosen: Chosen, classes: int, k: int, temperature: float) -> tuple[float, float, float]:
    """KL by quantisation (mean, worst row) and by truncation (mean)."""
    exact = chosen.below[:, :k].astype(np.float64) / temperature
    read = -to_logits(to_gaps(chosen.below[:, :k]), temperature).astype(np.float64)
    total, kept = chosen.sums[temperature], np.exp(-exact).sum(axis=1)
    rest = np.maximum(total - kept, 0)
    stored = np.exp(-read).sum(axis=1) + rest
    moved = np.log(stored / total)
    quantised = (np.exp(-exact) / total[:, None] * (read - exact)).sum(axis=1) + moved
    rest_moment = np.maximum(chosen.moments[temperature] - (np.exp(-exact) * exact).sum(axis=1), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        truncated = np.where(rest > 1e-12 * total, (-rest_moment - rest * np.log(rest / (classes - k))) / total, 0)
    return float(quantised.mean()), float(quantised.max()), float(truncated.mean())


@dataclass
class Layout:
    """How k logits a row become bytes, and bytes become classes and log-probabilities."""

    write: Callable[[np.ndarray, np.ndarray, np.ndarray], bytes]
    read: Callable[[bytes], tuple[np.ndarray, np.ndarray]]


def ours(contract: Contract) -> Layout:
    def write(index: np.ndarray, below: np.ndarray, normalizer: np.ndarray) -> bytes:
        kept = to_gaps(below) if contract.dtype == "uint8" else (-below).astype("<f2")
        parts = _topk_parts(index, kept, normalizer[:, None].astype("<f4"), contract)
        schema, labelled = label_schema(contract), np.ones(len(index), bool)
        return data_bytes(pa.table([_packed(parts[f.name], labelled, f.type) for f in schema], schema=schema), contract)

    def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
        soft = decode(read_data(content, contract), contract, 1.0)
        return soft.index, soft.log_probs

    return Layout(write, read)


def lists(classes: int, k: int, *, parquet: bool) -> Layout:
    """List columns of classes and fp16 log-probabilities, made the quick way: from flat arrays and offsets."""
    kind = np.uint16 if classes <= 1 << 16 else np.uint32

    def write(index: np.ndarray, below: np.ndarray, normalizer: np.ndarray) -> bytes:
        offsets = pa.array(np.arange(0, index.size + 1, k, dtype=np.int32))
        log_probs = (-below - normalizer[:, None].astype(np.float32)).astype(np.float16)
        flat = {"index": pa.array(index.astype(kind).ravel()), "log_prob": pa.array(log_probs.ravel())}
        table = pa.table({name: pa.ListArray.from_arrays(offsets, values) for name, values in flat.items()})
        sink = pa.BufferOutputStream()
        if parquet:
            pq.write_table(table, sink, compression="zstd")
        else:
            options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
            with pa.ipc.new_file(sink, table.schema, options=options) as writer:
                writer.write_table(table)
        return bytes(sink.getvalue())

    def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
        buffer = pa.py_buffer(content)
        table = (
            pq.read_table(pa.BufferReader(buffer), use_threads=False)
            if parquet
            else pa.ipc.open_file(buffer).read_all()
        )
        flat = [table[name].combine_chunks().flatten().to_numpy().reshape(-1, k) for name in ("index", "log_prob")]
        return flat[0].astype(np.int64), flat[1].astype(np.float32)

    return Layout(write, read)


def tinyvit(k: int) -> Layout:
    def write(index: np.ndarray, below: np.ndarray, normalizer: np.ndarray) -> bytes:
        probabilities = np.exp(-below - normalizer[:, None].astype(np.float32)).astype("<f2")
        return np.hstack([index.astype("<i2").view("u1"), probabilities.view("u1")]).tobytes()

    def read(content: bytes) -> tuple[np.ndarray, np.ndarray]:
        rows = np.frombuffer(content, "u1").reshape(-1, 4 * k)
        with np.errstate(divide="ignore"):
            log_probs = np.log(np.ascontiguousarray(rows[:, 2 * k :]).view("<f2").astype(np.float32))
        return np.ascontiguousarray(rows[:, : 2 * k]).view("<i2").astype(np.int64), log_probs

    return Layout(write, read)


def layouts(classes: int, k: int) -> dict[str, Layout]:
    parquet = Contract(**{**vars(a_topk_contract(classes, k)), "format": "parquet"})
    made = {
        "uint8": ours(a_topk_contract(classes, k)),
        "float16": ours(a_topk_contract(classes, k, values="float16")),
        "uint8, Parquet": ours(parquet),
        "lists, Parquet": lists(classes, k, parquet=True),
        "lists, Arrow": lists(classes, k, parquet=False),
    }
    return made | ({"TinyViT": tinyvit(k)} if classes <= 1 << 15 else {})


def measured(chosen: Chosen, classes: int, k: int) -> dict[str, dict[str, float]]:
    """Of each layout: bytes a row, bytes with classes drawn at random, CPU seconds a row to write and to read."""
    index, below, normalizer = chosen.index[:, :k], chosen.below[:, :k], chosen.normalizer()
    rows, random = len(index), np.random.default_rng(0).integers(0, classes, index.shape)
    every, told = layouts(classes, k), {}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
    for number in range(ROUNDS + 1):
        for name, layout in every.items():
            times = [time.process_time()]
            content = layout.write(index, below, normalizer)
            times.append(time.process_time())
            read, log_probs = layout.read(content)
            times.append(time.process_time())
            if number:  # the first round warms up, and proves that every layout holds the labels
                seconds[name].append((times[1] - times[0], times[2] - times[1]))
                continue
            np.testing.assert_array_equal(read, index)
            worst = len(layout.write(random, below, normalizer)) / rows
            told[name] = {"bytes": len(content) / rows, "bytes_random": worst}
            assert np.isfinite(log_probs).all() or name == "TinyViT"
    for name, times in seconds.items():
        write, read = (median(each) / rows for each in zip(*times, strict=True))
        told[name] |= {"write": write, "read": read}
    for place, what in enumerate(("write", "read")):
        for against in ("lists, Parquet", "lists, Arrow"):
            pairs = zip(seconds[against], seconds["uint8"], strict=True)
            told["uint8"][f"{what} × {against}"] = median(theirs[place] / mine[place] for theirs, mine in pairs)
    return told


def full(z: np.ndarray, classes: int) -> float:
    """Bytes a row of every logit as fp16, zstd."""
    contract = a_contract(tuple(map(str, range(classes))), dtype="float16")
    return len(data_bytes(encode(z, np.ones(len(z), bool), contract), contract)) / len(z)


def run(classes: list[int]) -> list[dict[str, object]]:
    results: list[dict[str, object]] = []
    for count in classes:
        for distribution in DISTRIBUTIONS:
            chosen, seconds, z = choose(distribution, count)
            every = full(z, count)
            for k in KEPT:
                kl = {str(t): added(chosen, count, k, t) for t in TEMPERATURES}
                case = {"classes": count, "distribution": distribution, "k": k, "choose": seconds[k], "full": every}
                results.append({**case, "kl": kl, "layouts": measured(chosen, count, k)})
    return results


def table(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])


def markdown(results: list[dict]) -> str:
    """Bytes and KL, then speed."""
    names = ["uint8", "float16", "uint8, Parquet", "lists, Parquet", "lists, Arrow", "TinyViT"]
    sizes, speeds = [], []
    for each in results:
        case, said = [f"{each['classes']:,}", each["distribution"], str(each["k"])], each["layouts"]
        amounts = [f"{said[name]['bytes']:.1f}" if name in said else "–" for name in names]
        kl = [f"{t}: {mean:.0e}, {worst:.0e} / {cut:.0e}" for t, (mean, worst, cut) in each["kl"].items()]
        sizes.append([*case, *amounts, f"{each['full']:,.0f}", f"{said['uint8']['bytes_random']:.1f}", *kl])
        rates = [
            f"{1e-6 / said[name][what]:.2f}" if name in said else "–" for what in ("write", "read") for name in names
        ]
        times = [f"{said['uint8'][f'{what} × {name}']:.1f}" for what in ("write", "read") for name in names[3:5]]
        speeds.append([*case, *rates, *times, f"{1e-3 / each['choose']:.1f}"])
    case = ["classes", "distribution", "k"]
    return "\n\n".join(
        [
            "Bytes a row. KL at T: mean and worst row by quantisation / mean by truncation.",
            table([*case, *names, "full fp16", "uint8, random classes", *(f"KL at {t}" for t in TEMPERATURES)], sizes),
            "Millions of rows a second and core, and how many times faster uint8 is (median of pairs); `choose` in thousands of rows a second.",
            table(
                [*case, *(f"{what} {name}" for what in ("write", "read") for name in names)]
                + [f"{what} × {name}" for what in ("write", "read") for name in names[3:5]]
                + ["choose"],
                speeds,
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="where the figures go as JSON")
    parser.add_argument("--classes", type=int, nargs="+", default=list(ROWS), choices=list(ROWS))
    told = parser.parse_args()
    pa.set_cpu_count(1)
    results = run(told.classes)
    if told.out:
        told.out.write_text(json.dumps(results, indent=1), "utf-8")
    print(markdown(results))


if __name__ == "__main__":
    main()
