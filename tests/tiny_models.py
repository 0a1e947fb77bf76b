"""Tiny models of the libraries that ready labelers load, saved as a person would save them."""

from __future__ import annotations

from pathlib import Path

import torch

_SAID = "a good bad film game team wins loses market falls rises this example is about sport money of the and very long text here"
WORDS = _SAID.split()
TEXTS = [
    "the team wins a game",
    "market falls",
    "this film is very very bad and very long",
    "a",
    "",
    "the market rises and the team loses the game of the text",
    "unknown words only",
]


def save_tokenizer(folder: Path, longest: int = 32):
    """Whole words, with the marks of BERT."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {
        word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])
    }
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=longest,
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _config(**more):
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(WORDS) + 4,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
        initializer_range=0.6,  # so that texts differ
        **more,
    )


def save_classifier(folder: Path, labels: list[str], *, seed: int = 0, **more) -> Path:
    """A sequence classifier with random weights."""
    from transformers import BertForSequenceClassification

    torch.manual_seed(seed)
    names = dict(enumerate(labels))
    config = _config(
        id2label=names, label2id={name: number for number, name in names.items()}, **more
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_encoder(folder: Path, *, seed: int = 0) -> Path:
    """A sentence-transformers model of mean-pooled states with random weights."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer import modules
    from transformers import BertModel

    torch.manual_seed(seed)
    parts = folder.with_name(f"{folder.name}-parts")
    BertModel(_config()).save_pretrained(parts)
    save_tokenizer(parts)
    words = modules.Transformer(str(parts), max_seq_length=32)
    SentenceTransformer(
        modules=[words, modules.Pooling(words.get_embedding_dimension())], device="cpu"
    ).save(str(folder))
    return folder


def save_word_vectors(folder: Path, *, seed: int = 0) -> Path:
    """A sentence-transformers model that is a table of random word vectors."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = save_tokenizer(folder.with_name(f"{folder.name}-tokenizer")).backend_tokenizer
    vectors = torch.randn(len(WORDS) + 4, 16, generator=torch.Generator().manual_seed(seed))
    module = StaticEmbedding(tokenizer, embedding_weights=vectors.numpy())
    SentenceTransformer(modules=[module], device="cpu").save(str(folder))
    return folder
