"""Images as a model wants them: as timm's and transformers' own code makes them, to a grey level."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image, ImageOps

from distill.core.errors import JobError, PoolError
from distill.models.image_config import read_normalization, resolve_preprocess
from distill.pools import jpeg
from distill.pools.features import decode_features, feature_width
from distill.pools.image_files import encoded_shape
from distill.spec.pools import ImageFeatures
from distill.spec.preprocess import Preprocess

SIZES = [(61, 47), (47, 61), (130, 40), (33, 33), (24, 31)]
"""Width and height: wide, high, very wide, square, smaller than what is due."""


def drawn(size=(61, 47), seed=0):
    """Smooth colours, edges and a little noise: what a photograph has."""
    width, height = size
    y, x = np.mgrid[:height, :width]
    draw = np.random.default_rng(seed)
    waves = [np.sin(x / period) + np.cos(y / (period + 3)) for period in (9, 13, 17)]
    image = 128 + 50 * np.stack(waves, axis=2) + draw.normal(0, 8, (height, width, 3))
    image[height // 3 : height // 2, width // 4 : width // 2] = draw.integers(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


def packed(image, kind="PNG", **options):
    sink = io.BytesIO()
    Image.fromarray(image).save(sink, kind, **options)
    return sink.getvalue()


def features(shape=(32, 32, 3), **preprocess):
    return ImageFeatures(kind="image", column="x", shape=shape, preprocess=Preprocess(**preprocess))


def decoded(content, spec):
    rows = decode_features(pa.table({"x": pa.array([content], pa.binary())}), spec, 0)
    assert rows.rejected == {}, rows.rejected
    return rows.values[0]


def levels(mine, theirs):
    """By how many grey levels two images differ at most."""
    return int(np.abs(mine.astype(int) - theirs.astype(int)).max())


def resolved(folder, shape, **options):
    preprocess = Preprocess(of=str(folder), **options)
    found = resolve_preprocess(preprocess, str(folder), shape, "pools.x.features.preprocess.of")
    return ImageFeatures(kind="image", column="x", shape=shape, preprocess=found)


def timm_folder(folder: Path, **config):
    folder.mkdir(exist_ok=True)
    plain = {"architecture": "resnet18", "pretrained_cfg": config}
    (folder / "config.json").write_text(json.dumps(plain))
    return folder


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "config",
    [
        {"crop_pct": 0.875, "interpolation": "bicubic"},
        {"crop_pct": 0.9, "interpolation": "bilinear"},
        {"crop_pct": 1.0, "interpolation": "bicubic", "crop_mode": "squash"},
        {"crop_pct": 0.95, "interpolation": "bicubic", "crop_mode": "border"},
        {},
    ],
)
@pytest.mark.parametrize("shape", [(32, 32, 3), (24, 40, 3)])
def test_pixels_are_others_than_timms(tmp_path, config, size, shape):
    from timm.data import create_transform

    # read as timm reads its file
    options = {"crop_pct": 0.875, "interpolation": "bicubic", "crop_mode": "center", **config}
    transform = create_transform((3, *shape[:2]), is_training=False, normalize=False, **options)
    spec = resolved(timm_folder(tmp_path / "model", **config), shape)
    image = drawn(size)
    theirs = transform(Image.fromarray(image)).numpy().transpose(1, 2, 0)
    assert levels(decoded(packed(image), spec), theirs) <= 1


def processors():
    import transformers as t

    return [
        t.ViTImageProcessor(size={"height": 32, "width": 32}),
        t.ViTImageProcessor(size={"height": 32, "width": 32}, resample=3, do_normalize=False),
        t.CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        t.CLIPImageProcessor(size={"shortest_edge": 37}, crop_size={"height": 32, "width": 32}),
        t.BitImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32}),
        t.ConvNextImageProcessor(size={"shortest_edge": 32}),
        t.SiglipImageProcessor(size={"height": 32, "width": 32}),
        t.MobileNetV2ImageProcessor(
            size={"shortest_edge": 40}, crop_size={"height": 32, "width": 32}
        ),
        t.DeiTImageProcessor(
            size={"height": 38, "width": 38}, crop_size={"height": 32, "width": 32}
        ),
    ]


@pytest.mark.parametrize("number", range(9))
def test_pixels_or_numbers_are_others_than_transformers(tmp_path, number):
    processor = processors()[number]
    processor.save_pretrained(tmp_path)
    spec = resolved(tmp_path, (32, 32, 3))
    normalization = read_normalization(str(tmp_path), "model")
    for size in SIZES:
        image = drawn(size)
        answer = processor(Image.fromarray(image), return_tensors="np")
        theirs = answer["pixel_values"][0].transpose(1, 2, 0)
        mine = decoded(packed(image), spec) / 255
        numbers = (mine - normalization.mean) / normalization.std
        level = 1.01 / 255 / min(normalization.std)
        assert np.abs(numbers - theirs).max() <= level, size


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"image_processor_type": "SamImageProcessor"}, "'SamImageProcessor'"),
        ({"image_processor_type": "ViTImageProcessor", "do_pad": True}, "do_pad = True"),
        (
            {"image_processor_type": "ViTImageProcessor", "size": {"height": 48, "width": 48}},
            r"wants images of 48 × 48.*Write shape = \[48, 48, 3\]",
        ),
        (
            {"image_processor_type": "BitImageProcessor", "do_center_crop": False}
            | {"size": {"shortest_edge": 48}},
            "different sizes",
        ),
    ],
)
def test_a_processor_that_is_not_known_is_guessed_at(tmp_path, config, told):
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(JobError, match=told):
        resolved(tmp_path, (32, 32, 3))


def test_a_folder_without_any_config_is_taken(tmp_path):
    with pytest.raises(JobError, match=r"neither preprocessor_config.json nor timm's config.json"):
        resolved(tmp_path, (32, 32, 3))


COMMIT = "0123456789" * 4


class Hub:
    """A hub of one model, of which a machine knows some files."""

    def __init__(self, monkeypatch, files, cached=()):
        from huggingface_hub import errors

        self.errors, self.files, self.cached, self.asked = errors, files, dict(cached), []
        monkeypatch.setattr("distill.models.files._hub", lambda: self)

    def try_to_load_from_cache(self, _, name, **__):
        return self.cached.get(name)

    def hf_hub_download(self, _, name, **__):
        self.asked.append(name)
        if self.files is None:
            raise self.errors.LocalEntryNotFoundError("no line")
        if name not in self.files:
            raise self.errors.EntryNotFoundError("404")
        return self.files[name]


def of_hub(revision=COMMIT):
    uri = f"hf://timm/resnet@{revision}"
    return resolve_preprocess(Preprocess(of=uri), uri, (32, 32, 3), "of")


def test_a_hub_that_cannot_be_reached_has_no_such_file(tmp_path, monkeypatch):
    config = str(timm_folder(tmp_path / "model", crop_pct=0.5) / "config.json")
    Hub(monkeypatch, {"config.json": config})
    assert of_hub().sides == (64, 64)
    Hub(monkeypatch, None)
    with pytest.raises(JobError, match="cannot be had of the Hugging Face hub"):
        of_hub()
    # of a commit all is known already
    known = Hub(monkeypatch, None, {"config.json": config, "preprocessor_config.json": object()})
    assert of_hub().sides == (64, 64)
    assert known.asked == []
    with pytest.raises(JobError, match="cannot be had of the Hugging Face hub"):
        of_hub("main")


def test_a_model_that_is_no_address_is_looked_for():
    with pytest.raises(JobError, match=r"^of: 'hf://timm/resnet' "):
        resolve_preprocess(Preprocess(of="x"), "hf://timm/resnet", (32, 32, 3), "of")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_photograph_lies_on_its_side(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = packed(drawn(), kind, exif=exif)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB")
    due = np.asarray(upright.resize((32, 32), Image.Resampling.BICUBIC))
    assert levels(decoded(content, features(fit="stretch")), due) <= 1
    lying = Image.open(io.BytesIO(content)).convert("RGB")
    due = np.asarray(lying.resize((32, 32), Image.Resampling.BICUBIC))
    assert levels(decoded(content, features(fit="stretch", orientation=False)), due) <= 1


def test_a_webp_is_no_image():
    image = drawn((8, 8))
    plain = ImageFeatures(kind="image", column="x", shape=(8, 8, 3))
    content = packed(image, "WEBP", lossless=True)
    np.testing.assert_array_equal(decoded(content, plain), image)
    assert encoded_shape(content) == (8, 8, 3)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("size", [(640, 480), (301, 517), (63, 700)])
@pytest.mark.parametrize("choice", ["scaled", "whole"])
def test_pixels_depend_on_the_library_that_decodes(monkeypatch, channels, mode, size, choice):
    sink = io.BytesIO()
    Image.fromarray(drawn(size)).convert(mode).save(sink, "JPEG", quality=85)
    spec = features((32, 48, channels), jpeg=choice)
    assert jpeg.has_fast_jpeg()
    fast = decoded(sink.getvalue(), spec)
    monkeypatch.setattr(jpeg, "has_fast_jpeg", lambda: False)
    np.testing.assert_array_equal(decoded(sink.getvalue(), spec), fast)


def test_a_library_of_other_pixels_is_trusted(monkeypatch):
    jpeg.has_fast_jpeg.cache_clear()
    monkeypatch.setattr("simplejpeg.decode_jpeg", lambda *_, **__: np.zeros((67, 83, 3), np.uint8))
    assert not jpeg.has_fast_jpeg()
    monkeypatch.undo()
    jpeg.has_fast_jpeg.cache_clear()
    assert jpeg.has_fast_jpeg()


def test_a_large_photograph_is_decoded_whole(monkeypatch):
    """Counted, since a clock says little on a busy machine: pixels that are decoded."""
    import simplejpeg

    decode = simplejpeg.decode_jpeg
    sizes = []

    def counted(*arguments, **options):
        pixels = decode(*arguments, **options)
        sizes.append(pixels.shape[:2])
        return pixels

    content = packed(drawn((2000, 1500)), "JPEG")
    small = drawn((500, 375))
    jpeg.has_fast_jpeg()
    monkeypatch.setattr("simplejpeg.decode_jpeg", counted)
    spec = features((224, 224, 3), sides=(256, 256))
    scaled = decoded(content, spec)
    whole = decoded(content, features((224, 224, 3), sides=(256, 256), jpeg="whole"))
    decoded(packed(small, "JPEG"), spec)
    assert sizes == [(375, 500), (1500, 2000), (375, 500)]
    # it is the same picture
    assert np.abs(scaled.astype(int) - whole).mean() < 4


@pytest.mark.parametrize("choice", ["scaled", "whole"])
def test_a_truncated_photograph_is_grey_below(choice):
    content = packed(drawn((640, 480)), "JPEG")
    table = pa.table({"x": [content[:-2000], content[:100], b"\xff\xd8", content]})
    rows = decode_features(table, features(jpeg=choice), 0)
    assert {row: code for row, (code, _) in rows.rejected.items()} == dict.fromkeys(
        range(3), "undecodable"
    )
    assert "truncated" in rows.rejected[0][1]
    assert not rows.values[:3].any()
    assert rows.values[3].any()


def bomb(width, height):
    """A JPEG that declares more pixels than it has."""
    content = bytearray(packed(drawn((16, 16)), "JPEG"))
    frame = content.index(b"\xff\xc0") + 5
    content[frame : frame + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(content)


@pytest.mark.parametrize("size", [(12_000, 12_000), (60_000, 60_000)])
@pytest.mark.parametrize("fast", [True, False])
def test_a_decompression_bomb_is_unpacked(monkeypatch, size, fast):
    monkeypatch.setattr(jpeg, "has_fast_jpeg", lambda: fast)
    rows = decode_features(pa.table({"x": [bomb(*size)]}), features(), 0)
    code, told = rows.rejected[0]
    assert code == "undecodable"
    assert "bomb" in told or "more than 67,108,864" in told


def test_raw_bytes_are_declared_to_be_preprocessed():
    schema = pa.schema([("x", pa.binary(32 * 32 * 3))])
    with pytest.raises(PoolError, match="raw bytes, which are seen as they are"):
        feature_width(schema, features(), schema.empty_table())


def test_an_image_beside_which_nothing_lies_has_another_colour():
    image = np.full((10, 40, 3), 200, np.uint8)
    padded = decoded(packed(image), features(fit="pad", fill=(1, 2, 3)))
    assert padded[0, 0].tolist() == [1, 2, 3]
    assert padded[12:20].min() == 200
    assert padded[:12].max() == 3
    grey = decoded(packed(image), features((32, 32, 1), fit="pad", fill=(7,)))
    assert grey[0, 0].tolist() == [7]


def test_a_digest_of_before_is_another_now():
    before = {"kind": "image", "column": "x", "shape": [5, 4, 3], "resize": None, "encoded": None}
    spec = ImageFeatures(kind="image", column="x", shape=(5, 4, 3))
    assert spec.model_dump(mode="json") == before
    assert spec.model_dump(mode="json", exclude_defaults=True) == {
        key: before[key] for key in ("kind", "column", "shape")
    }
    assert features().model_dump(mode="json")["preprocess"]["fit"] == "crop"


def test_a_table_that_contradicts_itself_is_taken():
    with pytest.raises(ValueError, match="drop resize"):
        ImageFeatures(
            kind="image", column="x", shape=(5, 4, 3), resize="bilinear", preprocess=Preprocess()
        )
    with pytest.raises(ValueError, match=r"where \['fit'\] are read"):
        Preprocess(of="model", fit="pad")
    with pytest.raises(ValueError, match="fill has 3"):
        features((5, 4, 1), fill=(1, 2, 3))
