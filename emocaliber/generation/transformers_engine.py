"""The transformers engine: batched greedy answers, with the probabilities of labels and levels from the same pass.

Not the fastest engine on a GPU (see vllm_engine), but it runs wherever training runs, with LoRA on any module.

    engine = TransformersEngine("path/to/model", adapter="path/to/adapter")
    engine.generate([Request("1", image, "Which feeling fits this image: happy, sad? Give your answer.")])
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import (
    AutoModelForImageTextToText,
    BatchFeature,
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    ProcessorMixin,
    StoppingCriteriaList,
)

from emocaliber.core.prompting import messages
from emocaliber.generation.adapters import PROBED, check_alive, check_sees, probes
from emocaliber.generation.choices import Answer, ChoiceReader, Endings, token_ids
from emocaliber.generation.decoding import (
    GumbelNoise,
    OptionRecorder,
    StreamingCriterion,
    padded,
    row_log_probabilities,
)
from emocaliber.generation.engine import LENGTH, STOP, OnToken, Request, Response, answer_or_halve, seed_of
from emocaliber.models.cache import copied_cache
from emocaliber.models.loading import chosen_device, complete_weights, fp32_logits, release, support_logits_to_keep
from emocaliber.models.location import fingerprint
from emocaliber.models.thinking import asking_processor


class TransformersEngine:
    """Answers by transformers: greedy, or with a temperature above 0 sampled, reproducibly by seed and request.

    `model_dir` is a local directory or a Hub name, with weights in safetensors; `adapter` a PEFT LoRA directory;
    `device` "auto" takes a GPU if there is one. In float32 (the default on a CPU) the adapter is merged into the
    weights. In bfloat16 (the default elsewhere) it is not, since the sum would be rounded, and the logits are computed
    in float32. Raises OSError where model or adapter cannot be loaded, UserError where the adapter has no effect or the
    model answers every picture alike.
    """

    concurrency = 2  # one call's pictures are preprocessed while the model answers the other's

    def __init__(
        self,
        model_dir: str | Path,
        *,
        adapter: str | Path | None = None,
        device: str = "auto",
        dtype: torch.dtype | None = None,
        batch_size: int = 32,
        max_new_tokens: int = 32,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        device = chosen_device(device)
        dtype = dtype or (torch.float32 if device == "cpu" else torch.bfloat16)
        processor = asking_processor(model_dir, adapter)
        placement = {} if device == "cpu" else {"device_map": {"": device}}  # loads to the GPU without passing the CPU
        with complete_weights():
            model: Any = AutoModelForImageTextToText.from_pretrained(
                model_dir, dtype=dtype, use_safetensors=True, **placement
            )
            self._setup(model.eval(), processor, batch_size, max_new_tokens)
            before = self.score_continuations(probes(), "", PROBED)
            check_sees(model_dir, before)
            if adapter is not None:
                model = with_adapter(model, adapter, merge=dtype == torch.float32)
                self._setup(model.to(device).eval(), processor, batch_size, max_new_tokens)
                check_alive(adapter, before, self.score_continuations(probes(), "", PROBED))
        self._temperature, self._seed = temperature, seed
        logits = " logits float32" if dtype in (torch.bfloat16, torch.float16) else ""
        settings = f"{dtype}{logits} {max_new_tokens} {temperature} {seed if temperature else ''}"
        self._name = f"transformers {fingerprint(model_dir)} {fingerprint(adapter)} {settings}"

    @classmethod
    def around(
        cls, model: PreTrainedModel, processor: ProcessorMixin, *, batch_size: int = 32, max_new_tokens: int = 32
    ) -> TransformersEngine:
        """An engine around a loaded model, for use while it is being trained."""
        engine = cls.__new__(cls)
        engine._setup(model, processor, batch_size, max_new_tokens)
        engine._name = "transformers in memory"
        engine._temperature, engine._seed = 0.0, 0
        return engine

    def _setup(self, model: PreTrainedModel, processor: ProcessorMixin, batch_size: int, max_new_tokens: int) -> None:
        self.model: Any = model
        fp32_logits(model)
        support_logits_to_keep(model)
        self.processor: Any = processor
        self._batch_size = self.requests_per_call = batch_size
        self._device_lock = Lock()
        tokenizer = self.processor.tokenizer
        ends = self.model.generation_config.eos_token_id
        self._ends = set(ends if isinstance(ends, list) else [tokenizer.eos_token_id if ends is None else ends])
        pad = tokenizer.eos_token_id if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        # the model's own generation defaults (temperature, repetition penalty) would change what "greedy" means
        self._greedy = GenerationConfig(  # type: ignore[no-untyped-call]
            do_sample=False, max_new_tokens=max_new_tokens, eos_token_id=sorted(self._ends), pad_token_id=pad
        )
        self._choices = ChoiceReader(tokenizer)

    @property
    def name(self) -> str:
        """Weights, adapter, precision (of weights and logits) and length limit, for a journal's key."""
        return self._name

    @property
    def device(self) -> str:
        """The model's device."""
        return str(self.model.device)

    def close(self) -> None:
        """Free the model's memory; the engine cannot be used afterwards."""
        del self.model, self.processor
        release()

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order. A batch that fails is halved until the failing request is alone."""
        return self._in_batches(requests, None)

    def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
        """As `generate`, streaming all answers of a batch."""
        return self._in_batches(requests, on_token)

    def _in_batches(self, requests: Sequence[Request], on_token: OnToken | None) -> list[Response]:
        size, answer = self._batch_size, partial(self._answer, on_token=on_token)
        batches = [requests[start : start + size] for start in range(0, len(requests), size)]
        return [response for batch in batches for response in answer_or_halve(answer, batch)]

    def score_continuations(
        self, requests: Sequence[Request], prefix: str | Sequence[str], continuations: Sequence[str], until: str = ""
    ) -> NDArray[np.float64]:
        """The log-probability, in nats, of each continuation after prompt and prefix: [requests, continuations].

        `prefix` is one text for all requests or one for each; each continuation is followed by the first token of
        `until`. Prompt, picture and prefix are computed once for each request.
        """
        prefixes = [prefix] * len(requests) if isinstance(prefix, str) else list(prefix)
        texts = [self._chat(request) + start for request, start in zip(requests, prefixes, strict=True)]
        ends = [self._choices.endings(text, tuple(continuations), until) for text in texts]
        alike: defaultdict[tuple[Any, ...], list[int]] = defaultdict(list)
        for index, (request, end) in enumerate(zip(requests, ends, strict=True)):
            sizes = tuple(image.size for image in request.images)
            alike[sizes, len(end.shared), len(end.rows[0])].append(index)
        scores = np.empty((len(requests), len(continuations)))
        for indices in alike.values():
            most = max(len(row) for index in indices for row in ends[index].rows)
            size = self._batch_size if most == 1 else max(1, self._batch_size // len(continuations))
            for start in range(0, len(indices), size):
                part = indices[start : start + size]
                opened = [texts[index] + continuations[0] + until for index in part]
                images = [requests[index].images for index in part]
                scores[part] = self._score_alike(opened, images, [ends[index] for index in part])
        return scores

    @torch.inference_mode()
    def _score_alike(
        self, texts: Sequence[str], images: Sequence[Sequence[Image.Image]], ends: Sequence[Endings]
    ) -> NDArray[np.float64]:
        """[texts, rows] for texts and pictures of equal length: without padding, the model's own position ids hold."""
        inputs = self._inputs(texts, images).to(self.model.device, self.model.dtype)
        prompt_length = inputs["input_ids"].shape[1]
        shared = prompt_length - len(token_ids(self.processor.tokenizer, texts[0])) + len(ends[0].shared)
        cut = {
            name: value[:, :shared] if value.shape == (len(texts), prompt_length) else value
            for name, value in inputs.items()
        }
        rows = [row for end in ends for row in end.rows]
        ids, mask = padded(rows, self.model.device)
        prefill = self.model(**cut, use_cache=ids.shape[1] > 1, logits_to_keep=1)
        logits = prefill.logits.repeat_interleave(len(ends[0].rows), dim=0)
        if ids.shape[1] > 1:
            cache = copied_cache(prefill.past_key_values, len(ends[0].rows))
            logits = torch.cat([logits, self.model(input_ids=ids[:, :-1], past_key_values=cache).logits], dim=1)
        return row_log_probabilities(logits, ids, mask).reshape(len(texts), -1)

    @torch.inference_mode()
    def hidden_states(self, requests: Sequence[Request], prefixes: Sequence[str]) -> NDArray[np.float64]:
        """The last layer's hidden state at the last token of prompt and prefix: [requests, width]."""
        states: list[NDArray[np.float64]] = []
        for start in range(0, len(requests), self._batch_size):
            part = slice(start, start + self._batch_size)
            texts = [self._chat(request) + text for request, text in zip(requests[part], prefixes[part], strict=True)]
            inputs = self._inputs(texts, [request.images for request in requests[part]])
            with self._device_lock:
                inputs = inputs.to(self.model.device, self.model.dtype)
                output = self.model(**inputs, use_cache=False, output_hidden_states=True, logits_to_keep=1)
                states.append(output.hidden_states[-1][:, -1].double().cpu().numpy())
        return np.concatenate(states)

    def _inputs(self, texts: Sequence[str], images: Sequence[Sequence[Image.Image]]) -> BatchFeature:
        inputs: BatchFeature = self.processor(
            text=list(texts), images=list(map(list, images)), padding=True, padding_side="left", return_tensors="pt"
        )
        return inputs

    def _chat(self, request: Request) -> str:
        chat = messages(request.prompt, images=len(request.images))
        text: str = self.processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text

    def _answer(self, batch: Sequence[Request], on_token: OnToken | None) -> list[Response]:
        inputs = self._inputs([self._chat(request) for request in batch], [request.images for request in batch])
        with self._device_lock:
            return self._answer_prepared(batch, inputs, on_token)

    @torch.inference_mode()
    def _answer_prepared(
        self, batch: Sequence[Request], inputs: BatchFeature, on_token: OnToken | None
    ) -> list[Response]:
        inputs = inputs.to(self.model.device, self.model.dtype)
        recorder = OptionRecorder(self._choices.tokens_to_record(batch))
        prompt_length = inputs["input_ids"].shape[1]
        streaming = None if on_token is None else StreamingCriterion(batch, on_token, prompt_length, self._text)
        output = self.model.generate(
            **inputs,
            generation_config=self._greedy,
            logits_processor=self._processors(batch, recorder),
            stopping_criteria=StoppingCriteriaList([] if streaming is None else [streaming]),
        )
        rows = output[:, prompt_length:].tolist()
        if streaming is not None:
            rows = [row[:ended] for row, ended in zip(rows, streaming.ended, strict=True)]
        ends = [self._end(row) for row in rows]
        tokens = [row if end is None else row[:end] for row, end in zip(rows, ends, strict=True)]
        answers = [
            Answer(request, self._decode(row), row, partial(recorder.at, n))
            for n, (request, row) in enumerate(zip(batch, tokens, strict=True))
        ]
        choices = self._choices.read(answers, self.score_continuations)
        return [
            Response(
                request.sample_id,
                answers[n].text,
                LENGTH if ends[n] is None else STOP,
                len(tokens[n]) + (ends[n] is not None),
                choices[n],
            )
            for n, request in enumerate(batch)
        ]

    def _end(self, row: Sequence[int]) -> int | None:
        return next((index for index, token in enumerate(row) if token in self._ends), None)

    def _text(self, row: Sequence[int]) -> str:
        return self._decode(row[: self._end(row)])

    def _decode(self, row: Sequence[int]) -> str:
        text: str = self.processor.tokenizer.decode(row, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return text

    def _processors(self, batch: Sequence[Request], recorder: OptionRecorder) -> LogitsProcessorList:
        temperatures = [self._temperature if r.temperature is None else r.temperature for r in batch]
        if not any(temperatures):
            return LogitsProcessorList([recorder])
        seeds = [seed_of(self._seed, request) for request in batch]
        return LogitsProcessorList([recorder, GumbelNoise(seeds, temperatures)])


def with_adapter(model: PreTrainedModel, adapter: str | Path, *, merge: bool) -> PreTrainedModel:
    """The model with a PEFT adapter, merged into its weights or not."""
    from emocaliber.models.loading import adapted

    wrapped: Any = adapted(model, adapter)
    result: PreTrainedModel = wrapped.merge_and_unload() if merge else wrapped
    return result
