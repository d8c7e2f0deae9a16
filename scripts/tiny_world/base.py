"""Pretrain the tiny backbone: it learns to read and describe drawings, before it meets an emotion.

Not one of the three stages and not LoRA: all weights learn, once, and the result ships with the package. Two losses:
the words that describe the drawing, and, on the vision tower's tokens, which characters stand at that place (its head
is thrown away).

    python -m scripts.tiny_world.base --out emocaliber/data/tiny-base
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedTokenizerFast, Qwen2_5_VLForConditionalGeneration
from transformers.modeling_outputs import BaseModelOutputWithPooling

from emocaliber.core.prompting import load_template, messages
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.data.embedded import FILES
from scripts.tiny_world.backbone import (
    HIDDEN,
    IMAGE,
    MERGE,
    PATCH,
    TURN_END,
    build_processor,
    build_tiny,
    build_tokenizer,
)
from scripts.tiny_world.drawings import (
    BAR,
    COLOURS,
    DESCRIBE,
    EYES,
    MOUTHS,
    READ,
    SHAPES,
    SHOWS,
    WORDS,
    Artist,
    Drawing,
    reading_texts,
    shown_words,
    signs_of,
)

CELL = PATCH * MERGE
LONGEST = 18  # characters of a text that is read: longer ones would pad every batch


@dataclass(frozen=True)
class BaseSettings:
    """How the base is trained: `steps` of `processes` times so many drawings.

    Squares (faces, shapes) and `described` lines are put into words; further lines, `shown`, only teach
    the vision tower its characters, at half the cost.
    """

    steps: int = 2000
    processes: int = 2
    squares: int = 6
    described: int = 36
    shown: int = 24
    learning_rate: float = 1.5e-3
    warmup: float = 0.04
    weight_decay: float = 0.01
    character_loss: float = 1.0
    seed: int = 0


def patches(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """[h, w, 3] pixels to [patches, 1176], in the order and scale of the tiny processor."""
    h, w = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    values = ((pixels.astype(np.float32) / 255 - 1.0) / 0.5).astype(np.float32)
    cells = values.reshape(h, MERGE, PATCH, w, MERGE, PATCH, 3).transpose(0, 3, 1, 4, 6, 2, 5)
    twice = np.repeat(cells[:, :, :, :, :, None], 2, axis=5)
    flat: npt.NDArray[np.float32] = twice.reshape(h * w * MERGE * MERGE, -1)
    return flat


class Batcher:
    """Turns drawings into the model's inputs and the targets of both losses."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, characters: list[str]) -> None:
        self.tokenizer = tokenizer
        self.image = int(tokenizer.convert_tokens_to_ids(IMAGE))  # type: ignore[arg-type]
        self.index = {c: i + 1 for i, c in enumerate(characters)}
        self.classes = len(characters) + 1
        chat = build_processor(tokenizer)
        self.heads = {
            q: chat.apply_chat_template(messages(q), add_generation_prompt=True, tokenize=False)
            for q in (READ, BAR, DESCRIBE, SHOWS)
        }

    def __call__(self, drawings: list[Drawing], described: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """Pixels of all drawings, texts of the first `told`, and [image tokens, classes] shares of each character."""
        rows = [self._row(d) for d in drawings[:described]]
        width = max(len(ids) for ids, _ in rows)
        pad = self.tokenizer.pad_token_id
        ids = torch.tensor([r + [pad] * (width - len(r)) for r, _ in rows])
        mask = torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r, _ in rows])
        labels = torch.where((torch.arange(width) >= torch.tensor([[h] for _, h in rows])) & (mask == 1), ids, -100)
        inputs = {
            "input_ids": ids,
            "attention_mask": mask,
            "labels": labels,
            "mm_token_type_ids": ids.eq(self.image).int(),
            "pixel_values": torch.from_numpy(np.concatenate([patches(d.pixels) for d in drawings])),
            "image_grid_thw": torch.tensor([[1, *(n // PATCH for n in d.pixels.shape[:2])] for d in drawings]),
        }
        return inputs, torch.from_numpy(np.concatenate([self._characters(d) for d in drawings]))

    def _row(self, drawing: Drawing) -> tuple[list[int], int]:
        cells = drawing.pixels.shape[0] * drawing.pixels.shape[1] // CELL**2
        head = self.tokenizer(self.heads[drawing.question].replace(IMAGE, IMAGE * cells)).input_ids
        return head + self.tokenizer(drawing.answer + TURN_END).input_ids, len(head)

    def _characters(self, drawing: Drawing) -> npt.NDArray[np.float32]:
        """Shares of characters per cell; rows of zeros where the drawing is no line of signs."""
        cells = drawing.pixels.shape[0] * drawing.pixels.shape[1] // CELL**2
        shares = np.zeros((cells, self.classes), np.float32)
        if drawing.question not in {READ, SHOWS}:
            return shares
        for span in drawing.spans:
            for cell in range(span.start // CELL, min(-(-span.end // CELL), cells)):
                overlap = min(span.end, (cell + 1) * CELL) - max(span.start, cell * CELL)
                shares[cell, self.index.get(span.character, 0)] += max(overlap, 0)
        shares[:, 0] += np.maximum(CELL - shares.sum(1), 0)
        shares /= shares.sum(1, keepdims=True)
        return shares


def both_losses(
    model: Qwen2_5_VLForConditionalGeneration, head: nn.Linear, inputs: dict[str, torch.Tensor], shares: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss per word token, and mean cross-entropy of the character shares per image token of a line."""
    inputs = dict(inputs)
    features = model.get_image_features(inputs.pop("pixel_values"), inputs["image_grid_thw"])
    labels = inputs.pop("labels")
    described_rows = len(labels)
    inputs["image_grid_thw"] = inputs["image_grid_thw"][:described_rows]
    pictures = BaseModelOutputWithPooling(pooler_output=features.pooler_output[:described_rows])
    hidden = model.model(**inputs, mm_encoder_outputs={"image": pictures}).last_hidden_state[:, :-1]
    described = labels[:, 1:] != -100
    words = F.cross_entropy(model.lm_head(hidden[described]), labels[:, 1:][described])
    line = shares.sum(1) > 0
    logits = head(torch.cat(list(features.pooler_output))[line])
    return words, -(shares[line] * logits.log_softmax(-1)).sum(-1).mean()


def drawings(artist: Artist, settings: BaseSettings) -> Iterator[list[Drawing]]:
    """Endless batches: lines, bars and words, and some squares."""
    while True:
        squares = [artist.square() for _ in range(settings.squares)]
        yield squares + [artist.wide() for _ in range(settings.described + settings.shown)]


def make_base(out: Path, settings: BaseSettings = BaseSettings()) -> None:
    """Build the tokenizer from the embedded texts, teach a fresh tiny model, and save both to `out`."""
    rows = pq.read_table(FILES["kaomoji"], columns=["text", "shows", "split"]).to_pylist()
    texts = [text for text in reading_texts(rows) if len(text) <= LONGEST]
    shows = shown_words(rows)
    teach(texts, shows, reading_tokenizer(texts, sorted(set(shows.values()))), settings, out)


def reading_tokenizer(texts: list[str], shows: list[str]) -> PreTrainedTokenizerFast:
    """The tokenizer whose whole tokens are the words of the trained prompts and drawings, and the texts' signs."""
    prompts = [load_template(name).render(KAOMOJI_10.labels) for name in ("label", "label-confidence")]
    parts = (*WORDS, *COLOURS, *SHAPES, *EYES, *MOUTHS, "mouth", "eyes", "face", "cheeks", "tear")
    prompts += [
        READ,
        BAR,
        DESCRIBE,
        SHOWS,
        *shows,
        "nothing else",
        "user\n",
        "assistant\n",
        *WORDS,
        *(f" {part}" for part in parts),
        *COLOURS,
    ]
    return build_tokenizer(prompts * 3, signs_of(texts))


def teach(
    texts: list[str],
    shows: dict[str, str],
    tokenizer: PreTrainedTokenizerFast,
    settings: BaseSettings,
    out: Path,
) -> None:
    """Train a fresh tiny model on drawings of `texts`, one thread a process, and save it to `out`.

    Every process draws its own stream and the gradients are averaged, so the result depends on the settings alone.
    """
    with tempfile.TemporaryDirectory() as meeting:
        mp.start_processes(  # type: ignore[attr-defined, no-untyped-call]
            _worker,
            (Path(meeting) / "store", texts, shows, tokenizer, settings, out),
            nprocs=settings.processes,
            start_method="spawn",
        )


def _worker(
    rank: int,
    store: Path,
    texts: list[str],
    shows: dict[str, str],
    tokenizer: PreTrainedTokenizerFast,
    settings: BaseSettings,
    out: Path,
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=settings.processes)
    model = build_tiny(tokenizer, settings.seed)
    batcher = Batcher(tokenizer, Artist(texts, 0).signs)
    head = nn.Linear(HIDDEN, batcher.classes)
    log = _train(model, head, batcher, drawings(Artist(texts, settings.seed + rank, shows), settings), settings)
    if rank == 0:
        _save(model, tokenizer, out, {"settings": asdict(settings), "log": log})
    dist.destroy_process_group()


def _train(
    model: Qwen2_5_VLForConditionalGeneration,
    head: nn.Linear,
    batcher: Batcher,
    stream: Iterator[list[Drawing]],
    settings: BaseSettings,
) -> list[dict[str, float]]:
    weights = [*model.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(weights, lr=0.0, betas=(0.9, 0.98), weight_decay=settings.weight_decay)
    began, recent, log = time.monotonic(), [], []
    for step, batch in enumerate(itertools.islice(stream, settings.steps), start=1):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * _schedule(step / settings.steps, settings.warmup)
        words, characters = both_losses(model, head, *batcher(batch, settings.squares + settings.described))
        (words + settings.character_loss * characters).backward()
        _average_gradients(weights)
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimiser.step()
        optimiser.zero_grad()
        recent.append((words.item(), characters.item()))
        if step % 50 == 0:
            log.append(_report(step, (time.monotonic() - began) / 60, recent))
            recent = []
    return log


def _schedule(progress: float, warmup: float) -> float:
    return min(progress / warmup, 0.5 * (1 + math.cos(math.pi * progress)))


def _average_gradients(weights: list[nn.Parameter]) -> None:
    gradients = [w.grad for w in weights if w.grad is not None]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for gradient, mean in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(mean.view_as(gradient))


def _report(step: int, minutes: float, recent: list[tuple[float, float]]) -> dict[str, float]:
    words, characters = np.mean(recent, axis=0)
    if dist.get_rank() == 0:
        print(f"step {step:5}  {minutes:5.1f} min  words {words:.3f}  characters {characters:.3f}", flush=True)
    return {"step": step, "words": round(float(words), 4), "characters": round(float(characters), 4)}


def _save(
    model: Qwen2_5_VLForConditionalGeneration, tokenizer: PreTrainedTokenizerFast, out: Path, training: dict[str, Any]
) -> None:
    """Write weights, processor and how they came about."""
    model.save_pretrained(out)
    build_processor(tokenizer).save_pretrained(out)
    (out / "training.json").write_text(json.dumps(training, indent=1) + "\n")


def main() -> None:
    """Read the command line's options, and build the base."""
    parser = argparse.ArgumentParser(description="Pretrain the tiny backbone on synthetic drawings.")
    parser.add_argument("--out", type=Path, required=True, help="where the model and its processor are written")
    parser.add_argument(
        "--steps", type=int, default=2000, help="training steps; 2000 took 30 minutes on 2 shared CPU cores"
    )
    arguments = parser.parse_args()
    make_base(arguments.out, BaseSettings(steps=arguments.steps))


if __name__ == "__main__":
    main()
