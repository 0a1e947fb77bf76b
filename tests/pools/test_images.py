"""Images: equal to what was drawn, and whatever is none keeps its slot and is named."""

from __future__ import annotations

import base64
import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from distill.core.errors import PoolError
from distill.pools.features import as_matrix, decode_features, feature_width
from distill.spec.pools import ImageFeatures

DRAWN = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)


def features(shape=(5, 4, 3), **options):
    return ImageFeatures(kind="image", column="x", shape=shape, **options)


def packed(image: np.ndarray, kind: str = "PNG", mode: str | None = None) -> bytes:
    sink = io.BytesIO()
    made = Image.fromarray(image.squeeze())
    (made.convert(mode) if mode else made).save(sink, kind)
    return sink.getvalue()


def decoded(column, spec=None):
    return decode_features(pa.table({"x": column}), spec or features(), 60)


def as_struct(contents, kind=pa.binary()):  # noqa: B008
    """As Hugging Face's `datasets` writes images."""
    fields = pa.struct([("bytes", kind), ("path", pa.string())])
    return pa.array([{"bytes": content, "path": "a.png"} for content in contents], fields)


PNGS = [packed(image) for image in DRAWN]
FLAT = [image.tobytes() for image in DRAWN]


@pytest.mark.parametrize(
    ("column", "options"),
    [
        (pa.array(PNGS), {}),
        (pa.array(PNGS, pa.large_binary()), {}),
        (pa.array([base64.b64encode(png).decode() for png in PNGS]), {}),
        (pa.array(FLAT, pa.binary(60)), {}),
        (pa.array(FLAT), {"encoded": False}),
        (pa.array([list(flat) for flat in FLAT], pa.list_(pa.uint8(), 60)), {}),
        (pa.array([list(flat) for flat in FLAT], pa.list_(pa.int64())), {}),
        (as_struct(PNGS), {}),
        (as_struct(PNGS, pa.large_binary()), {}),
        (as_struct(FLAT), {"encoded": False}),
        (pa.array(DRAWN.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8())))), {}),
        (pa.array(DRAWN.tolist(), pa.list_(pa.list_(pa.list_(pa.uint8(), 3), 4), 5)), {}),
    ],
)
def test_a_way_of_storing_changes_the_image(column, options):
    rows = decoded(pa.chunked_array([column.slice(0, 1), column.slice(1)]), features(**options))
    assert rows.rejected == {}
    assert rows.values.dtype == np.uint8
    assert rows.values.flags.writeable  # a labeler of one's own may work in place
    np.testing.assert_array_equal(rows.values, DRAWN)


def test_a_network_sees_channels_in_another_order_or_scale():
    matrix = as_matrix(DRAWN)
    assert matrix.shape == (3, 60)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(
        matrix.reshape(3, 3, 5, 4)[:, 2, 1, 3], DRAWN[:, 1, 3, 2].astype(np.float32) / 255
    )
    vector = np.ones((2, 3), np.float32)
    assert as_matrix(vector) is vector


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_mode_of_pillow_is_rejected_or_shaped_otherwise(mode, channels):
    rows = decoded(pa.array([packed(DRAWN[0], mode=mode)]), features((5, 4, channels)))
    assert rows.rejected == {}
    assert rows.values.shape == (1, 5, 4, channels)


def test_a_jpeg_is_no_image():
    rows = decoded(pa.array([packed(np.full((5, 4, 3), 100, np.uint8), "JPEG")]))
    assert np.abs(rows.values.astype(int) - 100).max() <= 2


def test_another_size_is_resized_unasked_or_not_where_asked():
    large = np.repeat(np.repeat(DRAWN[0], 2, axis=0), 2, axis=1)
    column = pa.array([packed(large), PNGS[1]])
    rows = decoded(column)
    code, said = rows.rejected[0]
    assert (code, said) == (
        "shape",
        "column 'x' is 8 wide and 10 high, not 4 and 5; `resize` would bring it there",
    )
    resized = decoded(column, features(resize="bilinear"))
    assert resized.rejected == {}
    due = Image.fromarray(large).resize((4, 5), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resized.values[0], np.asarray(due))
    np.testing.assert_array_equal(resized.values[1], DRAWN[1])


def huge_png() -> bytes:
    """One that says 12,000 × 12,000 pixels in some 60 bytes."""

    def chunk(name, body):
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = struct.pack(">IIBBBBB", 12_000, 12_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


def deep_png() -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((5, 4), 40_000, np.uint16)).save(sink, "PNG")
    return sink.getvalue()


