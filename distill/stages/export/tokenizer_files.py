"""A student's tokenizer, as the libraries that load an export look for it."""

from __future__ import annotations

import json

from distill.models.encoder_files import pad_token
from distill.models.text_files import TextFiles
from distill.models.text_tokens import ModelTokens

_MARKS = ("unk_token", "cls_token", "sep_token", "mask_token", "bos_token", "eos_token")


def tokenizer_json(tokens: ModelTokens) -> bytes:
    """Return the tokenizer, which cuts a longer text's end off where its library alone is asked."""
    tokenizer = tokens.files.tokenizer
    plain = json.loads(tokenizer)
    plain["padding"] = None
    plain["truncation"] = {
        "direction": "Right",
        "max_length": tokens.most,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    return json.dumps(plain, ensure_ascii=False).encode()


def tokenizer_files(tokens: ModelTokens) -> dict[str, bytes]:
    """Return `tokenizer.json` and the configuration that transformers reads beside it."""
    files = tokens.files
    own = files.tokenizer_config
    # the class that takes tokenizer.json as it is; others build a tokenizer of their own from it
    config: dict[str, object] = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokens.most,
        # DistilBERT and others take no token types, and who takes them has zeros by default
        "model_input_names": ["input_ids", "attention_mask"],
        "pad_token": _token(files, pad_token(files)),
    }
    config |= {mark: _plain(own[mark]) for mark in _MARKS if own.get(mark)}
    config_bytes = json.dumps(config, indent=2).encode()
    return {"tokenizer.json": tokenizer_json(tokens), "tokenizer_config.json": config_bytes}


def _plain(mark: object) -> object:
    """A mark's text, where it is stored with how it is cut out."""
    return mark["content"] if isinstance(mark, dict) else mark


def _token(files: TextFiles, number: int) -> str | None:
    from tokenizers import Tokenizer

    token: str | None = Tokenizer.from_str(files.tokenizer).id_to_token(number)
    return token
