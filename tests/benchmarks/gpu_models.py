"""The teachers of `gpu_labelers`: a ViT-B/16 over raw images and an encoder of BERT-base's size
over texts, in plain torch, weights drawn by a seed.

This file is also what a job ships to its workers, so it imports nothing of ours. The constants are
replaced in the copy that a job gets (`tests.benchmarks.pools.write_source`).

`prepare` ends with the batch on its way to the device, so that `label` only computes: the copy
hides behind the other fragment's batch.

Shapes: B rows, T tokens of a row, D width, H heads.
"""

import os
import time
from functools import lru_cache
from itertools import chain, pairwise
from zlib import crc32

import numpy as np
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

LAYERS = 12
WIDTH = 768
HEADS = 12
SIDE = 224
PATCH = 16
CLASSES = 1_000
VOCABULARY = 30_522
LONGEST = 128
"""Tokens of a text; what is longer is cut."""
SORTED_ROWS = 256
"""Texts of about one length that are computed together."""
LOG = ""
"""File that gets a line a batch: process, when it began and ended on the device, rows."""
ASLEEP_SECONDS = 0.0
"""What a batch takes the labelers that sleep."""

_BEGINNING, _FIRST_WORD = 1, 2
"""Tokens; 0 is padding."""


class Block(nn.Module):
    """One layer of a transformer, norms first."""

    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = (
            nn.LayerNorm(WIDTH),
            nn.Linear(WIDTH, 3 * WIDTH),
            nn.Linear(WIDTH, WIDTH),
        )
        self.mlp = nn.Sequential(
            nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH)
        )

    def forward(self, x_BTD, mask=None):
        qkv = self.qkv(self.norm(x_BTD)).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(*qkv, attn_mask=mask)
        x_BTD = x_BTD + self.out(seen.transpose(1, 2).flatten(2))
        return x_BTD + self.mlp(x_BTD)


class VisionTransformer(nn.Module):
    """Images (B, side, side, 3) uint8 → logits (B, classes)."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Linear(PATCH * PATCH * 3, WIDTH)
        self.first = nn.Parameter(torch.randn(1, 1, WIDTH) * 0.02)
        self.places = nn.Parameter(torch.randn(1 + (SIDE // PATCH) ** 2, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.head = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES))

    def forward(self, images):
        scaled = images.to(self.places.dtype) / 127.5 - 1  # here, so that bytes travel
        a_side, rows = SIDE // PATCH, len(images)
        cut = (
            scaled.reshape(rows, a_side, PATCH, a_side, PATCH, 3)
            .transpose(2, 3)
            .reshape(rows, a_side**2, -1)
        )
        x_BTD = (
            torch.cat([self.first.expand(rows, 1, WIDTH), self.patches(cut)], dim=1) + self.places
        )
        return self.head(self.blocks(x_BTD)[:, 0])


class TextEncoder(nn.Module):
    """Tokens (B, T) → embeddings (B, D): the mean over a text's tokens."""

    def __init__(self):
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, tokens_BT):
        there_BT = tokens_BT > 0
        x_BTD = self.words(tokens_BT) + self.places.weight[: tokens_BT.shape[1]]
        for block in self.blocks:
            x_BTD = block(x_BTD, there_BT[:, None, None, :])
        kept_BTD = self.norm(x_BTD) * there_BT[:, :, None]
        return kept_BTD.sum(1) / there_BT.sum(1, keepdim=True)


class Staged:
    """Arrays of one batch on the device, or on their way: pinned, on a stream of their own, so that
    the device computes meanwhile."""

    def __init__(self, device, stream, *arrays):
        self.rows = len(arrays[0])
        if stream is None:
            self.there, self.done = [torch.from_numpy(each).clone() for each in arrays], None
            return
        with torch.cuda.stream(stream):
            pinned = [torch.from_numpy(each).pin_memory() for each in arrays]
            self.there = [each.to(device, non_blocking=True) for each in pinned]
            self.done = stream.record_event()

    def arrived(self):
        """The tensors, for the current stream."""
        if self.done is not None:
            current = torch.cuda.current_stream()
            current.wait_event(self.done)
            for each in self.there:
                each.record_stream(current)
        return self.there


