"""The label and level that greedy decoding would state, found by forward passes with one key-value cache.

A row's picture and question are prefilled once. Then its written answer, some twenty tokens, is scored from the cache.
Where the model prefers another label or level, that is written instead and the answer scored again, until nothing
changes: two or three short passes instead of as many long ones.

    reader = AnswerReader(processor, AnswerPaths(processor, template))
    greedy_answers(model, rows, reader)         # rows of emocaliber.stages.examples.as_dataset
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from trl.data_utils import apply_chat_template

from emocaliber.core.prompting import LEVEL_TEXTS, LEVELS
from emocaliber.models.cache import copied_cache
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.held_out_metrics import Stated
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.fast.families import is_qwen, vision_holder

MAX_PASSES = 12  # ties that flip with the batch could otherwise go on for ever


@dataclass(frozen=True)
class AnswerReader:
    """Turns rows into tokens: the processor for questions and pictures, and the paths of answers."""

    processor: Any
    paths: AnswerPaths

    def questions(self, rows: Sequence[dict[str, Any]], model: Any) -> dict[str, torch.Tensor]:
        """The model's inputs for the rows' prompts and pictures, padded on the left, on the model's device."""
        texts = [apply_chat_template(_chat(row), self.processor)["prompt"] for row in rows]
        batch: Any = self.processor(
            text=texts,
            images=[row["images"] for row in rows],
            padding=True,
            padding_side="left",
            return_tensors="pt",
            add_special_tokens=False,
        )
        return {
            key: value.to(model.device, model.dtype) if value.is_floating_point() else value.to(model.device)
            for key, value in batch.items()
        }


def _chat(row: dict[str, Any]) -> Any:
    """The row's messages as TRL's collator formats them, so that the prompts are those of training."""
    texts = [part["content"] for part in row["prompt"]]
    content = [[{"type": "image"}, {"type": "text", "text": text}] if isinstance(text, str) else text for text in texts]
    return {
        "prompt": [part | {"content": new} for part, new in zip(row["prompt"], content, strict=True)],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": row["example"].completion}]}],
    }


@torch.no_grad()  # not inference mode: training could not write to the tensors that FSDP gathers in it
def greedy_answers(
    model: Any, rows: Sequence[dict[str, Any]], reader: AnswerReader, any_open: Callable[[bool], bool] = bool
) -> list[Stated]:
    """What greedy decoding among the candidates and the levels would state for each row.

    Reasoning is taken as written, and only what follows it is decoded. An answer is not `formed` where the model would
    deviate from the template outside the reasoning, up to the token after the level, or where logits are not finite.
    `any_open` tells whether any process still has open rows: with sharded weights, all processes must run the same
    number of forward passes.
    """
    inputs = reader.questions(rows, model)
    mask = inputs["attention_mask"]
    # Qwen-VL models derive their three-dimensional position ids from the mask; the others would count the padding.
    position_ids = {} if is_qwen(model) else {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    prefill = model(**inputs, **position_ids, use_cache=True, logits_to_keep=1)
    cache, first = prefill.past_key_values, prefill.logits[:, -1:]
    examples: list[TrainingExample] = [row["example"] for row in rows]
    texts, stated = [example.completion for example in examples], dict[int, Stated]()
    still_open = set(range(len(rows)))
    for _ in range(MAX_PASSES):
        tokens = [reader.paths.tokens(text) for text in texts]
        logits = torch.cat([first, _answer_logits(model, mask, tokens, copied_cache(cache))], dim=1)
        for n in sorted(still_open):
            reading = _read(logits[n], tokens[n], texts[n], examples[n], reader.paths)
            stated[n] = Stated(reading.written, LEVELS[reading.levels[0]], reading.formed)
            if reading.label is not None:
                texts[n] = reader.paths.with_field(texts[n], "label", reading.label)
            elif len(reading.levels) > 1:
                texts[n] = reader.paths.with_field(texts[n], "confidence", LEVEL_TEXTS[reading.levels[0]])
            else:
                still_open.discard(n)
        if not any_open(bool(still_open)):
            break
    return [stated[n] for n in range(len(rows))]


def _answer_logits(model: Any, mask: torch.Tensor, tokens: Sequence[Sequence[int]], cache: Any) -> torch.Tensor:
    """The logits after each of the answers' tokens but the last: [rows, longest - 1, vocabulary]."""
    ids = pad_sequence([torch.tensor(row[:-1]) for row in tokens], batch_first=True).to(mask.device)
    full_mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
    positions = (full_mask.cumsum(-1) - 1)[:, mask.shape[1] :]
    if is_qwen(model):
        positions = (positions + vision_holder(model).rope_deltas.to(positions.device))[None].expand(3, -1, -1)
    logits: torch.Tensor = model(
        input_ids=ids, attention_mask=full_mask, position_ids=positions, past_key_values=cache, use_cache=True
    ).logits
    return logits


@dataclass(frozen=True)
class _Reading:
    """One pass over one row: the label `written` in it, the label that the model prefers (None for the same), the
    levels still possible given its likeliest tokens, the first preferred, and whether it keeps to the template."""

    written: str
    label: str | None
    levels: list[int]
    formed: bool


def _read(
    logits: torch.Tensor, tokens: Sequence[int], text: str, example: TrainingExample, paths: AnswerPaths
) -> _Reading:
    """`logits` [at least len(tokens), vocabulary]: row k predicts token k of the answer."""
    candidates, written = example.sample.candidates, paths.field_text(text, "label")
    labels = [dict(steps) for steps in paths.labels(text, candidates).steps] if example.label_target else []
    levels = [dict(steps) for steps in paths.levels(text).steps]
    likeliest = _likeliest(logits, labels)
    # Labels may still be tied, with only their first tokens known; the written one stays as long as it is among them.
    same = not labels or candidates.index(written) in likeliest
    free = {position for steps in (*labels, *levels) for position in steps} | {*paths.reasoning(text)}
    last = max(position for steps in levels for position in steps)
    fixed = [position for position in range(min(last + 2, len(tokens))) if position not in free]
    greedy = logits[fixed].argmax(-1).tolist()
    formed = bool(torch.isfinite(logits[fixed]).all()) and greedy == [tokens[position] for position in fixed]
    return _Reading(written, None if same else candidates[likeliest[0]], _likeliest(logits, levels), formed)


def _likeliest(logits: torch.Tensor, options: list[dict[int, int]]) -> list[int]:
    """The options, each given as tokens by position, that remain after taking the likeliest token at every branch."""
    remaining = list(range(len(options)))
    for position in sorted({position for steps in options for position in steps}):
        tokens = sorted({options[k][position] for k in remaining if position in options[k]})
        if len(tokens) > 1:
            best = tokens[int(logits[position, tokens].argmax())]
            remaining = [k for k in remaining if options[k].get(position) == best]
    return remaining
