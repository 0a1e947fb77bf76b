"""Photographs per CPU-second, from Parquet to what a labeler is given: `python -m tests.benchmarks.image_decoding`.

    distill        rows as the label stage reads them, `preprocess` with shorter side 256 and the centre of 224 × 224
    plain          a loop over the same file: simplejpeg at the smallest scale that keeps 256 lines, pillow's bicubic resize and crop, one array a batch
    pillow         the same by pillow's draft, without simplejpeg
    as before      rows as the label stage reads them with `resize`: decoded whole, and stretched

One process, one thread, by turns; CPU time of the process. A photograph here is a picture of scikit-learn's, enlarged, with noise as a sensor's,
at quality 90: 500 × 375 of about 60 kB, and 2,000 × 1,500 of about 600 kB.
"""

from __future__ import annotations

import io
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from distill.spec.pools import ImageFeatures
from distill.spec.preprocess import Preprocess
from tests.benchmarks.tables import markdown, options, paired_ratio, show

SIDE, SHORTER, BATCH_ROWS = 224, 256, 32
SHAPE = (SIDE, SIDE, 3)
SIZES = {"500 × 375": (500, 375), "2,000 × 1,500": (2000, 1500)}
KEY = "photographs.parquet"
NEW = ImageFeatures(
    kind="image", column="jpeg", shape=SHAPE, preprocess=Preprocess(sides=(SHORTER, SHORTER))
)
OLD = ImageFeatures(kind="image", column="jpeg", shape=SHAPE, resize="bicubic")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print Markdown."""
    parser = options(__doc__)
    parser.add_argument("--images", type=int, default=96, help="small ones; an eighth of large")
    parser.add_argument("--rounds", type=int, default=15)
    told = parser.parse_args(arguments)
    if told.quick:
        told.images, told.rounds = 8, 2
    measured = {}
    with tempfile.TemporaryDirectory(dir=told.folder) as folder:
        for name, size in SIZES.items():
            count = told.images if name == "500 × 375" else max(2, told.images // 8)
            place = Path(folder) / name.replace(" ", "")
            place.mkdir()
            _write(place / KEY, size, count)
            measured[name] = _rates(place, count, told.rounds)
    show(told, "Decoding photographs", [_table(measured)], measured)


def _rates(folder: Path, count: int, rounds: int) -> dict[str, list[float]]:
    """Images per CPU-second of each way, round by round."""
    ways: dict[str, Callable[[Path, int], int]] = {
        "distill": lambda *of: _distill(*of, NEW),
        "plain": lambda *of: _plain(*of, _by_simplejpeg),
        "pillow": lambda *of: _plain(*of, _by_pillow),
        "as before": lambda *of: _distill(*of, OLD),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(-1, rounds):  # the first round loads libraries and is not counted
        for name in list(ways) if number % 2 else list(reversed(ways)):
            began = time.process_time()
            given = ways[name](folder, count)
            spent = time.process_time() - began
            assert given == count, f"{name} gave {given} of {count} images"
            if number >= 0:
                rates[name].append(count / spent)
    return rates


def _table(measured: dict[str, dict[str, list[float]]]) -> str:
    rows = []
    for size, rates in measured.items():
        for name, each in rates.items():
            ratio, low, high = paired_ratio(rates["distill"], each)
            median = float(np.median(each))
            rows.append([size, name, f"{median:,.0f}", f"{ratio:.2f}", f"{low:.2f}–{high:.2f}"])
    heads = ["JPEG", "way", "images per CPU-second (median)", "distill over it", "95% interval"]
    return markdown(heads, rows)


def _distill(folder: Path, count: int, features: ImageFeatures) -> int:
    from distill.stages.label.row_reader import RowRequest, read_chunks

    request = RowRequest(
        files=str(folder),
        key=KEY,
        shard_id="",
        start=0,
        rows=count,
        features=features,
        width=math.prod(SHAPE),
        batch_rows=BATCH_ROWS,
        format="parquet",
    )
    given = 0
    for chunk in read_chunks(request):
        assert not chunk.rows.rejected
        given += len(chunk.rows.values)
    return given


def _plain(folder: Path, count: int, decode: Callable[[bytes], Image.Image]) -> int:
    given = 0
    for batch in pq.ParquetFile(folder / KEY).iter_batches(BATCH_ROWS, columns=["jpeg"]):
        images = np.empty((len(batch), *SHAPE), np.uint8)
        for row, content in enumerate(batch["jpeg"]):
            images[row] = np.asarray(_cut(decode(content.as_py())))
        given += len(images)
    return given


def _by_simplejpeg(content: bytes) -> Image.Image:
    import simplejpeg

    pixels = simplejpeg.decode_jpeg(content, "RGB", min_height=SHORTER, min_width=SHORTER)
    return Image.fromarray(pixels)


def _by_pillow(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.draft("RGB", (SHORTER, SHORTER))
    return image.convert("RGB")


def _cut(image: Image.Image) -> Image.Image:
    shorter = min(image.size)
    scaled = (SHORTER * image.width // shorter, SHORTER * image.height // shorter)
    resized = image.resize(scaled, Image.Resampling.BICUBIC)
    left = (resized.width - SIDE) // 2
    top = (resized.height - SIDE) // 2
    return resized.crop((left, top, left + SIDE, top + SIDE))


def _write(file: Path, size: tuple[int, int], count: int) -> None:
    pictures = _pictures(size)
    contents = []
    for number in range(count):
        draw = np.random.default_rng(number)
        pixels = pictures[number % len(pictures)] + draw.normal(0, 3, (*size[::-1], 3))
        sink = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(sink, "JPEG", quality=90)
        contents.append(sink.getvalue())
    table = pa.table({"jpeg": pa.array(contents, pa.binary())})
    pq.write_table(table, file, compression="none", row_group_size=BATCH_ROWS)


def _pictures(size: tuple[int, int]) -> list[np.ndarray]:
    """Photographs that scikit-learn ships."""
    from sklearn.datasets import load_sample_images

    found = []
    for pixels in load_sample_images().images:
        image = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
        found.append(np.asarray(image, np.float32))
    return found


if __name__ == "__main__":
    main()