class Teacher:
    """A network in bfloat16 on the GPU, where there is one. `compute` is what the benchmark also
    times alone."""

    revision = "1"
    precision = "bfloat16"
    network_class = nn.Identity

    def __init__(self):
        on_gpu = torch.cuda.is_available()
        self.device = torch.device("cuda" if on_gpu else "cpu")
        self.stream = torch.cuda.Stream() if on_gpu else None
        torch.manual_seed(0)
        self.network = self.network_class().eval().to(self.device, torch.bfloat16)

    def label(self, staged):
        began = time.time()
        answer = _to_host(self.compute(staged))
        _note(began, len(answer))
        return answer


class Images(Teacher):
    """Logits of 1,000 classes."""

    classes = tuple(map(str, range(CLASSES)))
    network_class = VisionTransformer

    def prepare(self, images):
        return Staged(self.device, self.stream, images)

    @torch.inference_mode()
    def compute(self, staged):
        return self.network(*staged.arrived()).float()


class Texts(Teacher):
    """Embeddings. Texts are sorted by length and computed some at a time, so that little is
    padding; the answers are in the rows' order."""

    kind = "value"
    width = WIDTH
    network_class = TextEncoder

    def prepare(self, texts):
        tokens_BT, lengths = tokenise(texts)
        order = np.argsort(lengths, kind="stable")
        staged = Staged(self.device, self.stream, tokens_BT[order], order)
        starts = [*range(0, len(texts), SORTED_ROWS), len(texts)]
        # whole eights: attention is fast on few shapes
        staged.cuts = [
            (start, stop, -(-lengths[order[stop - 1]] // 8) * 8) for start, stop in pairwise(starts)
        ]
        return staged

    @torch.inference_mode()
    def compute(self, staged):
        tokens_BT, order = staged.arrived()
        parts = [
            self.network(tokens_BT[start:stop, :longest]) for start, stop, longest in staged.cuts
        ]
        sorted_BD = torch.cat(parts).float()
        return torch.empty_like(sorted_BD).index_copy_(0, order, sorted_BD)


class _Asleep:
    """Keeps a device busy without one, and without a CPU: what the stage makes a device wait shows
    on any machine."""

    network_class = nn.Identity

    def compute(self, staged):
        time.sleep(ASLEEP_SECONDS)
        return _answers(staged.rows, getattr(self, "width", CLASSES))


class AsleepImages(_Asleep, Images):
    """`Images` that sleep."""


class AsleepTexts(_Asleep, Texts):
    """`Texts` that sleep."""


def tokenise(texts):
    """Tokens (B, LONGEST) int32, each word hashed into the vocabulary, and lengths (B,)."""
    tokens = [[_BEGINNING, *map(_token, text.split()[: LONGEST - 1])] for text in texts]
    lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
    tokens_BT = np.zeros((len(tokens), LONGEST), np.int32)
    tokens_BT[np.arange(LONGEST) < lengths[:, None]] = np.fromiter(chain(*tokens), np.int32)
    return tokens_BT, lengths


@lru_cache(1 << 20)
def _token(word):
    return _FIRST_WORD + crc32(word.encode()) % (VOCABULARY - _FIRST_WORD)


@lru_cache
def _answers(rows, width):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


def _to_host(answers):
    if not answers.is_cuda:
        return answers.numpy()
    host = torch.empty(answers.shape, pin_memory=True)
    host.copy_(answers, non_blocking=True)
    done = torch.cuda.Event(blocking=True)  # sleeps, where `.cpu()` would spin on a core
    done.record()
    done.synchronize()
    return host.numpy()


def _note(began, rows):
    if LOG:
        line = f"{os.getpid()} {began:.6f} {time.time():.6f} {rows}\n".encode()
        log = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(log, line)
        os.close(log)
