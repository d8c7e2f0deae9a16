"""The tiny model's forward pass with cached image features and packed rows, for stage_2_variants.

This is not how stage 2 trains (see emocaliber.stages.supervised): it makes its loss cheap enough to compare many
settings on a CPU. Images go through the frozen vision tower once, and a question is tokenized once per image size.
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
    """For n answers: log-probabilities of the labels and of the levels, (n, options), and the summed loss of all other
    tokens, (n,)."""

    labels: torch.Tensor
    levels: torch.Tensor
    other: torch.Tensor


class Forward:
    """Runs models on the tiny base on these samples. `features` is the file that caches the images' features."""

    def __init__(self, samples: Sequence[Sample], features: Path) -> None:
        self.recipe = read_recipe(Path("recipes/tiny/2-verbalize.yaml"))
        self.folder = model_folder(self.recipe.model)
        self.processor: Any = load_processor(self.folder)
        self.paths = {name: AnswerPaths(self.processor, load_template(name)) for name in ("label", "label-confidence")}
        self._prompts: dict[tuple[Any, ...], list[int]] = {}
        if not features.exists():
            torch.save(self._encode_images(samples), features)
        self._features: dict[str, tuple[torch.Tensor, list[int]]] = torch.load(features)

    def _encode_images(self, samples: Sequence[Sample]) -> dict[str, tuple[torch.Tensor, list[int]]]:
        """The vision tower's output for each image, [tokens, width], and its grid of patches, by sample id."""
        tower, encoded = vision_holder(load_base(self.recipe, self.folder)).visual, {}
        for start in range(0, len(samples), BATCH):
            batch = samples[start : start + BATCH]
            images = [load_image(sample.image, self.recipe.shown_pixels) for sample in batch]
            inputs = self.processor.image_processor(images=images, return_tensors="pt")
            with torch.inference_mode():
                output = tower(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"], return_dict=True)
            lengths = (inputs["image_grid_thw"].prod(-1) // tower.spatial_merge_size**2).tolist()
            features, grids = output.pooler_output.split(lengths), inputs["image_grid_thw"].tolist()
            encoded |= {s.id: (own.clone(), grid) for s, own, grid in zip(batch, features, grids, strict=True)}
        return encoded

    def model(self, adapter: Path, *, trainable: bool) -> Any:
        """The base with an adapter, patched to take packed rows."""
        model = adapted(load_base(self.recipe, self.folder), adapter, trainable=trainable)
        use_packing(model)
        return model if trainable else model.eval()

    def prompt(self, sample: Sample, template: Template) -> list[int]:
        """The tokens of the question about the sample's image."""
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
        """Logits [n, width, vocabulary] that predict each token of the answers, and these tokens [n, width], padded
        with -100."""
        prompts = [self.prompt(sample, template) for sample in samples]
        completions = [list(self.paths[template.name].tokens(answer)) for answer in answers]
        width = max(map(len, completions))
        ids, mask, next_tokens = _pad(prompts, completions, width)
        features, grids = zip(*(self._features[sample.id] for sample in samples), strict=True)
        batch = pack_batch(
            model,
            {
                "input_ids": ids,
                "attention_mask": mask,
                "mm_token_type_ids": (ids == image_token(model)).long() * mask,
                "image_grid_thw": torch.tensor(grids),
            },
        )
        prompt_lengths = torch.tensor([len(prompt) for prompt in prompts])
        positions = (prompt_lengths[:, None] - 1 + torch.arange(width)).clamp(max=ids.shape[1] - 1)
        packed_positions = batch[PACKED_INDEX].gather(1, positions)
        inner = model.get_base_model()
        embedded = inner.get_input_embeddings()(batch["input_ids"])
        is_image = (batch["input_ids"] == image_token(model))[..., None].expand_as(embedded)
        hidden = inner.model.language_model(
            inputs_embeds=embedded.masked_scatter(is_image, torch.cat(features)),
            position_ids=batch["position_ids"],
            use_cache=False,
            **{PACKED_INDEX: batch[PACKED_INDEX], LOSS_INDEX: packed_positions},
        ).last_hidden_state
        return inner.lm_head(hidden[0, packed_positions.flatten()]).view(*packed_positions.shape, -1), next_tokens

    def scored(self, model: Any, samples: Sequence[Sample], template: Template, answers: Sequence[str]) -> Scored:
        """Score the given answers, token by token (teacher forcing)."""
        logits, next_tokens = self.logits(model, samples, template, answers)
        paths, normaliser = self.paths[template.name], logits.float().logsumexp(-1)
        start = torch.zeros(len(samples), 1, dtype=torch.long)
        weights = (next_tokens != -100).float()

        def score_options(paths_of_rows: list[Paths | None]) -> torch.Tensor:
            uniform = [None if path is None else (1 / len(path.steps),) * len(path.steps) for path in paths_of_rows]
            field = field_tensors(paths_of_rows, uniform, start[:, 0])
            rows, _, _ = torch.nonzero(field["mask"], as_tuple=True)
            weights[rows, field["positions"][field["mask"]]] = 0
            return option_log_probs(logits, normaliser, field, start)

        pairs = list(zip(samples, answers, strict=True))
        labels = score_options([paths.labels(answer, sample.candidates) for sample, answer in pairs])
        has_levels = "confidence" in template.fields
        levels = score_options([paths.levels(answer) if has_levels else None for _, answer in pairs])
        log_probs = logits.gather(-1, next_tokens.clamp(min=0)[..., None]).squeeze(-1).float() - normaliser
        return Scored(labels, levels, -(log_probs * weights).sum(1))

    @torch.inference_mode()
    def beliefs(self, model: Any, samples: Sequence[Sample], template: Template) -> list[Floats]:
        """The model's distribution over each sample's candidates."""
        beliefs: list[Floats] = [np.empty(0)] * len(samples)
        for indices in self._batches(samples, template):
            batch = [samples[i] for i in indices]
            answers = [_answer(template, sample.candidates[0], 0.5) for sample in batch]
            scored = self.scored(model, batch, template, answers)
            for i, row in zip(indices, scored.labels, strict=True):
                beliefs[i] = row[: len(samples[i].candidates)].double().softmax(-1).numpy()
        return beliefs

    @torch.inference_mode()
    def levels(self, model: Any, samples: Sequence[Sample], labels: Sequence[str], template: Template) -> Floats:
        """The model's distribution over the levels (n, 21) after each of the labels."""
        distributions = np.empty((len(samples), len(LEVELS)))
        for indices in self._batches(samples, template):
            answers = [_answer(template, labels[i], 0.5) for i in indices]
            scored = self.scored(model, [samples[i] for i in indices], template, answers)
            distributions[indices] = scored.levels.double().softmax(-1).numpy()
        return distributions

    def _batches(self, samples: Sequence[Sample], template: Template) -> list[list[int]]:
        """Indices into `samples`, in batches of prompts of similar length."""
        order = sorted(range(len(samples)), key=lambda i: len(self.prompt(samples[i], template)))
        return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def _pad(
    prompts: Sequence[list[int]], completions: Sequence[list[int]], width: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids and mask of prompt and completion [n, length], padded on the right, and the completions alone
    [n, width], padded with -100."""
    n = len(prompts)
    length = max(len(prompt) + len(completion) for prompt, completion in zip(prompts, completions, strict=True))
    ids, mask = torch.zeros(n, length, dtype=torch.long), torch.zeros(n, length, dtype=torch.bool)
    next_tokens = torch.full((n, width), -100)
    for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
        end = len(prompt) + len(completion)
        ids[row, :end], mask[row, :end] = torch.tensor(prompt + completion), True
        next_tokens[row, : len(completion)] = torch.tensor(completion)
    return ids, mask, next_tokens


def _answer(template: Template, label: str, confidence: float) -> str:
    return template.write(label=label, confidence=confidence if "confidence" in template.fields else None)
