"""Teach the photo base's vision tower and projector to see what faces show, before the language model learns to say it.

The projector's outputs for a face are drawn to the language model's own embeddings of the emotions' names, by the
raters' shares of each. The language model is not run, so that a face costs a fraction of what it costs in stage 1; its
weights stay as they are. Only the train split is learned from, mirrored and shifted at random; the calibrate split
is looked at after each epoch and chooses nothing.

    python scripts/warm_photo_base.py --base out/photo-base --data out/ferplus.parquet --out out/photo-base-warm

The faces' terms hold for what is taught on them: FER-2013's are for research, and neither they nor this base are
redistributed with emocaliber.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from transformers import AutoModelForImageTextToText, AutoProcessor

from emocaliber.core.errors import UserError
from emocaliber.core.images import load_image
from emocaliber.core.samples import Sample
from emocaliber.data.parquet import read_samples

TOWER_RATE, PROJECTOR_RATE = 1e-4, 5e-4
DECAY = 0.8  # each block of the tower learns at this share of the rate of the block above it
FROZEN_BLOCKS = 4  # the lowest, whose edges and textures serve faces as they are
SHIFT = 6  # pixels of the square that the tower sees
PULL = 0.1  # weight of the distance to the words' embeddings, which keeps the outputs where the language model reads


class WordHead(nn.Module):
    """Label logits of a picture's tokens: their directions against those of the labels' names among the embeddings."""

    def __init__(self, model: Any, tokenizer: Any, labels: Sequence[str]) -> None:
        super().__init__()
        table = model.get_input_embeddings().weight.detach().float()
        words = [table[tokenizer(f" {label}", add_special_tokens=False)["input_ids"]].mean(0) for label in labels]
        self.words: torch.Tensor
        self.register_buffer("words", torch.stack(words))
        self.centre = self.words.mean(0)
        self.directions = F.normalize(self.words - self.centre, dim=1)
        self.scale = nn.Parameter(torch.tensor(8.0))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """[pictures, tokens, width] to [pictures, labels]."""
        logits: torch.Tensor = self.scale * F.normalize(tokens - self.centre, dim=-1).mean(1) @ self.directions.T
        return logits

    def loss(self, tokens: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        """Cross-entropy with the raters' shares [pictures, labels], and the pull towards the words' mean by share."""
        entropy: torch.Tensor = -(shares * self(tokens).log_softmax(-1)).sum(-1).mean()
        wanted = (shares @ self.words)[:, None].expand_as(tokens)
        return entropy + PULL * F.mse_loss(tokens, wanted) / self.words.var()


def picture_tokens(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The projector's outputs [pictures, tokens, width] for pixels, with gradients."""
    seen = model.model.vision_tower(pixel_values=pixels).last_hidden_state[:, 1:]
    side = int(seen.shape[1] ** 0.5)
    folded = model.model.pixel_shuffle(
        seen.reshape(len(seen), side, side, -1), scale_factor=model.config.downsample_ratio
    )
    tokens: torch.Tensor = model.model.multi_modal_projector(folded.reshape(len(seen), -1, folded.shape[-1]))
    return tokens


