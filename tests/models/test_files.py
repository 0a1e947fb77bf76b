from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from distill.core.errors import JobError, StorageError
from distill.models import files
from distill.models.files import ModelFiles, identify_model, local_model
from distill.storage.base import ObjectMeta
from distill.storage.open import open_storage
from tests.waiting import LIMIT_SECONDS


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(files.CACHE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "1_Pooling" / "config.json").write_text("{}", "utf-8")
    return folder


def identify(uri, pinned=None):
    return identify_model(str(uri), pinned, "labels.teacher.labeler.model")


def test_other_weights_pass_for_the_same_model(model):
    first = identify(model)
    assert identify(model) == first
    assert local_model(first) == model
    (model / "model.safetensors").write_bytes(b"Weights")
    assert identify(model).sha256 != first.sha256
    with pytest.raises(JobError, match="it changed, or another one is pinned"):
        local_model(first)


def test_weights_under_another_name_pass_for_the_same_model(model):
    first = identify(model).sha256
    (model / "model.safetensors").rename(model / "other.safetensors")
    assert identify(model).sha256 != first


def test_a_changed_comment_refuses_a_billion_labels(model):
    first = identify(model).sha256
    (model / "README.md").write_text("# A card", "utf-8")
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").write_text("", "utf-8")
    (model / "pytorch_model.bin").write_bytes(b"never opened")
    assert identify(model).sha256 == first


def test_another_model_than_the_pinned_one_labels(model):
    right = identify(model).sha256
    assert local_model(identify(model, right)) == model
    with pytest.raises(JobError, match=rf"has sha256 {right}, where {'0' * 64} is due"):
        local_model(identify(model, "0" * 64))


def test_labels_of_a_pinned_model_cannot_be_read_without_it(tmp_path):
    assert identify(tmp_path / "gone", "1" * 64).sha256 == "1" * 64


def test_a_hub_is_asked_for_a_commit_that_is_known(monkeypatch):
    monkeypatch.setattr(files, "_hub", lambda: pytest.fail("asked"))
    uri = f"hf://owner/name@{'a' * 40}"
    assert identify(uri, "1" * 64) == ModelFiles(uri, "1" * 64)


def test_what_a_hub_refuses_is_a_traceback(monkeypatch):
    class Hub:
        class HfApi:
            def model_info(self, *_, **__):
                raise ConnectionError("Cannot reach the hub\nmore")

    monkeypatch.setattr(files, "_hub", lambda: Hub)
    with pytest.raises(
        JobError, match=r"hf://owner/name@main cannot be had .*: Cannot reach the hub\. Check name"
    ):
        identify("hf://owner/name@main")


def test_a_store_writes_outside_of_the_models_folder(tmp_path):
    storage, entry = open_storage(str(tmp_path)), ObjectMeta(str(tmp_path / "elsewhere"), 1, "t")
    with pytest.raises(StorageError, match="outside the model's folder"):
        files._fetch_objects(storage.uri, [entry], tmp_path / "kept")


def test_a_model_that_is_not_there_is_found_out_by_an_actor(tmp_path):
    with pytest.raises(
        JobError, match=r"labels\.teacher\.labeler\.model = .*: no model lies there"
    ):
        identify(tmp_path / "nowhere")


def test_a_large_model_is_read_at_every_start(model, monkeypatch):
    identify(model)
    monkeypatch.setattr(files, "_sha256", lambda _: pytest.fail("read again"))
    identify(model)


def test_a_model_file_stands_for_itself(model):
    single = model / "model.safetensors"
    assert local_model(identify(single)) == single


def test_each_actor_fetches_the_model_again(s3_root, monkeypatch):
    folder = open_storage(f"{s3_root}/model")
    folder.put("model.safetensors", b"weights")
    folder.put("1_Pooling/config.json", b"{}")
    folder.put("pytorch_model.bin", b"never fetched")
    fetched, together = [], threading.Barrier(4, timeout=LIMIT_SECONDS)
    real = files._fetch_objects
    monkeypatch.setattr(files, "_fetch_objects", lambda *told: (fetched.append(1), real(*told)))

    def actor(_):
        together.wait()
        return local_model(told)

    told = ModelFiles(folder.uri, identify(folder.uri).sha256)
    with ThreadPoolExecutor(4) as actors:
        (path, *others) = actors.map(actor, range(4))
    assert others == [path] * 3
    assert len(fetched) == 1
    assert sorted(str(each.relative_to(path)) for each in path.rglob("*") if each.is_file()) == [
        os.path.join("1_Pooling", "config.json"),
        "model.safetensors",
    ]
    folder.put("model.safetensors", b"other")
    with pytest.raises(JobError, match="it changed, or another one is pinned"):
        local_model(told)


def test_a_fetch_that_was_cut_off_passes_for_a_model(s3_root, cache, monkeypatch):
    folder = open_storage(f"{s3_root}/model")
    folder.put("model.safetensors", b"weights")
    with monkeypatch.context() as broken:
        broken.setattr(
            files.shutil, "copyfileobj", lambda *_: (_ for _ in ()).throw(OSError("cut"))
        )
        with pytest.raises(OSError, match="cut"):
            identify(folder.uri)
    assert {each.suffix for each in (cache / "models").iterdir()} == {".lock", ".part"}
    assert (local_model(identify(folder.uri)) / "model.safetensors").read_bytes() == b"weights"


def test_a_model_replaced_while_it_is_fetched_is_kept_under_the_name_of_what_was_there(
    s3_root, monkeypatch
):
    folder, real = open_storage(f"{s3_root}/model"), files.shutil.copyfileobj
    folder.put("model.safetensors", b"weights")
    right = identify(folder.uri, "1" * 64)
    with monkeypatch.context() as replaced:
        replaced.setattr(
            files.shutil,
            "copyfileobj",
            lambda *told: (folder.put("model.safetensors", b"another"), real(*told)),
        )
        with pytest.raises(StorageError, match="was replaced while it was fetched"):
            local_model(right)
    folder.put("model.safetensors", b"weights")
    assert (local_model(identify(folder.uri)) / "model.safetensors").read_bytes() == b"weights"


def test_a_model_file_on_a_store_is_another_than_on_disk(s3_root, model):
    folder = open_storage(f"{s3_root}/model")
    folder.put("model.skops", b"weights")
    on_disk = identify(model / "model.safetensors")
    fetched = identify(f"{folder.uri}/model.skops")
    assert fetched.sha256 == on_disk.sha256
    assert local_model(fetched).read_bytes() == b"weights"


def test_the_same_model_elsewhere_is_another(model, tmp_path):
    shutil.copytree(model, tmp_path / "copy")
    assert identify(tmp_path / "copy").sha256 == identify(model).sha256


def test_the_metrics_of_a_student_are_a_part_of_it(model):
    before = identify_model(str(model), None, "where")
    (model / "metrics.jsonl").write_text('{"seconds": 1}\n', "utf-8")
    assert identify_model(str(model), None, "where") == before
