"""Networks of timm's as those of a student: what timm itself answers, and bad ones by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.torch
import torch

from distill.core.errors import JobError, MissingExtraError
from distill.models import timm_module
from distill.models.files import identify_model
from distill.models.network import MultiHead, build_network
from distill.models.networks.timm import TimmNetwork
from distill.models.record import HeadPlan, NetworkPlan
from distill.plan.checks.network_builds import check_network
from distill.spec.pools import ImageFeatures
from tests.late import Late

TIMM = Late("timm")

VIT = {"patch_size": 7, "embed_dim": 32, "depth": 2, "num_heads": 2}
NAME = "vit_tiny_patch16_224"


def tiny(shape=(1, 28, 28), **keys):
    given = {"kind": "timm", "shape": shape, "name": NAME, "options": VIT, **keys}
    return TimmNetwork.model_validate_json(json.dumps(given))


def plan(model, classes=3):
    return NetworkPlan(int(np.prod(model.shape)), model, {"main": HeadPlan(classes)})


def saved(folder, *, classes=5, channels=3, seed=3, **config):
    """A model as timm saves it."""
    torch.manual_seed(seed)
    options = {**VIT, "img_size": 28, "in_chans": channels}
    body = TIMM.create_model(NAME, num_classes=classes, **options).eval()
    folder.mkdir(exist_ok=True)
    plain = {
        "architecture": NAME,
        "num_classes": classes,
        "model_args": options,
        "pretrained_cfg": {"mean": [0.3, 0.4, 0.5], "std": [0.2, 0.2, 0.1], **config},
    }
    (folder / "config.json").write_text(json.dumps(plain))
    safetensors.torch.save_file(body.state_dict(), folder / "model.safetensors")
    return folder, body


def begun(folder, **keys):
    """A network whose model's files are identified."""
    model = tiny(**{"name": None, "options": {}, "model": str(folder), **keys})
    return model.with_files(identify_model(str(folder), None, "model"), "model")


def test_a_drawn_network_is_another_than_timms():
    network = build_network(plan(tiny()), seed=5)
    x = torch.rand(4, 784)
    normal = (x.reshape(4, 1, 28, 28) - network.trunk.mean) / network.trunk.std
    theirs = TIMM.create_model(NAME, num_classes=0, in_chans=1, img_size=28, **VIT)
    theirs.load_state_dict(network.trunk.body.state_dict())
    due = network.heads["head_main"](theirs.eval()(normal))
    torch.testing.assert_close(network.eval()(x)["main"], due)


def test_a_model_begins_as_another_one(tmp_path):
    folder, body = saved(tmp_path / "model")
    model = begun(folder, shape=(3, 28, 28))
    assert (model.name, model.options, model.mean) == (NAME, VIT, (0.3, 0.4, 0.5))
    network = build_network(plan(model)).eval()
    x = torch.rand(4, 3 * 784)
    mean = torch.tensor([0.3, 0.4, 0.5])[:, None, None]
    std = torch.tensor([0.2, 0.2, 0.1])[:, None, None]
    normal = (x.reshape(4, 3, 28, 28) - mean) / std
    due = body.forward_head(body.forward_features(normal), pre_logits=True)
    torch.testing.assert_close(network.trunk(x), due)


def test_grey_images_are_refused_by_a_model_of_colours(tmp_path):
    folder, body = saved(tmp_path / "model")
    network = build_network(plan(begun(folder))).eval()
    grey = torch.rand(2, 1, 28, 28)
    mine = network.trunk.body.patch_embed.proj.weight
    due = body.patch_embed.proj.weight.sum(1, keepdim=True)
    torch.testing.assert_close(mine, due)
    assert network.trunk(grey.flatten(1)).shape == (2, 32)


def test_a_stored_network_needs_the_model_that_it_began_as(tmp_path):
    folder, _ = saved(tmp_path / "model")
    network = plan(begun(folder, shape=(3, 28, 28)))
    again = NetworkPlan.from_plain(json.loads(json.dumps(network.to_plain())))
    assert again.model == network.model
    (folder / "model.safetensors").unlink()
    stored = build_network(plan(tiny((3, 28, 28)))).state_dict()
    assert MultiHead(again, stored).trunk(torch.zeros(1, 2352)).shape == (1, 32)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        (
            {"name": "vit_tny_patch16_224"},
            r"has no such network. Near are \['vit_tiny_patch16_224'",
        ),
        ({"shape": (1, 30, 30)}, "patches of 7 × 7, which do not fill images of 30 × 30"),
        ({"name": "inception_v3", "shape": (3, 16, 16), "options": {}}, "cannot take images of 16"),
        ({"options": {"depht": 3}}, r"timm cannot make .*depht"),
        ({"name": "resnet18", "options": {}}, "change in training"),
    ],
)
def test_a_network_that_cannot_be_is_found_when_it_trains(keys, told):
    with pytest.raises(JobError, match=told) as caught:
        check_network(plan(tiny(**keys)), "job.toml: students.small")
    assert str(caught.value).startswith("job.toml: students.small.model")


def test_a_network_that_trains_is_refused():
    check_network(plan(tiny()), "job.toml: students.small")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"name": None}, "neither name nor model"),
        ({"options": {"img_size": 3}}, "set by shape"),
        ({"mean": [0.5, 0.5]}, "one for each of 1 channels"),
        ({"std": [0.0]}, "nothing is divided by 0"),
    ],
)
def test_a_table_that_says_nothing_is_taken(keys, told):
    with pytest.raises(ValueError, match=told):
        tiny(**keys)


def test_images_of_another_shape_are_folded():
    features = ImageFeatures(kind="image", column="x", shape=(28, 28, 3))
    assert list(tiny().misread(features, "a")) == [
        "shape = [1, 28, 28]: images of pools.a are 28 high, 28 wide, with 3 channels."
        " Write [3, 28, 28]."
    ]


def test_a_pickle_is_opened(tmp_path):
    folder, body = saved(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    torch.save(body.state_dict(), folder / "pytorch_model.bin")
    with pytest.raises(JobError, match="others can run code and are not opened"):
        build_network(plan(begun(folder)))


def test_weights_of_another_architecture_are_drawn_in_part(tmp_path):
    folder, body = saved(tmp_path / "model")
    weights = body.state_dict()
    weights["blocks.0.norm1.weight"] = torch.zeros(7)
    weights["more.weight"] = torch.zeros(1)
    del weights["norm.bias"]
    safetensors.torch.save_file(weights, folder / "model.safetensors")
    told = (
        r"lacks norm.bias; has beside more.weight;"
        r" has of another shape blocks.0.norm1.weight of \[7\], not \[32\]"
    )
    with pytest.raises(JobError, match=told):
        build_network(plan(begun(folder)))


def test_a_model_without_a_config_is_guessed_at(tmp_path):
    folder, _ = saved(tmp_path / "model")
    with pytest.raises(JobError, match=f"is of '{NAME}'"):
        begun(folder, name="resnet18")
    (folder / "config.json").unlink()
    with pytest.raises(JobError, match=r"has no config.json that says its architecture"):
        begun(folder)
    named = begun(folder, name=NAME, options=VIT, shape=(3, 28, 28))
    assert build_network(plan(named)).trunk(torch.zeros(1, 2352)).shape == (1, 32)


def test_a_machine_without_timm_is_told_something_else(monkeypatch):
    monkeypatch.setattr(timm_module, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'distill\[vision\]'"):
        build_network(plan(tiny()))
