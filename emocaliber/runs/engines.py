"""From settings to what answers: an engine of this process, of a server, or engines on Ray.

with answering(settings, template, None, is_embedded=False) as engine: ...
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from emocaliber.core.prompting import Template
from emocaliber.generation.asking_again import FollowUpEngine, RetryingEngine
from emocaliber.generation.engine import Engine
from emocaliber.generation.questions import RemoteEngine
from emocaliber.generation.ray_cluster import LOCAL, engines_on_ray
from emocaliber.generation.signals import RELATIVE, Score, SignalsEngine, States
from emocaliber.models.location import TINY, TINY_ADAPTER, default_model, model_folder
from emocaliber.reading import add_reasoning_tags
from emocaliber.runs.prediction_settings import PredictSettings

if TYPE_CHECKING:
    from emocaliber.generation.transformers_engine import TransformersEngine
    from emocaliber.generation.vllm_engine import VllmEngine


def with_embedded(settings: PredictSettings) -> PredictSettings:
    """The settings with the embedded model, if no other was named."""
    return replace(settings, model=TINY, adapter=str(TINY_ADAPTER)) if settings.is_embedded else settings


def with_default(settings: PredictSettings) -> PredictSettings:
    """The settings with the model that EMOCALIBER_MODEL names, if no other was named. Raises UserError if that is not a
    model."""
    if not settings.is_embedded:
        return settings
    model, adapter = default_model()
    return replace(settings, model=model, adapter=adapter)


def place(settings: PredictSettings) -> str:
    """Where the model runs: a device, servers, or Ray."""
    if settings.engine_name == "server":
        return " and ".join(settings.url)
    if settings.is_on_ray:
        return "Ray on this machine" if settings.ray_address == LOCAL else f"Ray at {settings.ray_address}"
    if settings.engine_name == "vllm":
        return "vLLM"
    from emocaliber.models.loading import chosen_device

    return chosen_device(settings.device)


@contextmanager
def answering(
    settings: PredictSettings, first: Template, then: Template | None, *, is_embedded: bool
) -> Iterator[Engine | RemoteEngine]:
    """A context with the engine: one in this process, or several on Ray, which end with the context."""
    if not settings.is_on_ray:
        yield _method(settings, first, then)
        return
    model, adapter = (None, None) if is_embedded else (_absolute(settings.model), _absolute(settings.adapter))
    build = partial(_method, replace(settings, model=model, adapter=adapter), first, then)
    with engines_on_ray(settings.ray_address, build, count=settings.data_parallel, device=settings.device) as engine:
        print(f"Ray: {engine.place}", flush=True)
        yield engine


def _absolute(name: str | None) -> str | None:
    """The absolute path of a local folder, for a process with another working directory; a Hub name is unchanged."""
    return str(Path(name).absolute()) if name is not None and Path(name).exists() else name


def _method(settings: PredictSettings, first: Template, then: Template | None) -> Engine:
    """The engine with its wrappers for follow-up questions, retries and signals. On Ray it is built in the worker, with
    the embedded model of the package there."""
    add_reasoning_tags(settings.reasoning_tags)
    settings = with_embedded(settings)
    score: Score | None = None
    states: States | None = None
    if settings.engine_name == "server":
        base: Engine = _server(settings)
    elif settings.engine_name == "vllm":
        vllm = _vllm(settings)
        base, score = vllm, vllm.score_continuations
    else:
        transformers = _transformers(settings)
        base, score, states = transformers, transformers.score_continuations, transformers.hidden_states
    engine = base
    if then is not None:
        engine = FollowUpEngine(engine, first, then)
    if settings.retry_below is not None:
        engine = RetryingEngine(engine, threshold=settings.retry_below, retries=settings.retries)
    if settings.signals:
        engine = SignalsEngine(engine, settings.signals, first, base=base, score=score, states=states)
    return engine


def _vllm(settings: PredictSettings) -> VllmEngine:
    from emocaliber.generation.vllm_engine import VllmEngine

    return VllmEngine(
        model_folder(str(settings.model)),
        adapter=settings.adapter,
        dtype=settings.dtype,
        max_new_tokens=settings.longest_answer,
        max_model_len=settings.max_model_len,
        images_per_prompt=2 if RELATIVE in settings.signals else 1,
        gpu_memory_utilization=settings.gpu_memory_utilization,
        temperature=settings.temperature,
        seed=settings.seed,
    )


def _transformers(settings: PredictSettings) -> TransformersEngine:
    import torch

    from emocaliber.generation.transformers_engine import TransformersEngine

    return TransformersEngine(
        model_folder(str(settings.model)),
        adapter=settings.adapter,
        device=settings.device,
        dtype=None if settings.dtype == "auto" else getattr(torch, settings.dtype),
        batch_size=settings.batch_size,
        max_new_tokens=settings.longest_answer,
        temperature=settings.temperature,
        seed=settings.seed,
    )


def _server(settings: PredictSettings) -> Engine:
    from emocaliber.generation.server_engine import ServerEngine

    return ServerEngine(
        settings.url,
        str(settings.adapter or settings.model).partition("=")[0],
        base=settings.model if settings.adapter else None,
        tokenizer=settings.tokenizer,
        max_new_tokens=settings.longest_answer,
        temperature=settings.temperature,
        seed=settings.seed,
        api_key_env=settings.api_key_env,
        thinking=settings.thinking,
    )
