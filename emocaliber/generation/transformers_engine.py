"""The transformers engine: batched greedy answers, and the probabilities of labels and levels from the same pass.

Not the fastest engine on a GPU (see vllm_engine), but the one that runs wherever training runs, LoRA in any module
included.

    engine = TransformersEngine("path/to/model", adapter="path/to/adapter")
    engine.generate([Request("1", image, "Which feeling fits this image: happy, sad? Give your answer.")])
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    BatchFeature,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    ProcessorMixin,
)

from emocaliber.generation.engine import ENGINE_ERROR, LENGTH, STOP, Choice, Request, Response
from emocaliber.generation.fingerprint import fingerprint
from emocaliber.generation.journal import content_key
from emocaliber.generation.scoring import common_prefix, single_tokens, tail_log_probabilities
from emocaliber.prompting import messages


class TransformersEngine:
    """Answers by transformers, greedily or, with a temperature above 0, by draws that the seed and each request fix.

    `model_dir` is a local directory or a hub name, weights in safetensors; `adapter` a PEFT LoRA directory. In
    float32 (the default on a CPU) the adapter is merged into the weights; in bfloat16 (the default elsewhere) it
    stays beside them, since the sum would be rounded. Raises OSError where either cannot be loaded.
    """

    def __init__(
        self,
        model_dir: str | Path,
        *,
        adapter: str | Path | None = None,
        device: str = "cpu",
        dtype: torch.dtype | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
        processor: Any = AutoProcessor.from_pretrained(model_dir)  # type: ignore[no-untyped-call]
        model: Any = AutoModelForImageTextToText.from_pretrained(model_dir, dtype=dtype, use_safetensors=True)
        if adapter is not None:
            model = with_adapter(model, adapter, merge=dtype == torch.float32)
        self._setup(model.to(device).eval(), processor, batch_size, max_new_tokens)
        self._temperature, self._seed = temperature, seed
        settings = f"{dtype} {max_new_tokens} {temperature} {seed if temperature else ''}"
        self._name = f"transformers {fingerprint(model_dir)} {fingerprint(adapter)} {settings}"

    @classmethod
    def around(
        cls, model: PreTrainedModel, processor: ProcessorMixin, *, batch_size: int = 32, max_new_tokens: int = 32
    ) -> TransformersEngine:
        """An engine around a model that is in memory already, for use while it is being trained."""
        engine = cls.__new__(cls)
        engine._setup(model, processor, batch_size, max_new_tokens)
        engine._name = "transformers in memory"
        engine._temperature, engine._seed = 0.0, 0
        return engine

    def _setup(self, model: PreTrainedModel, processor: ProcessorMixin, batch_size: int, max_new_tokens: int) -> None:
        self.model: Any = model
        self.processor: Any = processor
        self._batch_size = batch_size
        tokenizer = self.processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [tokenizer.eos_token_id if ends is None else ends])
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        # the model's own generation defaults (temperature, repetition penalty) would change what "greedy" means
        self._greedy = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=sorted(self._ends), pad_token_id=pad
        )
        self._option_tokens: dict[tuple[str, tuple[str, ...]], list[int] | None] = {}

    @property
    def name(self) -> str:
        """Weights, adapter, precision and length limit, for a journal's key."""
        return self._name

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order. A batch that fails is halved until the failing request is alone."""
        size = self._batch_size
        batches = [requests[start : start + size] for start in range(0, len(requests), size)]
        return [response for batch in batches for response in self._answer_or_halve(batch)]

    def score_continuations(
        self, requests: Sequence[Request], prefix: str | Sequence[str], continuations: Sequence[str]
    ) -> NDArray[np.float64]:
        """The log-probability, in nats, of each continuation after prompt and prefix: [requests, continuations].

        `prefix` is one text for all requests or one for each. Where each continuation is a single token, one
        forward pass for each request suffices; else there is one for each continuation.
        """
        prefixes = [prefix] * len(requests) if isinstance(prefix, str) else list(prefix)
        texts = [self._chat(request.prompt) + start for request, start in zip(requests, prefixes, strict=True)]
        tokens = {text: single_tokens(self.processor.tokenizer, text, continuations) for text in set(texts)}
        scores = np.empty((len(requests), len(continuations)))
        fast = [index for index, text in enumerate(texts) if tokens[text] is not None]
        for start in range(0, len(fast), self._batch_size):
            chosen = fast[start : start + self._batch_size]
            logits = self._logits([texts[i] for i in chosen], [requests[i].image for i in chosen], kept=1)[1]
            logs = torch.log_softmax(logits[:, -1].float(), dim=-1)
            ids = torch.tensor([tokens[texts[i]] for i in chosen], device=logs.device)
            scores[chosen] = logs.gather(-1, ids).double().cpu().numpy()
        for index in sorted(set(range(len(requests))) - set(fast)):
            scores[index] = self._score_long(requests[index], texts[index], continuations)
        return scores

    def _score_long(self, request: Request, text: str, continuations: Sequence[str]) -> NDArray[np.float64]:
        texts = [text + continuation for continuation in continuations]
        rows = [self.processor.tokenizer(whole, add_special_tokens=False)["input_ids"] for whole in texts]
        common = common_prefix(rows)
        tails = [len(row) - common for row in rows]
        scores = []
        for start in range(0, len(texts), self._batch_size):
            part = slice(start, start + self._batch_size)
            ids, logits = self._logits(texts[part], [request.image] * len(texts[part]), kept=max(tails[part]) + 1)
            scores.append(tail_log_probabilities(logits, ids, tails[part]))
        return np.concatenate(scores)

    @torch.inference_mode()
    def _logits(
        self, texts: Sequence[str], images: Sequence[Image.Image], kept: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        inputs = self._inputs(texts, images)
        return inputs["input_ids"], self.model(**inputs, use_cache=False, logits_to_keep=kept).logits

    def _inputs(self, texts: Sequence[str], images: Sequence[Image.Image]) -> BatchFeature:
        nested = [[image] for image in images]
        inputs: BatchFeature = self.processor(
            text=list(texts), images=nested, padding=True, padding_side="left", return_tensors="pt"
        )
        return inputs.to(self.model.device, self.model.dtype)

    def _chat(self, prompt: str) -> str:
        text: str = self.processor.apply_chat_template(messages(prompt), tokenize=False, add_generation_prompt=True)
        return text

    def _answer_or_halve(self, batch: Sequence[Request]) -> list[Response]:
        try:
            return self._answer(batch)
        except Exception as error:  # whatever one request breaks, the others' answers are kept
            if len(batch) == 1:
                reason = str(error) or type(error).__name__
                return [
                    Response(
                        batch[0].sample_id, "", ENGINE_ERROR, choices=(None,) * len(batch[0].choices), error=reason
                    )
                ]
        half = len(batch) // 2
        return self._answer_or_halve(batch[:half]) + self._answer_or_halve(batch[half:])

    @torch.inference_mode()
    def _answer(self, batch: Sequence[Request]) -> list[Response]:
        inputs = self._inputs([self._chat(request.prompt) for request in batch], [request.image for request in batch])
        recorder = _OptionRecorder(self._all_option_tokens(batch))
        output = self.model.generate(
            **inputs, generation_config=self._greedy, logits_processor=self._processors(batch, recorder)
        )
        rows = output[:, inputs["input_ids"].shape[1] :].tolist()
        recorded = recorder.values()
        answers = [self._response(request, row) for request, row in zip(batch, rows, strict=True)]
        return [
            self._with_choices(request, response, row, recorded[index], recorder.columns)
            for index, (request, (response, row)) in enumerate(zip(batch, answers, strict=True))
        ]

    def _processors(self, batch: Sequence[Request], recorder: LogitsProcessor) -> LogitsProcessorList:
        if self._temperature == 0:
            return LogitsProcessorList([recorder])
        seeds = [
            int(content_key(self._seed, request.prompt, request.sample_id, request.draw), 16) % 2**63
            for request in batch
        ]
        return LogitsProcessorList([recorder, GumbelNoise(seeds, self._temperature)])

    def _response(self, request: Request, row: list[int]) -> tuple[Response, list[int]]:
        end = next((index for index, token in enumerate(row) if token in self._ends), None)
        said = row if end is None else row[:end]
        text = self.processor.tokenizer.decode(said, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        reason = LENGTH if end is None else STOP
        return Response(request.sample_id, text, reason, len(said) + (end is not None)), said

    def _with_choices(
        self,
        request: Request,
        response: Response,
        row: list[int],
        recorded: NDArray[np.float64],
        columns: dict[int, int],
    ) -> Response:
        if not request.choices:
            return response
        pieces = [self.processor.tokenizer.decode([token], clean_up_tokenization_spaces=False) for token in row]
        logs: list[tuple[float, ...] | None] = []
        for choice in request.choices:
            tokens, place = self._tokens_of(choice), choice.place(response.text)
            step = token_at(pieces, response.text, place) if place is not None else None
            if place is None:
                logs.append(None)
            elif tokens is not None and step is not None and step < len(recorded):
                logs.append(tuple(recorded[step, [columns[token] for token in tokens]].tolist()))
            else:
                ended = [option + choice.until for option in choice.options]
                logs.append(tuple(self.score_continuations([request], response.text[:place], ended)[0].tolist()))
        return Response(
            response.sample_id, response.text, response.finish_reason, response.tokens, tuple(logs), response.error
        )

    def _tokens_of(self, choice: Choice) -> list[int] | None:
        key = (choice.after, choice.options)
        if key not in self._option_tokens:
            self._option_tokens[key] = single_tokens(self.processor.tokenizer, choice.after, choice.options)
        return self._option_tokens[key]

    def _all_option_tokens(self, batch: Sequence[Request]) -> list[int]:
        choices = {choice for request in batch for choice in request.choices}
        return sorted({token for choice in choices for token in self._tokens_of(choice) or ()})


class _OptionRecorder(LogitsProcessor):
    """Records, step by step, the log-probabilities of the tokens asked about; changes nothing."""

    def __init__(self, tokens: Sequence[int]) -> None:
        self.columns = {token: column for column, token in enumerate(tokens)}
        self._tokens = list(tokens)
        self._steps: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if self._tokens:
            self._steps.append(torch.log_softmax(scores.float(), dim=-1)[:, self._tokens].double())
        else:
            self._steps.append(scores.new_empty((scores.shape[0], 0)))
        return scores

    def values(self) -> NDArray[np.float64]:
        """Float64 [rows, steps, tokens], in nats."""
        stacked: NDArray[np.float64] = torch.stack(self._steps, dim=1).double().cpu().numpy()
        return stacked


class GumbelNoise(LogitsProcessor):
    """Turns the greedy choice into a draw at a temperature: the arg max of logits / T + Gumbel noise is a sample.

    Each row has its own generator, so that an answer depends on its seed and not on the batch it was drawn in.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self._generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        width = scores.shape[-1]
        exponential = [torch.empty(width).exponential_(generator=generator) for generator in self._generators]
        return scores.float() / self._temperature - torch.stack(exponential).log().to(scores.device)


def token_at(pieces: Sequence[str], text: str, place: int) -> int | None:
    """The index of the token that starts at a character; None where none does, or the pieces are not the text's."""
    if "".join(pieces) != text:
        return None
    offset = 0
    for index, piece in enumerate(pieces):
        if offset >= place:
            return index if offset == place else None
        offset += len(piece)
    return len(pieces) if offset == place else None


def with_adapter(model: PreTrainedModel, adapter: str | Path, *, merge: bool) -> PreTrainedModel:
    """The model with a PEFT adapter on it, merged into its weights or beside them."""
    from peft import PeftModel

    adapted: Any = PeftModel.from_pretrained(model, str(adapter))
    result: PreTrainedModel = adapted.merge_and_unload() if merge else adapted
    return result
