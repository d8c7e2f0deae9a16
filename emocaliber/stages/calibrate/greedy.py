"""What greedy decoding among candidates and levels would state, read from forward passes with one cache of keys.

Picture and question of a row go through the model once; its written answer, a score of tokens, follows from the cache.
Where the model would name another label or level, that is written in its place and the answer is read again, until
nothing is open: two or three short passes in the place of as many long ones.

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
from emocaliber.models.cache import continued
from emocaliber.stages.answer_paths import AnswerPaths
from emocaliber.stages.calibrate.held_out_metrics import Stated
from emocaliber.stages.examples import TrainingExample
from emocaliber.stages.fast.families import is_qwen, vision_holder

MOST_READINGS = 12  # ties that flip with the batch could otherwise go on for ever


@dataclass(frozen=True)
class AnswerReader:
    """How rows become tokens: the processor that sees questions and pictures, and the paths of answers."""

    processor: Any
    paths: AnswerPaths

    def questions(self, rows: Sequence[dict[str, Any]], model: Any) -> dict[str, torch.Tensor]:
        """The model's inputs for prompts and pictures, padded on the left, on the model's device."""
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
    """As TRL's collator has it, whose prompts these must be."""
    texts = [part["content"] for part in row["prompt"]]
    content = [[{"type": "image"}, {"type": "text", "text": text}] if isinstance(text, str) else text for text in texts]
    return {
        "prompt": [part | {"content": new} for part, new in zip(row["prompt"], content, strict=True)],
        "completion": [{"role": "assistant", "content": [{"type": "text", "text": row["example"].completion}]}],
    }


@torch.no_grad()  # not inference mode: what FSDP gathers in it, training may not write to
def greedy_answers(
    model: Any, rows: Sequence[dict[str, Any]], reader: AnswerReader, any_open: Callable[[bool], bool] = bool
) -> list[Stated]:
    """What greedy decoding among the candidates and the levels would state for each row.

    Reasoning is taken as it is written: what is read is what follows from it, at every step from the same. An answer is
    not formed where the model would leave the template's form outside the reasoning, before or right after the level,
    or where its logits are not finite. `any_open` says whether another process still reads: where the weights are
    parted, all of them must pass through the model equally often.
    """
    inputs = reader.questions(rows, model)
    mask = inputs["attention_mask"]
    # The Qwen-VL family finds its three-dimensional places from the mask; the others would count the padding.
    places = {} if is_qwen(model) else {"position_ids": (mask.cumsum(-1) - 1).clamp(min=0)}
    begun = model(**inputs, **places, use_cache=True, logits_to_keep=1)
    cache, first = begun.past_key_values, begun.logits[:, -1:]
    examples: list[TrainingExample] = [row["example"] for row in rows]
    texts, stated = [example.completion for example in examples], dict[int, Stated]()
    still_open = set(range(len(rows)))
    for _ in range(MOST_READINGS):
        tokens = [reader.paths.tokens(text) for text in texts]
        logits = torch.cat([first, _answer_logits(model, mask, tokens, continued(cache))], dim=1)
        for n in sorted(still_open):
            seen = _read(logits[n], tokens[n], texts[n], examples[n], reader.paths)
            stated[n] = Stated(seen.written, LEVELS[seen.levels[0]], seen.formed)
            if seen.label is not None:
                texts[n] = reader.paths.with_field(texts[n], "label", seen.label)
            elif len(seen.levels) > 1:
                texts[n] = reader.paths.with_field(texts[n], "confidence", LEVEL_TEXTS[seen.levels[0]])
            else:
                still_open.discard(n)
        if not any_open(bool(still_open)):
            break
    return [stated[n] for n in range(len(rows))]


def _answer_logits(model: Any, mask: torch.Tensor, tokens: Sequence[Sequence[int]], cache: Any) -> torch.Tensor:
    """The logits after each of the answers' tokens but the last: [rows, longest - 1, vocabulary]."""
    ids = pad_sequence([torch.tensor(row[:-1]) for row in tokens], batch_first=True).to(mask.device)
    seen = torch.cat([mask, torch.ones_like(ids)], dim=1)
    places = (seen.cumsum(-1) - 1)[:, mask.shape[1] :]
    if is_qwen(model):
        places = (places + vision_holder(model).rope_deltas.to(places.device))[None].expand(3, -1, -1)
    logits: torch.Tensor = model(
        input_ids=ids, attention_mask=seen, position_ids=places, past_key_values=cache, use_cache=True
    ).logits
    return logits


@dataclass(frozen=True)
class _Reading:
    """One row's reading: the label `written` in it and the one that the model prefers (None for the same), the levels
    that its likeliest tokens leave possible, and whether it keeps to the form."""

    written: str
    label: str | None
    levels: list[int]
    formed: bool


def _read(
    logits: torch.Tensor, tokens: Sequence[int], text: str, example: TrainingExample, paths: AnswerPaths
) -> _Reading:
    """`logits` [at least the tokens, vocabulary]: those that each token of the answer follows from."""
    candidates, written = example.sample.candidates, paths.field_text(text, "label")
    labels = [dict(steps) for steps in paths.labels(text, candidates).steps] if example.label_target else []
    levels = [dict(steps) for steps in paths.levels(text).steps]
    likeliest = _likeliest(logits, labels)
    # A label of which only the first tokens are known is the written one as long as that is among them.
    same = not labels or candidates.index(written) in likeliest
    chosen = {place for steps in (*labels, *levels) for place in steps} | {*paths.reasoning(text)}
    last = max(place for steps in levels for place in steps)
    form = [place for place in range(min(last + 2, len(tokens))) if place not in chosen]
    greedy = logits[form].argmax(-1).tolist()
    formed = bool(torch.isfinite(logits[form]).all()) and greedy == [tokens[place] for place in form]
    return _Reading(written, None if same else candidates[likeliest[0]], _likeliest(logits, levels), formed)


def _likeliest(logits: torch.Tensor, options: list[dict[int, int]]) -> list[int]:
    """The options, each its tokens by place, that the likeliest token at each place where they part leaves."""
    live = list(range(len(options)))
    for place in sorted({place for steps in options for place in steps}):
        tokens = sorted({options[k][place] for k in live if place in options[k]})
        if len(tokens) > 1:
            best = tokens[int(logits[place, tokens].argmax())]
            live = [k for k in live if options[k].get(place) == best]
    return live
