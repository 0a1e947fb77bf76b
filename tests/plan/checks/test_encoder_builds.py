"""What an encoder cannot be taught, or is asked for in vain, is told before any work."""

from __future__ import annotations

import pytest
import torch

from distill.core.errors import JobError
from distill.plan.load import load_job
from tests.resolved import check_networks_build
from tests.text_students import text_job
from tests.tiny_models import WORDS, save_encoder, save_tokenizer


def unused(folder):
    """A model one of whose parameters no answer depends on: XLNet's `mask_emb`."""
    from transformers import XLNetConfig, XLNetModel

    torch.manual_seed(0)
    config = XLNetConfig(vocab_size=len(WORDS) + 4, d_model=16, n_layer=1, n_head=2, d_inner=32)
    XLNetModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def test_workers_wait_for_gradients_that_never_come(tmp_path):
    folder = unused(tmp_path / "model")
    job = load_job(text_job(tmp_path, f'{{ kind = "encoder", model = "{folder}" }}'))
    with pytest.raises(JobError, match=r"small\.model: no answer of .* parameters .*mask_emb"):
        check_networks_build(job)
    frozen = f'{{ kind = "encoder", model = "{folder}", freeze = "all" }}'
    check_networks_build(load_job(text_job(tmp_path / "frozen", frozen)))


def test_layers_that_nobody_can_compute_again_are_found_out_by_a_worker(tmp_path):
    model = '{ kind = "ngram_bag", buckets = 100, hidden = 4 }'
    file = text_job(tmp_path, model)
    asked = file.read_text("utf-8").replace(
        "epochs = 2", "epochs = 2, activation_checkpoints = true"
    )
    file.write_text(asked, "utf-8")
    with pytest.raises(
        JobError, match=r"students\.small\.training\.activation_checkpoints = true: no"
    ):
        check_networks_build(load_job(file))
    encoder = save_encoder(tmp_path / "model")
    file.write_text(
        asked.replace(model, f'{{ kind = "encoder", model = "{encoder}", max_tokens = 32 }}')
    )
    check_networks_build(load_job(file))


def test_an_own_encoder_on_stored_embeddings_is_refused_when_it_is_exported(tmp_path):
    encoder = save_encoder(tmp_path / "model")
    own = f'{{ kind = "encoder", model = "{encoder}", max_tokens = 32 }}'
    file = text_job(tmp_path, '{ kind = "linear" }')
    text = file.read_text("utf-8")
    text += f"""
    [labels.seen]
    labeler = {{ kind = "embedding", model = "{encoder}", width = 16 }}
    over = ["rows", "test"]
    """
    text = text.replace(
        "[students.small]",
        f'[students.small]\nfeatures = {{ kind = "labels", of = "labels.seen" }}\n'
        f"heads = {{ main = {{ model = {own} }} }}",
    )
    file.write_text(text, "utf-8")
    with pytest.raises(
        JobError, match=r"small\.heads\.main\.model\.kind = 'encoder': does not see"
    ):
        load_job(file)
