from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import torch

from distill.core.errors import JobError
from distill.models.encoder_files import kept_layers
from distill.models.network import MultiHead
from distill.models.record import HeadPlan, NetworkPlan
from distill.models.text_tokens import padded
from distill.spec.networks import NetworkInput
from tests.text_students import answers, built, encoder, require_same, some_texts
from tests.tiny_models import TEXTS, save_classifier, save_tokenizer

POOLINGS = ("mean", "cls", "last")
ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "mpnet", "deberta-v2", "albert")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_classifier(tmp_path_factory.mktemp("models") / "encoder", ["x", "y", "z"])


def states(folder, texts):
    """transformers' own states of texts one by one, without padding."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).double().eval()
    with torch.inference_mode():
        for text in texts:
            inputs = tokenizer(text, truncation=True, max_length=32, return_tensors="pt")
            yield model(**inputs).last_hidden_state[0]


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_changes_an_answer(folder, pooling):
    # in float64, where rounding hides nothing
    network = built(encoder(folder, pooling=pooling)).double()
    texts = some_texts(30)
    alone = torch.cat([answers(network, [text]) for text in texts])
    for width in (None, 32):
        require_same(answers(network, texts, width), alone, 1e-12)


def test_a_pooling_is_another_than_its_name_says(folder):
    due = {"mean": lambda each: each.mean(0), "last": lambda each: each[-1]}
    for pooling, pooled in due.items():
        network = built(encoder(folder, pooling=pooling)).double()
        expected = torch.stack([pooled(each) for each in states(folder, TEXTS)])
        found = network.trunk(torch.from_numpy(padded(network.tokens.encode(TEXTS))))
        require_same(found, expected, 1e-12)
    scaled = built(encoder(folder, normalize=True))
    found = scaled.trunk(torch.from_numpy(padded(scaled.tokens.encode(TEXTS))))
    torch.testing.assert_close(found.norm(dim=1), torch.ones(len(TEXTS)))


def test_a_batch_of_all_lengths_is_computed_as_long_as_its_longest(folder, monkeypatch):
    from distill.models import encoder_module

    network = built(encoder(folder))
    texts = some_texts(200)
    at_once = answers(network, texts)
    monkeypatch.setattr(encoder_module, "_TOKENS_AT_ONCE", 64)
    computed = []
    network.trunk.body.embeddings.register_forward_hook(
        lambda *each: computed.append(each[2].shape[:2].numel())
    )
    require_same(answers(network, texts), at_once)
    assert len(computed) > 20
    assert max(computed) <= 64


def test_a_row_that_the_loader_padded_is_no_number(folder):
    network = built(encoder(folder)).train()
    rows = torch.full((3, 8), -1, dtype=torch.int32)
    outputs = network(rows)["main"]
    outputs.sum().backward()
    assert outputs.isfinite().all()
    assert all(each.grad.isfinite().all() for each in network.parameters())


@pytest.mark.parametrize("freeze", [None, "embeddings", 1, "all"])
def test_what_is_frozen_is_taught_or_drops_out(folder, freeze):
    network = built(encoder(folder, freeze=freeze)).train()
    taught = {name for name, each in network.trunk.named_parameters() if each.requires_grad}
    all_names = {name for name, _ in network.trunk.named_parameters()}
    marks = {None: (), "embeddings": ("embeddings.",), 1: ("embeddings.", "layer.0."), "all": ("",)}
    frozen = {name for name in all_names if any(mark in name for mark in marks[freeze])}
    assert taught == all_names - frozen
    ids = torch.from_numpy(padded(network.tokens.encode(TEXTS)))
    if freeze == "all":
        assert torch.equal(network(ids)["main"], network(ids)["main"])


def test_layers_that_were_drawn_stay_as_they_fell_where_the_rest_is_frozen(tmp_path):
    folder = bare_encoder(tmp_path / "bare", "roberta")
    network = built(encoder(folder, pooling="cls", freeze="all"))
    taught = {name for name, each in network.trunk.named_parameters() if each.requires_grad}
    assert taught == {"body.classifier.dense.weight", "body.classifier.dense.bias"}


def test_a_student_begins_with_other_layers_than_its_teacher_has(folder):
    assert kept_layers(6, 12) == [0, 2, 4, 7, 9, 11]
    assert kept_layers(1, 12) == [0]
    whole = built(encoder(folder)).trunk.body
    half = built(encoder(folder, layers=(1,))).trunk.body
    assert half.config.num_hidden_layers == 1
    for mine, theirs in zip(
        half.encoder.layer[0].parameters(), whole.encoder.layer[1].parameters(), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_a_student_cannot_be_loaded_where_the_model_that_it_began_as_is_gone(folder, tmp_path):
    moved = shutil.copytree(folder, tmp_path / "moved")
    for keys in ({"layers": 1, "pooling": "cls"}, {"freeze": "all"}):
        plan = NetworkPlan(1, encoder(moved, **keys), {"main": HeadPlan(3)})
        network = MultiHead(plan).eval()
        due = answers(network, TEXTS)
        stored = dict(network.state_dict())
        shutil.move(moved, tmp_path / "gone")
        again = MultiHead(NetworkPlan.from_plain(plan.to_plain()), stored).eval()
        again.load_state_dict(stored)
        assert torch.equal(answers(again, TEXTS), due)
        shutil.move(tmp_path / "gone", moved)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_a_student_of_a_model_in_half_precision_is_read_back_rounded(folder, tmp_path, precision):
    half = tmp_path / "half"
    shutil.copytree(folder, half)
    config = json.loads((half / "config.json").read_text())
    (half / "config.json").write_text(json.dumps({**config, "dtype": precision}))
    network = encoder(half, pooling="cls")
    first = built(network)
    weights = first.state_dict()
    again = MultiHead(NetworkPlan(1, network, {"main": HeadPlan(3)}), weights)
    again.load_state_dict(weights)
    assert {each.dtype for each in again.parameters()} == {torch.float32}
    require_same(answers(again.eval(), TEXTS), answers(first, TEXTS))


@pytest.mark.parametrize("kind", ARCHITECTURES)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_architecture_is_known_by_one_name_alone(tmp_path, kind, pooling):
    folder = bare_encoder(tmp_path / kind, kind)
    layers = None if kind == "albert" else 2
    # in float64, where rounding hides nothing
    network = built(encoder(folder, pooling=pooling, layers=layers, max_tokens=24)).double()
    texts = some_texts(12, longest=30)
    assert max(len(ids) for ids in network.tokens.encode(texts)) == 24
    alone = torch.cat([answers(network, [text]) for text in texts])
    require_same(answers(network, texts), alone, 1e-12)
    network.float().train()
    ids = torch.from_numpy(padded(network.tokens.encode(texts)))
    network(ids)["main"].sum().backward()
    # data-parallel workers wait for the gradient of all that is trained
    idle = [name for name, each in network.named_parameters() if each.grad is None]
    assert idle == []


def test_a_long_text_loses_its_end_or_says_nothing_of_it(folder, caplog):
    caplog.set_level(logging.INFO)
    text = " ".join(["good"] * 20 + ["bad"] * 20)
    network = encoder(folder, max_tokens=12)
    tokens = network.text_tokens
    encoded, cut = tokens.encode_counted([text, "good bad"])
    assert cut == 1
    good, bad = tokens.encode(["good bad"])[0][1:3]
    assert encoded[0].tolist() == [2, *[good] * 5, *[bad] * 5, 3]
    head = encoder(folder, max_tokens=12, long_texts="head").text_tokens
    assert head.encode([text])[0].tolist() == [2, *[good] * 10, 3]
    encoder(folder, max_tokens=100).require_fit(NetworkInput(1))
    assert "takes 32 tokens; longer texts are cut to that" in caplog.text
    assert "of the classes x, y, z, is left out" in caplog.text


def test_the_tokens_are_others_than_the_librarys(folder):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = some_texts(50, longest=60)
    due = tokenizer(texts, truncation=True, max_length=32)["input_ids"]
    found = encoder(folder, long_texts="head").text_tokens.encode(texts)
    assert [ids.tolist() for ids in found] == due
    table = padded(found)
    assert table.dtype == np.int32
    assert [row[row >= 0].tolist() for row in table] == due


def test_weights_that_run_code_or_are_another_architectures_are_opened(folder, tmp_path):
    bare = shutil.copytree(folder, tmp_path / "pickled")
    (bare / "model.safetensors").rename(bare / "pytorch_model.bin")
    # a model's digest is of what may be opened
    refused(bare, r"has pytorch_model\.bin, which can run code, and no \*\.safetensors")
    wrong = shutil.copytree(folder, tmp_path / "wrong")
    change(wrong / "config.json", model_type="distilbert", dim=16, hidden_dim=32)
    with pytest.raises(JobError, match=r"config\.json says DistilBertModel, but its weights are"):
        built(encoder(wrong))
    narrow = shutil.copytree(folder, tmp_path / "narrow")
    change(narrow / "config.json", hidden_size=8)
    with pytest.raises(JobError, match=r"are missing or of other shapes"):
        built(encoder(narrow))
    refused(shutil.copytree(folder, tmp_path / "few"), r"has 2 layers, counted from 0", layers=3)
    refused(tmp_path / "few", r"freeze = 2: the network has 1 layers", layers=1, freeze=2)
    table = shutil.copytree(folder, tmp_path / "untold")
    (table / "config.json").write_text("{}")
    refused(table, r"names no model_type")
    lost = shutil.copytree(folder, tmp_path / "lost")
    for file in lost.glob("tokenizer*"):
        file.unlink()
    refused(lost, r"has no tokenizer\.json, and nothing that makes one")


def test_a_tokenizer_without_a_token_that_pads_pads_with_a_word(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    folder = bare_encoder(tmp_path / "unpadded", "bert", pad_token_id=None)
    model = encoder(folder)
    model.require_fit(NetworkInput(1))
    assert "has no token that pads; token 0 does, masked" in caplog.text
    network = built(model)
    alone = torch.cat([answers(network, [text]) for text in TEXTS])
    require_same(answers(network, TEXTS, 32), alone)


def refused(folder, match, **keys):
    with pytest.raises(JobError, match=match):
        encoder(folder, **keys).require_fit(NetworkInput(1))


def change(file, **keys):
    file.write_text(json.dumps({**json.loads(file.read_text()), **keys}))


def bare_encoder(folder, kind, **more):
    """An encoder without any head, as its architecture is saved."""
    from transformers import CONFIG_MAPPING, AutoModel

    torch.manual_seed(0)
    sizes = {
        "vocab_size": 64,
        "hidden_size": 16,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 40,
        "initializer_range": 0.6,
        "embedding_size": 16,
        "pad_token_id": 0,
    }
    if kind == "distilbert":
        sizes |= {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 32}
        for name in ("hidden_size", "num_hidden_layers", "num_attention_heads"):
            del sizes[name]
    config = CONFIG_MAPPING[kind](**{**sizes, **more})
    AutoModel.from_config(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder
