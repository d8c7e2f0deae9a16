"""The tiny model's forward pass over questions with kept picture features and packed rows, for stage_2_variants.

Not a way to train (see emocaliber.stages.supervised): it makes the loss of stage 2 cheap enough to try many settings on
a CPU. Pictures go through the frozen vision tower once, and questions are tokenized once for each size of picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from emocaliber.core.images import load_image
from emocaliber.core.prompting import LEVELS, Template, load_template, messages
from emocaliber.core.samples import Sample
from emocaliber.models.loading import adapted
from emocaliber.models.location import model_folder
from emocaliber.runs.recipes import read_recipe
from emocaliber.stages.answer_paths import AnswerPaths, Paths
from emocaliber.stages.fast.families import image_token, vision_holder
from emocaliber.stages.fast.packing import LOSS_INDEX, PACKED_INDEX, pack_batch, use_packing
from emocaliber.stages.loading import load_base, load_processor
from emocaliber.stages.soft_targets import field_tensors, option_log_probs

Floats = npt.NDArray[np.float64]
BATCH = 96


@dataclass(frozen=True)
class Scored:
    """Of n answers: the log-probabilities of their labels and levels (n, options), and the loss of all other tokens
    (n,)."""

    labels: torch.Tensor
    levels: torch.Tensor
    other: torch.Tensor


class Forward:
    """Questions about kept pictures, through a model on the tiny base. `features` is the file that keeps them."""

    def __init__(self, samples: Sequence[Sample], features: Path) -> None:
        self.recipe = read_recipe(Path("recipes/tiny/2-verbalize.yaml"))
        self.folder = model_folder(self.recipe.model)
        self.processor: Any = load_processor(self.folder)
        self.paths = {name: AnswerPaths(self.processor, load_template(name)) for name in ("label", "label-confidence")}
        self._prompts: dict[tuple[Any, ...], list[int]] = {}
        if not features.exists():
            torch.save(self._seen(samples), features)
        self._features: dict[str, tuple[torch.Tensor, list[int]]] = torch.load(features)

    def _seen(self, samples: Sequence[Sample]) -> dict[str, tuple[torch.Tensor, list[int]]]:
        """What the tower makes of each picture, [tokens, width], and its grid of patches, by sample id."""
        tower, seen = vision_holder(load_base(self.recipe, self.folder)).visual, {}
        for start in range(0, len(samples), BATCH):
            part = samples[start : start + BATCH]
            pictures = [load_image(sample.image, self.recipe.shown_pixels) for sample in part]
            inputs = self.processor.image_processor(images=pictures, return_tensors="pt")
            with torch.inference_mode():
                output = tower(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"], return_dict=True)
            tokens = (inputs["image_grid_thw"].prod(-1) // tower.spatial_merge_size**2).tolist()
            parts = zip(part, output.pooler_output.split(tokens), inputs["image_grid_thw"].tolist(), strict=True)
            seen |= {sample.id: (features.clone(), grid) for sample, features, grid in parts}
        return seen

    def model(self, adapter: Path, *, trainable: bool) -> Any:
        """The base with an adapter, patched to take packed rows."""
        model = adapted(load_base(self.recipe, self.folder), adapter, trainable=trainable)
        use_packing(model)
        return model if trainable else model.eval()

    def prompt(self, sample: Sample, template: Template) -> list[int]:
        """The tokens of the question about a picture."""
        features, grid = self._features[sample.id]
        key = tuple(grid), sample.candidates, template.name
        if key not in self._prompts:
            question = messages(template.render(sample.candidates, question=sample.question))
            text = self.processor.apply_chat_template(question, tokenize=False, add_generation_prompt=True)
            token = self.processor.image_token
            text = text.replace(token, token * len(features))
            self._prompts[key] = self.processor.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._prompts[key]

    def logits(
        self, model: Any, samples: Sequence[Sample], template: Template, answers: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [n, width, vocabulary] before each token of the answers, and these tokens [n, width], -100 after a
        shorter answer's end."""
        asked = [self.prompt(sample, template) for sample in samples]
        written = [list(self.paths[template.name].tokens(answer)) for answer in answers]
        longest, width = max(len(a) + len(b) for a, b in zip(asked, written, strict=True)), max(map(len, written))
        ids, mask = torch.zeros(len(asked), longest, dtype=torch.long), torch.zeros(len(asked), longest).bool()
        next_tokens = torch.full((len(asked), width), -100)
        for n, (question, answer) in enumerate(zip(asked, written, strict=True)):
            length = len(question) + len(answer)
            ids[n, :length], mask[n, :length] = torch.tensor(question + answer), True
            next_tokens[n, : len(answer)] = torch.tensor(answer)
        kept = [self._features[sample.id] for sample in samples]
        batch = pack_batch(
            model,
            {
                "input_ids": ids,
                "attention_mask": mask,
                "mm_token_type_ids": (ids == image_token(model)).long() * mask,
                "image_grid_thw": torch.tensor([grid for _, grid in kept]),
            },
        )
        first = torch.tensor([len(question) for question in asked])
        places = (first[:, None] - 1 + torch.arange(width)).clamp(max=longest - 1)
        at = batch[PACKED_INDEX].gather(1, places)
        inner = model.get_base_model()
        embedded = inner.get_input_embeddings()(batch["input_ids"])
        pictures = (batch["input_ids"] == image_token(model))[..., None].expand_as(embedded)
        hidden = inner.model.language_model(
            inputs_embeds=embedded.masked_scatter(pictures, torch.cat([features for features, _ in kept])),
            position_ids=batch["position_ids"],
            use_cache=False,
            **{PACKED_INDEX: batch[PACKED_INDEX], LOSS_INDEX: at},
        ).last_hidden_state
        return inner.lm_head(hidden[0, at.flatten()]).view(*at.shape, -1), next_tokens

    def scored(self, model: Any, samples: Sequence[Sample], template: Template, answers: Sequence[str]) -> Scored:
        """Labels, levels and other tokens along the written answers."""
        logits, next_tokens = self.logits(model, samples, template, answers)
        paths, normaliser = self.paths[template.name], logits.float().logsumexp(-1)
        start = torch.zeros(len(samples), 1, dtype=torch.long)
        weights = (next_tokens != -100).float()

        def options(of: list[Paths | None]) -> torch.Tensor:
            even = [None if path is None else (1 / len(path.steps),) * len(path.steps) for path in of]
            field = field_tensors(of, even, start[:, 0])
            rows, _, _ = torch.nonzero(field["mask"], as_tuple=True)
            weights[rows, field["positions"][field["mask"]]] = 0
            return option_log_probs(logits, normaliser, field, start)

        pairs = list(zip(samples, answers, strict=True))
        labels = options([paths.labels(answer, sample.candidates) for sample, answer in pairs])
        states = "confidence" in template.fields
        levels = options([paths.levels(answer) if states else None for _, answer in pairs])
        written = logits.gather(-1, next_tokens.clamp(min=0)[..., None]).squeeze(-1).float() - normaliser
        return Scored(labels, levels, -(written * weights).sum(1))

    @torch.inference_mode()
    def beliefs(self, model: Any, samples: Sequence[Sample], template: Template) -> list[Floats]:
        """The model's distribution over each sample's candidates."""
        found: list[Floats] = [np.empty(0)] * len(samples)
        for part in self._batches(samples, template):
            chosen = [samples[i] for i in part]
            scored = self.scored(model, chosen, template, [_answer(template, s.candidates[0], 0.5) for s in chosen])
            for i, row in zip(part, scored.labels, strict=True):
                found[i] = row[: len(samples[i].candidates)].double().softmax(-1).numpy()
        return found

    @torch.inference_mode()
    def levels(self, model: Any, samples: Sequence[Sample], labels: Sequence[str], template: Template) -> Floats:
        """The model's distribution over the levels (n, 21) after each of the labels."""
        found = np.empty((len(samples), len(LEVELS)))
        for part in self._batches(samples, template):
            answers = [_answer(template, labels[i], 0.5) for i in part]
            scored = self.scored(model, [samples[i] for i in part], template, answers)
            found[part] = scored.levels.double().softmax(-1).numpy()
        return found

    def _batches(self, samples: Sequence[Sample], template: Template) -> list[list[int]]:
        order = sorted(range(len(samples)), key=lambda i: len(self.prompt(samples[i], template)))
        return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def _answer(template: Template, label: str, confidence: float) -> str:
    return template.write(label=label, confidence=confidence if "confidence" in template.fields else None)
