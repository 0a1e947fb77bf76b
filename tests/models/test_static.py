from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from distill.core.errors import JobError
from distill.models.files import identify_model
from distill.models.networks.mlp import Mlp
from distill.models.text_tokens import padded
from distill.spec.networks import NetworkInput
from tests.text_students import answers, built, require_same, some_texts, static
from tests.tiny_models import TEXTS, save_classifier, save_word_vectors


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_word_vectors(tmp_path_factory.mktemp("models") / "table")


def test_the_mean_is_another_than_model2vecs(folder):
    from model2vec import StaticModel

    model = StaticModel.from_pretrained(folder)
    texts = [*TEXTS, *some_texts(50, longest=40), "word " * 3000]
    for longest in (8, 512):
        network = built(static(folder, max_tokens=longest))
        found = network.trunk(torch.from_numpy(padded(network.tokens.encode(texts))))
        due = model.encode(texts, max_length=longest)
        np.testing.assert_allclose(found.detach().numpy(), due, atol=1e-6)
    _, cut = network.tokens.encode_counted(texts)
    assert cut == 1


def test_padding_changes_a_static_answer(folder):
    network = built(static(folder, above=Mlp(kind="mlp", hidden=(8,)), normalize=True))
    texts = some_texts(30)
    alone = torch.cat([answers(network, [text]) for text in texts])
    for width in (None, 64):
        require_same(answers(network, texts, width), alone)


def test_what_is_exported_computes_another_mean(folder):
    network = built(static(folder))
    network.trunk.weights.data.uniform_(0, 2)
    ids = torch.from_numpy(padded(network.tokens.encode(TEXTS)))
    due = network.trunk._bags(ids)
    require_same(network.trunk._masked(ids), due)
    assert torch.equal(due[4], torch.zeros(16))  # a text without tokens


def test_a_frozen_table_is_taught(folder):
    frozen = built(static(folder, freeze=True))
    assert [name for name, each in frozen.trunk.named_parameters() if each.requires_grad] == [
        "weights"
    ]
    tuned = built(static(folder)).train()
    ids = torch.from_numpy(padded(tuned.tokens.encode(TEXTS)))
    tuned(ids)["main"].sum().backward()
    assert tuned.trunk.vectors.grad.abs().sum() > 0
    assert tuned.trunk.weights.grad.abs().sum() > 0


def test_a_table_is_looked_for_where_one_library_alone_puts_it(folder, tmp_path):
    vectors = load_file(folder / "model.safetensors")["embedding.weight"]
    tokenizer = folder / "tokenizer.json"
    due = answers(built(static(folder)), TEXTS)
    wordllama = tmp_path / "wordllama"
    for name in ("weights", "tokenizers"):
        (wordllama / name).mkdir(parents=True)
    save_file({"embedding.weight": vectors}, wordllama / "weights" / "words_16.safetensors")
    shutil.copy(tokenizer, wordllama / "tokenizers" / "words_tokenizer_config.json")
    model2vec = tmp_path / "model2vec"
    model2vec.mkdir()
    mapping = np.arange(len(vectors))[::-1].copy()
    weights = np.ones(len(vectors), np.float32)
    shared = {"embeddings": vectors[::-1].copy(), "mapping": mapping, "weights": weights}
    save_file(shared, model2vec / "model.safetensors")
    shutil.copy(tokenizer, model2vec / "tokenizer.json")
    for other in (wordllama, model2vec):
        torch.testing.assert_close(answers(built(static(other)), TEXTS), due)


def test_an_encoders_own_table_is_none(tmp_path):
    folder = save_classifier(tmp_path / "encoder", ["x", "y"])
    network = built(static(folder))
    from transformers import AutoModel

    table = AutoModel.from_pretrained(folder).get_input_embeddings().weight
    assert torch.equal(network.trunk.vectors, table)


def test_a_folder_without_a_table_or_with_anothers_is_begun_with(folder, tmp_path):
    empty = shutil.copytree(folder, tmp_path / "empty")
    save_file({"other": np.zeros((2, 2), np.float32)}, empty / "model.safetensors")
    with pytest.raises(JobError, match=r"has no table of token vectors"):
        static(empty).require_fit(NetworkInput(1))
    short = shutil.copytree(folder, tmp_path / "short")
    save_file({"embedding.weight": np.zeros((5, 4), np.float32)}, short / "model.safetensors")
    with pytest.raises(JobError, match=r"has 5 vectors, but the tokenizer"):
        built(static(short))
    file = folder / "model.safetensors"
    network = static(folder).with_files(identify_model(str(file), None, "model"))
    with pytest.raises(JobError, match=r"is one file, where a folder is due"):
        network.require_fit(NetworkInput(1))
