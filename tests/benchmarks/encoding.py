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
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import pyarrow as pa

from distill.labels.encoding import encode, keep_largest
from distill.labels.files import data_bytes
from distill.labels.quantize import to_gaps, to_logits
from tests.benchmarks.layouts import layouts
from tests.making import a_contract, a_topk_contract

ROWS = {1_000: 20_000, 21_841: 4_000, 128_000: 1_000}
KEPT = (8, 16, 100)
DISTRIBUTIONS = ("peaked", "long tail", "flat")
TEMPERATURES = (1.0, 4.0)
BATCH = 256
BLOCK = 1 << 20
TIMED_ROWS = 20_000
FEATURES = 32
ROUNDS = 5


@dataclass
class Chosen:
    """The 100 largest of each row, how far they lie below the largest, and sums over all classes by
    temperature."""

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
    features = draw.normal(size=(groups[-1] + 1, FEATURES))[groups] + 0.7 * draw.normal(
        size=(classes, FEATURES)
    )
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
    index, below, sums, moments, seconds = (
        [],
        [],
        {t: [] for t in TEMPERATURES},
        {t: [] for t in TEMPERATURES},
        {},
    )
    for z in logits(distribution, classes, ROWS[classes]):
        for k in KEPT:
            contract = a_topk_contract(classes, k)
            before = time.process_time()
            top, _, _ = keep_largest(z[: max(1, BLOCK // classes)], contract)
            seconds.setdefault(k, []).append((time.process_time() - before) / len(top))
        top = np.concatenate(
            [keep_largest(part, contract)[0] for part in np.array_split(z, min(32, len(z)))]
        )
        index.append(top)
        b = z.max(axis=1, keepdims=True) - z
        below.append(np.take_along_axis(b, top, axis=1))
        for temperature in TEMPERATURES:
            p = np.exp(-b / np.float32(temperature))
            sums[temperature].append(p.sum(axis=1, dtype=np.float64))
            moments[temperature].append((p * b).sum(axis=1, dtype=np.float64) / temperature)
    joined = [{t: np.concatenate(parts) for t, parts in each.items()} for each in (sums, moments)]
    return (
        Chosen(np.concatenate(index), np.concatenate(below), *joined),
        {k: median(s) for k, s in seconds.items()},
        z,
    )


def added(chosen: Chosen, classes: int, k: int, temperature: float) -> tuple[float, float, float]:
    """KL by quantization (mean, worst row) and by truncation (mean)."""
    exact = chosen.below[:, :k].astype(np.float64) / temperature
    read = -to_logits(to_gaps(chosen.below[:, :k]), temperature).astype(np.float64)
    total, kept = chosen.sums[temperature], np.exp(-exact).sum(axis=1)
    rest = np.maximum(total - kept, 0)
    stored = np.exp(-read).sum(axis=1) + rest
    moved = np.log(stored / total)
    quantised = (np.exp(-exact) / total[:, None] * (read - exact)).sum(axis=1) + moved
    rest_moment = np.maximum(chosen.moments[temperature] - (np.exp(-exact) * exact).sum(axis=1), 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        truncated = np.where(
            rest > 1e-12 * total, (-rest_moment - rest * np.log(rest / (classes - k))) / total, 0
        )
    return float(quantised.mean()), float(quantised.max()), float(truncated.mean())


def timed_rows(
    index: np.ndarray, below: np.ndarray, normalizer: np.ndarray, classes: int
) -> tuple[np.ndarray, ...]:
    """As many rows for every number of classes, so that what a file costs at all is shared alike;
    shifted and scaled, so that none repeats."""
    draw = np.random.default_rng(0)
    some = np.arange(TIMED_ROWS) % len(index)
    shift, scale = (
        draw.integers(0, classes, (TIMED_ROWS, 1)),
        draw.uniform(0.9, 1.1, (TIMED_ROWS, 1)).astype(np.float32),
    )
    return (index[some] + shift) % classes, below[some] * scale, normalizer[some]


def measured(chosen: Chosen, classes: int, k: int) -> dict[str, dict[str, float]]:
    """Of each layout: bytes a row, bytes with classes drawn at random, CPU seconds a row to write
    and to read."""
    index, below, normalizer = chosen.index[:, :k], chosen.below[:, :k], chosen.normalizer()
    random = np.random.default_rng(0).integers(0, classes, index.shape)
    many = timed_rows(index, below, normalizer, classes)
    every, told = layouts(classes, k), {}
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in every}
    for number in range(ROUNDS + 1):
        for name, layout in every.items():
            if not number:  # sizes, and that every layout holds the labels
                content = layout.write(index, below, normalizer)
                read, log_probs = layout.read(content)
                np.testing.assert_array_equal(read, index)
                assert np.isfinite(log_probs).all() or name == "TinyViT"
                sizes = [len(content), len(layout.write(random, below, normalizer))]
                told[name] = dict(
                    zip(
                        ("bytes", "bytes_random"),
                        (size / len(index) for size in sizes),
                        strict=True,
                    )
                )
                continue
            times = [time.process_time()]
            content = layout.write(*many)
            times.append(time.process_time())
            layout.read(content)
            times.append(time.process_time())
            seconds[name].append((times[1] - times[0], times[2] - times[1]))
    for name, times in seconds.items():
        write, read = (median(each) / TIMED_ROWS for each in zip(*times, strict=True))
        told[name] |= {"write": write, "read": read}
    for place, what in enumerate(("write", "read")):
        for against in ("lists, Parquet", "lists, Arrow"):
            pairs = zip(seconds[against], seconds["uint8"], strict=True)
            told["uint8"][f"{what} × {against}"] = median(
                theirs[place] / mine[place] for theirs, mine in pairs
            )
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
                case = {
                    "classes": count,
                    "distribution": distribution,
                    "k": k,
                    "choose": seconds[k],
                    "full": every,
                }
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
        kl = [
            f"{t}: {mean:.0e}, {worst:.0e} / {cut:.0e}"
            for t, (mean, worst, cut) in each["kl"].items()
        ]
        sizes.append(
            [*case, *amounts, f"{each['full']:,.0f}", f"{said['uint8']['bytes_random']:.1f}", *kl]
        )
        rates = [
            f"{1e-6 / said[name][what]:.2f}" if name in said else "–"
            for what in ("write", "read")
            for name in names
        ]
        times = [
            f"{said['uint8'][f'{what} × {name}']:.1f}"
            for what in ("write", "read")
            for name in names[3:5]
        ]
        speeds.append([*case, *rates, *times, f"{1e-3 / each['choose']:.1f}"])
    case = ["classes", "distribution", "k"]
    return "\n\n".join(
        [
            "Bytes a row. KL at T: mean and worst row by quantization / mean by truncation.",
            table(
                [
                    *case,
                    *names,
                    "full fp16",
                    "uint8, random classes",
                    *(f"KL at {t}" for t in TEMPERATURES),
                ],
                sizes,
            ),
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