def gif() -> bytes:
    return packed(DRAWN[0], "GIF")


@pytest.mark.parametrize(
    "broken", [b"", b"no image", PNGS[0][:60], PNGS[0][:-30], huge_png(), deep_png(), gif()]
)
def test_bytes_that_are_no_image_stop_the_job_or_move_their_neighbours(broken):
    rows = decoded(pa.array([PNGS[0], broken, None, PNGS[2]]))
    assert {row: code for row, (code, _) in rows.rejected.items()} == {1: "undecodable", 2: "null"}
    assert all("column 'x'" in said for _, said in rows.rejected.values())
    np.testing.assert_array_equal(
        rows.values, [DRAWN[0], np.zeros((5, 4, 3)), np.zeros((5, 4, 3)), DRAWN[2]]
    )


def test_raw_bytes_of_another_size_or_range_are_taken():
    lists = pa.array(
        [list(FLAT[0]), [1, 2], [300] + [0] * 59, [None] + [0] * 59], pa.list_(pa.int64())
    )
    rows = decoded(lists)
    assert {row: code for row, (code, _) in rows.rejected.items()} == {
        1: "shape",
        2: "undecodable",
        3: "undecodable",
    }
    assert rows.rejected[1][1] == "column 'x' has 2 bytes, not 5 × 4 × 3"
    shard = decoded(pa.array([b"123"], pa.binary(3)))
    assert shard.rejected[0][0] == "shape"


@pytest.mark.parametrize(
    ("kind", "spec", "said"),
    [
        (pa.float32(), features(), "holds no images"),
        (pa.list_(pa.float32()), features(), "holds no images"),
        (pa.binary(61), features(), r"holds 61 bytes a row, but shape = \[5, 4, 3\] is 60"),
        (pa.list_(pa.uint8(), 61), features(), "holds 61 bytes a row"),
        (pa.binary(), features((5, 4, 2)), "1, 3 or 4 channels"),
        (pa.int8(), features(encoded=True), "no encoded images"),
    ],
)
def test_a_column_that_cannot_be_the_image_is_told_only_row_by_row(kind, spec, said):
    schema = pa.schema([("x", kind)])
    with pytest.raises(PoolError, match=said):
        feature_width(schema, spec, schema.empty_table())


def test_the_width_is_not_that_of_the_matrix():
    schema = pa.schema([("x", pa.binary())])
    assert feature_width(schema, features(), schema.empty_table()) == 60


def test_an_image_that_is_only_named_is_a_null_without_a_word():
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": PNGS[0], "path": None}, {"bytes": None, "path": "b.png"}, None]
    taken = decoded(pa.array(rows, kind))
    assert taken.rejected == {
        1: ("undecodable", "column 'x' names the file 'b.png' and lacks its bytes"),
        2: ("null", "column 'x' is null"),
    }
    np.testing.assert_array_equal(taken.values[0], DRAWN[0])


def test_a_struct_of_something_else_is_taken_for_an_image():
    with pytest.raises(PoolError, match=r"of type struct.* holds no images"):
        decoded(pa.array([{"a": 1}]))


def test_lists_of_another_shape_are_folded_into_the_image():
    """As many bytes, channels first or ragged: rows that never were."""
    kind = pa.list_(pa.list_(pa.list_(pa.int64())))
    ragged = DRAWN[0].tolist()
    ragged[0], ragged[1] = ragged[0][:3], [*ragged[1], ragged[0][3]]
    rows = [DRAWN[0].tolist(), DRAWN[1].transpose(2, 0, 1).tolist(), ragged, None]
    taken = decoded(pa.array(rows, kind))
    assert {row: code for row, (code, _) in taken.rejected.items()} == {
        1: "shape",
        2: "shape",
        3: "null",
    }
    np.testing.assert_array_equal(taken.values[0], DRAWN[0])


def test_grey_lists_need_a_channel():
    grey = pa.array(DRAWN[:, :, :, 0].tolist(), pa.list_(pa.list_(pa.uint8())))
    taken = decoded(grey, features((5, 4, 1)))
    assert taken.rejected == {}
    np.testing.assert_array_equal(taken.values[..., 0], DRAWN[..., 0])
    assert len(decoded(grey, features((5, 2, 2))).rejected) == 3
