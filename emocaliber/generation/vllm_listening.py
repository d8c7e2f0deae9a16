"""Listening to vLLM while it writes: its engine taken step by step, each answer on_token as it grows.

Not an engine. `LLM.generate` hands over complete answers only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from vllm import LLM, SamplingParams
from vllm.lora.request import LoRARequest
from vllm.renderers.inputs.preprocess import parse_model_prompt


def run_and_tell(
    llm: LLM,
    prompts: Sequence[Any],
    parameters: Sequence[SamplingParams],
    lora: LoRARequest | None,
    on_token: Callable[[int, str], bool],
) -> list[Any]:
    """The prompts' outputs, in order, as `LLM.generate` gives them; `on_token` hears each one's number and text so far.

    Where it returns False, the answer is broken off: its output is the last that came, not finished.
    """
    engine = llm.llm_engine
    parsed = [parse_model_prompt(engine.model_config, prompt) for prompt in prompts]
    inputs = engine.renderer.render_cmpl(parsed, engine.renderer.default_cmpl_tok_params)
    places: dict[str, int] = {}
    outputs: dict[int, Any] = {}
    try:
        for number, (single, parameter) in enumerate(zip(inputs, parameters, strict=True)):
            name = str(next(llm.request_counter))
            engine.add_request(name, single, parameter, lora_request=lora)
            places[name] = number
        while places:
            stepped: list[Any] = engine.step()
            for output in stepped:
                outputs[number := places[output.request_id]] = output
                goes_on = on_token(number, output.outputs[0].text)
                if output.finished:
                    del places[output.request_id]
                elif not goes_on:
                    del places[output.request_id]
                    engine.abort_request([output.request_id], internal=False)
    finally:
        if places:
            engine.abort_request(list(places), internal=False)
    return [outputs[number] for number in range(len(prompts))]
