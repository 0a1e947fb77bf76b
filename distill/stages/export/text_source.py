"""The parts of `model.py` of a student that reads tokens: how a text becomes tokens, and its trunk.
They stand here once more, in torch, transformers and tokenizers alone; tests hold what the file says
against the network."""

from __future__ import annotations

from distill.models.encoder_module import EncoderModule
from distill.models.static_module import StaticModule

READER = '''

class Reader:
    """A text's tokens: `{reading}`, at most {most}{long}."""

    def __init__(self, files):
        self.tokenizer = Tokenizer.from_str(files["tokenizer"])
        self.tokenizer.no_truncation()
        self.tokenizer.no_padding()
{prepare}
    def __call__(self, texts):
        """(rows, tokens) int32, behind a text's tokens -1."""
        rows = [self.tokens(text) for text in texts]
        width = max([1, *map(len, rows)])
        return torch.tensor([row + [-1] * (width - len(row)) for row in rows], dtype=torch.int32)
{tokens}
'''

_ENCODER_PREPARE = """        mask = self.tokenizer.encode("a").special_tokens_mask
        words = [number for number, is_mark in enumerate(mask) if not is_mark] or [len(mask)]
        self.before, self.behind = words[0], len(mask) - 1 - words[-1] if words[0] < len(mask) else 0
"""
_ENCODER_TOKENS = """
    def tokens(self, text):
        ids = self.tokenizer.encode(text).ids
        if len(ids) <= {most}:
            return ids
        room = max(0, {most} - self.before - self.behind)
        tail = {tail}
        head = self.before + room - tail
        return (ids[:head] + ids[len(ids) - self.behind - tail :])[:{most}]
"""
_STATIC_PREPARE = """        name = getattr(self.tokenizer.model, "unk_token", None)
        self.unknown = None if name is None else self.tokenizer.token_to_id(name)
        self.letters = {most} * int(median(map(len, self.tokenizer.get_vocab())))
"""
_STATIC_TOKENS = """
    def tokens(self, text):
        ids = self.tokenizer.encode(text[: self.letters], add_special_tokens=False).ids[:{most}]
        return [token for token in ids if token != self.unknown]
"""
_ENCODER = '''

class Encoder(nn.Module):
    """A transformer over tokens, and the pooling of its states."""

    def __init__(self, files, above):
        super().__init__()
        config = CONFIG_MAPPING[files["config"]["model_type"]].from_dict(files["config"])
        if config.pad_token_id is None:
            config.pad_token_id = 0
        self.pad = {pad}
        self.body = {model}.from_config(config, dtype=torch.float32)
        {without_head}
        self.above = above

    def forward(self, ids):
        mask = ids >= 0
        ids = torch.where(mask, ids, self.pad).long()
        mask = torch.cat([torch.ones_like(mask[:, :1]), mask[:, 1:]], 1)
        outputs = self.body(input_ids=ids, attention_mask=mask.long())
        {pooled}{normalized}
        return seen if self.above is None else self.above(seen)

'''
_CLS = """self.body.{head} = nn.Identity()"""
_POOLED = {
    "cls": "seen = outputs.logits",
    "mean": "states = outputs.last_hidden_state\n        weight = mask[:, :, None].to(states.dtype)\n"
    "        seen = (states * weight).sum(1) / weight.sum(1)",
    "last": "seen = outputs.last_hidden_state[torch.arange(len(ids)), mask.sum(1) - 1]",
}
_STATIC = '''

class Static(nn.Module):
    """The weighted mean of a text's token vectors."""

    def __init__(self, tokens, width, above):
        super().__init__()
        self.vectors = nn.Parameter(torch.zeros(tokens, width))
        self.weights = nn.Parameter(torch.zeros(tokens))
        self.above = above

    def forward(self, ids):
        mask = ids >= 0
        ids = torch.where(mask, ids, 0).long()
        weight = torch.where(mask, self.weights[ids], 0.0)
        seen = (self.vectors[ids] * weight[:, :, None]).sum(1) / mask.sum(1).clamp_min(1)[:, None]{normalized}
        return seen if self.above is None else self.above(seen)

'''
_NORMALIZED = "\n        seen = nn.functional.normalize(seen, dim=1)"
_POOLERLESS = "self.body.pooler = None"


def reader_source(trunk: EncoderModule | StaticModule) -> str:
    """Return the class that turns texts into tokens."""
    tokens = trunk.tokens
    most = tokens.most
    if isinstance(trunk, StaticModule):
        prepare = _STATIC_PREPARE.format(most=most)
        body = _STATIC_TOKENS.format(most=most)
        return READER.format(
            reading="without marks", most=most, long="", prepare=prepare, tokens=body
        )
    both = tokens.long_texts == "head_tail"
    body = _ENCODER_TOKENS.format(most=most, tail="room // 2" if both else "0")
    long = ", of a longer one its head and its tail" if both else ""
    return READER.format(
        reading="with marks", most=most, long=long, prepare=_ENCODER_PREPARE, tokens=body
    )


def trunk_source(trunk: EncoderModule | StaticModule) -> str:
    """Return the class that computes what the heads see."""
    normalized = _NORMALIZED if trunk.normalize else ""
    if isinstance(trunk, StaticModule):
        return _STATIC.format(normalized=normalized)
    is_classifier = trunk.pooling == "cls"
    without_head = _CLS.format(head=trunk.head) if is_classifier else _POOLERLESS
    model = "AutoModelForSequenceClassification" if is_classifier else "AutoModel"
    pooled = _POOLED[trunk.pooling]
    return _ENCODER.format(
        pad=trunk.pad, model=model, without_head=without_head, pooled=pooled, normalized=normalized
    )


def trunk_expression(trunk: EncoderModule | StaticModule, above: str) -> str:
    """Return what makes the trunk; `above` makes what stands on top of it."""
    if isinstance(trunk, StaticModule):
        tokens, width = trunk.vectors.shape
        return f"Static({tokens}, {width}, {above})"
    return f"Encoder(files, {above})"


def imports_of(trunk: EncoderModule | StaticModule) -> str:
    """Return the imports that these parts need, beside torch's and safetensors'."""
    if isinstance(trunk, StaticModule):
        return "from tokenizers import Tokenizer"
    names = "CONFIG_MAPPING, AutoModel, AutoModelForSequenceClassification"
    return f"from tokenizers import Tokenizer\nfrom transformers import {names}"