def read_faces(samples: Sequence[Sample], processor: Any, labels: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels as bytes [faces, 3, side, side] and the raters' shares [faces, labels]."""
    pixels, shares = [], []
    for sample in samples:
        face = load_image(sample.image)
        made = processor.image_processor(face, return_tensors="pt", do_normalize=False, do_rescale=False)
        pixels.append(made["pixel_values"][0].round().clamp(0, 255).to(torch.uint8))
        votes = np.array([float((sample.votes or {}).get(label, 0)) for label in labels])
        shares.append(votes / votes.sum())
    return torch.stack(pixels), torch.tensor(np.array(shares), dtype=torch.float32)


def disturbed(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Each face mirrored or not and moved by some pixels, edges repeated."""
    padded = F.pad(pixels, (SHIFT, SHIFT, SHIFT, SHIFT), mode="replicate")
    side = pixels.shape[-1]
    moves = torch.randint(0, 2 * SHIFT + 1, (len(pixels), 2), generator=generator).tolist()
    mirrored = (torch.rand(len(pixels), generator=generator) < 0.5).tolist()
    cut = [face[:, y : y + side, x : x + side] for face, (y, x) in zip(padded, moves, strict=True)]
    return torch.stack([face.flip(-1) if turn else face for face, turn in zip(cut, mirrored, strict=True)])


class Warming:
    """The training of tower and projector."""

    def __init__(self, model: Any, processor: Any, labels: Sequence[str], steps: int, bf16: bool) -> None:
        self.model, self.head, self.bf16 = model, WordHead(model, processor.tokenizer, labels), bf16
        shown = processor.image_processor
        self.mean, self.deviation = (torch.tensor(each)[:, None, None] for each in (shown.image_mean, shown.image_std))
        tower, projector = model.model.vision_tower, model.model.multi_modal_projector
        tower.requires_grad_(False)
        blocks = list(tower.encoder.layer)[FROZEN_BLOCKS:]
        groups: list[dict[str, Any]] = [
            {"params": [*projector.parameters(), self.head.scale], "lr": PROJECTOR_RATE},
            *(
                {"params": list(block.requires_grad_().parameters()), "lr": TOWER_RATE * DECAY**depth}
                for depth, block in enumerate(reversed(blocks))
            ),
        ]
        self.weights = [weight for group in groups for weight in group["params"]]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.02)
        rates = [group["lr"] for group in groups]
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(self.optimizer, rates, total_steps=steps, pct_start=0.1)

    def tokens(self, pixels: torch.Tensor) -> torch.Tensor:
        """The projector's outputs [pictures, tokens, width] for pixels as bytes, in float32."""
        with torch.autocast("cpu", torch.bfloat16, enabled=self.bf16):
            return picture_tokens(self.model, (pixels.float() / 255 - self.mean) / self.deviation).float()

    def step(self, pixels: torch.Tensor, shares: torch.Tensor) -> float:
        """One step on a batch; its loss."""
        loss = self.head.loss(self.tokens(pixels), shares)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.weights, 1.0)
        self.optimizer.step()
        self.schedule.step()
        return loss.item()

    @torch.inference_mode()
    def accuracy(self, pixels: torch.Tensor, shares: torch.Tensor) -> tuple[float, float]:
        """Share of faces whose nearest word is the raters' favourite, and the cross-entropy with their shares."""
        self.model.eval()
        logits = [self.head(self.tokens(part)) for part in pixels.split(64)]
        self.model.train()
        found = torch.cat(logits)
        right = (found.argmax(1) == shares.argmax(1)).float().mean()
        return float(right), float(-(shares * found.log_softmax(-1)).sum(-1).mean())


def warm(model: Any, processor: Any, samples: Sequence[Sample], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Train on the train split; a record for each epoch."""
    voted = [sample for sample in samples if any((sample.votes or {}).values())]
    if not voted:
        raise UserError(f"{arguments.data}: no row has votes; convert it with its raters' votes")
    for split in ("train", "calibrate"):
        if not any(sample.split == split for sample in voted):
            raise UserError(f"{arguments.data}: no row of split {split} has votes: see `emocaliber data split`")
    labels = list(voted[0].candidates)
    taught = read_faces([sample for sample in voted if sample.split == "train"], processor, labels)
    watched = read_faces([sample for sample in voted if sample.split == "calibrate"], processor, labels)
    steps = len(taught[0]) // arguments.batch
    training = Warming(model, processor, labels, steps * arguments.epochs, arguments.bf16)
    generator, records, started = torch.Generator().manual_seed(arguments.seed), [], time.perf_counter()
    for epoch in range(arguments.epochs):
        order, losses = torch.randperm(len(taught[0]), generator=generator), []
        for step in range(steps):
            chosen = order[step * arguments.batch : (step + 1) * arguments.batch]
            losses.append(training.step(disturbed(taught[0][chosen], generator), taught[1][chosen]))
            if (step + 1) % 50 == 0:
                passed = time.perf_counter() - started
                print(f"epoch {epoch + 1}, step {step + 1}/{steps}: loss {np.mean(losses[-50:]):.3f}, {passed:.0f} s",
                      flush=True)  # fmt: skip
        right, entropy = training.accuracy(*watched)
        records.append({"epoch": epoch + 1, "loss": float(np.mean(losses)), "calibrate_accuracy": right,
                        "calibrate_cross_entropy": entropy, "seconds": time.perf_counter() - started})  # fmt: skip
        print(json.dumps(records[-1]), flush=True)
    return records


def main() -> None:
    """Read the base and the faces, train, and write the base with what it learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, required=True, help="folder of scripts/build_photo_base.py")
    parser.add_argument("--data", type=Path, required=True, help="Parquet file of faces with votes and splits")
    parser.add_argument("--out", type=Path, required=True, help="folder of the taught base; it must not exist")
    parser.add_argument("--epochs", type=int, default=1, help="default: 1")
    parser.add_argument("--batch", type=int, default=32, help="faces a step (default: 32)")
    parser.add_argument("--bf16", action="store_true", help="faster on a CPU with AMX, slower on one without")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    arguments = parser.parse_args()
    if arguments.out.exists():
        raise UserError(f"{arguments.out} exists already; name a new folder")
    torch.manual_seed(arguments.seed)
    model = AutoModelForImageTextToText.from_pretrained(arguments.base, dtype=torch.float32).train()
    processor: Any = AutoProcessor.from_pretrained(arguments.base)  # type: ignore[no-untyped-call]
    records = warm(model, processor, read_samples(arguments.data), arguments)
    model.to(torch.bfloat16).save_pretrained(arguments.out)
    processor.save_pretrained(arguments.out)
    (arguments.out / "warming.json").write_text(json.dumps(records, indent=2) + "\n")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(f"warm_photo_base: {error}") from None
