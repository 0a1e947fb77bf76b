"""What structures without labels cost beside other libraries: `python -m tests.benchmarks.structure_cost`.

    pca      `exact`, whole, beside scikit-learn's IncrementalPCA of as many components
    kmeans   a pass of Lloyd's beside one of faiss and one epoch of scikit-learn's MiniBatchKMeans, over all rows; and where each ends after as many
             passes from its own start
    som      a whole fit beside torchsom's, both with their errors of each pass, on 16,000 × 300 rows and 25 × 15 units, its published case
    memory   the most that a process holds over what it had before, of rows that come in chunks and are never held together, at 1 × and 16 × the rows

Time is CPU time of one thread, as a worker has, on one core; ways alternate, ratios are of each round's pair. Rows are in memory, and distill sees them
in chunks of 16,384 as a fold gives them, partial sums merged. `--device cuda` measures, in place of all that, passes over rows that lie on the GPU beside
the matrix product alone that they cannot do without: one of k-means (10 million × 256, k = 4,096; float32) and one of PCA (4 million × 1,024; float64, all
columns: what `exact` sums). `--device cpu --quick` shows that this works.
"""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from typing import Any

import numpy as np

from tests.benchmarks.child import in_child
from tests.benchmarks.tables import markdown, options, paired_ratio, show

CHUNK = 16_384
SIZES = {"small": (64, 100), "wide": (256, 100), "many": (256, 1_024)}
"""Width and k of each case of k-means."""
PASSES, COMPONENTS = 10, 32
KINDS = ("pca", "kmeans", "som")
Ways = dict[str, Callable[[], dict[str, float]]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--rows", type=int, default=131_072)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", help="measure passes there, and nothing else")
    told = parser.parse_args(arguments)
    if told.device:
        measured = in_child(_on_device, device=told.device, quick=told.quick)
        show(told, "Passes on a device", [_device_table(measured)], measured)
        return
    rows, rounds = (4_096, 2) if told.quick else (told.rows, told.rounds)
    seconds = {"pca": in_child(_pca, rows=rows, rounds=rounds)}
    for name, (width, k) in SIZES.items():
        size = {"rows": rows, "width": width, "k": k // 8 if told.quick else k}
        seconds[f"kmeans, {name}"] = in_child(_kmeans, rounds=rounds, **size)
    seconds["som"] = in_child(_som, rows=500 if told.quick else 16_000, rounds=rounds)
    fewer = 2_048 if told.quick else 65_536
    memory = {
        kind: [in_child(_peak, kind=kind, rows=times * fewer) for times in (1, 16)]
        for kind in KINDS
    }
    measured = {"seconds": seconds, "memory": memory}
    parts = [_time_table(seconds), _memory_table(memory, fewer)]
    show(told, "Structures without labels, beside others", parts, measured)


def _time_table(seconds: dict[str, Any]) -> str:
    lines = []
    for case, ways in seconds.items():
        ours = [each["seconds"] for each in ways["distill"]]
        for name, runs in ways.items():
            theirs = [each["seconds"] for each in runs]
            ratio, low, high = paired_ratio(ours, theirs)
            nanoseconds = 1e9 * statistics.median(theirs) / runs[0]["units"]
            interval = f"{low:.2f}–{high:.2f}"
            lines.append([case, name, f"{nanoseconds:,.0f}", f"{ratio:.2f}", interval, _ends(runs)])
    heads = ["case", "way", "ns a row and pass (median)", "distill over it", "95% interval"]
    return markdown([*heads, "where it ended (median)"], lines)


def _ends(runs: list[dict[str, float]]) -> str:
    names = [name for name in runs[0] if name not in ("seconds", "units")]
    medians = {name: statistics.median(each[name] for each in runs) for name in names}
    return ", ".join(f"{name} {value:.5g}" for name, value in medians.items())


def _memory_table(memory: dict[str, Any], rows: int) -> str:
    lines = []
    for kind, peaks in memory.items():
        once, many = (f"{peak / 2**20:,.0f} MiB" for peak in peaks)
        lines.append([kind, once, many])
    return markdown(["structure", f"{rows:,} rows of 64", f"{16 * rows:,} rows"], lines)


def _device_table(measured: dict[str, dict[str, float]]) -> str:
    """A column a structure."""
    names = list(next(iter(measured.values())))
    lines = [
        [name.replace("_", " "), *(f"{each[name]:,.4g}" for each in measured.values())]
        for name in names
    ]
    return markdown(["what", *measured], lines)


def _pca(rows: int, rounds: int) -> dict[str, Any]:
    from distill.labelers.structure.pca import Pca

    x = _rows(rows, 256)
    model = Pca(kind="pca", components=COMPONENTS)

    def distill() -> dict[str, float]:
        details = _fitted(model, x)["details"]
        return {"units": rows, "explained": sum(details["explained_variance_ratio"])}

    def sklearn() -> dict[str, float]:
        from sklearn.decomposition import IncrementalPCA

        fit = IncrementalPCA(COMPONENTS)
        for start in range(0, rows, CHUNK):
            fit.partial_fit(x[start : start + CHUNK])
        return {"units": rows, "explained": float(fit.explained_variance_ratio_.sum())}

    return _alternated({"distill": distill, "scikit-learn IncrementalPCA": sklearn}, rounds)


def _kmeans(rows: int, width: int, k: int, rounds: int) -> dict[str, Any]:
    import faiss
    from sklearn.cluster import MiniBatchKMeans

    from distill.labelers.structure.kmeans import Kmeans

    x = _rows(rows, width)
    faiss.omp_set_num_threads(1)

    def distill() -> dict[str, float]:
        model = Kmeans(kind="kmeans", k=k, passes=PASSES, tolerance=0.0)
        found = _fitted(model, x)
        return {
            "seconds": found["phases"]["means"],
            "units": PASSES * rows,
            "inertia": found["details"]["inertia"],
            "start seconds": sum(
                found["phases"].get(name, 0) for name in ("look", "start", "weigh")
            ),
        }

    def by_faiss() -> dict[str, float]:
        clock = []
        for passes in (1, 1 + PASSES):
            fit = faiss.Kmeans(width, k, niter=passes, max_points_per_centroid=rows, seed=1)
            began = time.process_time()
            fit.train(x)
            clock.append(time.process_time() - began)
        distances, _ = fit.index.search(x, 1)
        inertia = float(distances.sum(dtype=np.float64))
        return {"seconds": clock[1] - clock[0], "units": PASSES * rows, "inertia": inertia}

    def by_sklearn() -> dict[str, float]:
        fit = MiniBatchKMeans(
            k, batch_size=4_096, max_iter=PASSES, n_init=1, tol=0, max_no_improvement=None
        )
        began = time.process_time()
        fit.fit(x)
        seconds = time.process_time() - began
        inertia = float(-fit.score(x))
        return {"seconds": seconds, "units": PASSES * rows, "inertia": inertia}

    ways = {"distill": distill, "faiss": by_faiss, "scikit-learn MiniBatchKMeans": by_sklearn}
    return _alternated(ways, rounds)


def _som(rows: int, rounds: int) -> dict[str, Any]:
    import torch
    import torchsom

    from distill.labelers.structure.som import Som

    x = _rows(rows, 300)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    model = Som(kind="som", rows=25, columns=15, grid="rectangular", passes=PASSES)
    names = ("quantization_error", "topographic_error")

    def distill() -> dict[str, float]:
        details = _fitted(model, x)["details"]
        return {"units": PASSES * rows, **{name: details[name] for name in names}}

    def by_torchsom() -> dict[str, float]:
        tensor = torch.from_numpy(x)
        fit = torchsom.SOM(25, 15, 300, epochs=PASSES, batch_size=32, device="cpu")
        began = time.process_time()
        fit.initialize_weights(tensor, mode="pca")
        fit.fit(tensor, verbose=False)
        seconds = time.process_time() - began
        errors = {name: getattr(fit, name)(tensor) for name in names}
        return {"seconds": seconds, "units": PASSES * rows, **errors}

    return _alternated({"distill": distill, "torchsom": by_torchsom}, rounds)


def _alternated(ways: Ways, rounds: int) -> dict[str, list[dict[str, float]]]:
    """All ways, round by round, in turn from the first and from the last, on one thread; the first
    round, which loads libraries, is thrown away."""
    import torch
    from threadpoolctl import threadpool_limits

    measured: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for number in range(rounds + 1):
            for name in list(ways) if number % 2 else list(reversed(ways)):
                began = time.process_time()
                found = ways[name]()
                seconds = time.process_time() - began
                measured[name].append({"seconds": seconds, **found})
    return {name: runs[1:] for name, runs in measured.items()}


def _fitted(model: Any, x: np.ndarray) -> dict[str, Any]:
    """A fit as a fold drives it: details for people, and CPU seconds of each phase."""
    chunks = [(x[start : start + CHUNK], start) for start in range(0, len(x), CHUNK)]
    return _driven(model, x.shape[1], len(x), lambda: iter(chunks))


def _driven(
    model: Any, width: int, rows: int, chunks: Callable[[], Iterator[tuple[np.ndarray, int]]]
) -> dict[str, Any]:
    fit = model.fit(0, "structure.measured")
    state = fit.begin(width, rows)
    phases: dict[str, float] = {}
    while not state.done:
        began = time.process_time()
        phase = state.phase
        parts = (
            fit.partial(state, values, np.arange(start, start + len(values)))
            for values, start in chunks()
        )
        state = fit.update(state, reduce(fit.merge, parts))
        phases[phase] = phases.get(phase, 0.0) + time.process_time() - began
    return {"details": fit.finish(state).plain["details"], "phases": phases}


def _peak(kind: str, rows: int) -> int:
    """Bytes that a process holds at the most, over what it had when all was imported and one fit of
    few rows was done."""
    import torch
    from threadpoolctl import threadpool_limits

    import distill.labelers.structure
    from distill.spec.structures import Structure

    assert distill.labelers.structure
    tables = {
        "pca": {"kind": "pca", "components": COMPONENTS},
        "kmeans": {"kind": "kmeans", "k": 100, "passes": 3},
        "som": {"kind": "som", "rows": 25, "columns": 15, "passes": 3},
    }
    model = Structure(of="pools.rows", model=tables[kind]).model
    torch.set_num_threads(1)

    def chunks(count: int) -> Iterator[tuple[np.ndarray, int]]:
        for start in range(0, count, CHUNK):
            yield _rows(min(CHUNK, count - start), 64, start), start

    with threadpool_limits(1):
        _driven(model, 64, 1_024, lambda: chunks(1_024))
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        _driven(model, 64, rows, lambda: chunks(rows))
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10


def _on_device(device: str, quick: bool) -> dict[str, dict[str, float]]:
    """Passes over rows on a device, and their product alone, in seconds."""
    return {"k-means": _kmeans_on(device, quick), "pca": _pca_on(device, quick)}


def _kmeans_on(device: str, quick: bool) -> dict[str, float]:
    import torch

    from distill.labelers.structure.device import sums_on_device

    rows, width, k = (20_000, 32, 64) if quick else (10_000_000, 256, 4_096)
    torch.manual_seed(0)
    x = torch.randn(rows, width, device=device)
    offsets = x[:k].cpu().numpy()
    step = min(rows, (1 << 28) // k)

    def products() -> None:
        across = x[:k].T.contiguous()
        out = torch.empty(step, k, device=device)
        for start in range(0, rows - step + 1, step):
            torch.matmul(x[start : start + step], across, out=out)

    seconds = _least_seconds(lambda: sums_on_device(x, offsets, device), device)
    least = _least_seconds(products, device)
    return _shares(rows, 2.0 * rows * width * k, seconds, least)


def _pca_on(device: str, quick: bool) -> dict[str, float]:
    import torch

    from distill.labelers.structure.device import moments_on_device

    rows, width = (20_000, 64) if quick else (4_000_000, 1_024)
    torch.manual_seed(0)
    x = torch.randn(rows, width, device=device)
    numbers = np.arange(rows)
    step = min(rows, (1 << 27) // width)

    def products() -> None:
        doubles = x[:step].double()
        out = torch.zeros(width, width, dtype=torch.float64, device=device)
        for _ in range(0, rows - step + 1, step):
            out.addmm_(doubles.T, doubles)

    seconds = _least_seconds(lambda: moments_on_device(x, numbers, device), device)
    least = _least_seconds(products, device)
    return _shares(rows, 2.0 * rows * width * width, seconds, least)


def _shares(rows: int, operations: float, seconds: float, least: float) -> dict[str, float]:
    return {
        "rows": rows,
        "pass_seconds": seconds,
        "product_seconds": least,
        "share_of_the_product": least / seconds,
        "pass_tflops": operations / seconds / 1e12,
    }


def _least_seconds(function: Callable[[], Any], device: str) -> float:
    import torch

    clock = []
    for _ in range(4):
        began = time.perf_counter()
        function()
        if device != "cpu":
            torch.cuda.synchronize()
        clock.append(time.perf_counter() - began)
    return min(clock[1:])


def _rows(rows: int, width: int, seed: int = 0) -> np.ndarray:
    """Rows of 50 groups that lie near a plane of 20 dimensions."""
    shape = np.random.default_rng(1)
    centres = 2 * shape.normal(size=(50, 20))
    plane = shape.normal(size=(20, width)) / np.sqrt(20)
    draw = np.random.default_rng(seed + 2)
    group = draw.integers(50, size=rows)
    near = centres[group] + draw.normal(size=(rows, 20))
    noise = 0.3 * draw.normal(size=(rows, width))
    return (near @ plane + noise).astype(np.float32)


if __name__ == "__main__":
    main()
