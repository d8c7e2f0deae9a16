"""What a prediction asks, of what, and how; whether that goes together; and the engine that it describes.

settings = PredictSettings(("photos",), model="DIR", engine="vllm", data_parallel=8)
check_settings(settings, template)          # before a model is loaded
engine_of(settings, template)
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import partial
from typing import Literal

from emocaliber.core.errors import UserError
from emocaliber.core.prompting import ANSWER_TOKENS, Template, load_template
from emocaliber.generation.asking_again import FollowUpEngine, RetryingEngine
from emocaliber.generation.engine import API_KEY_ENV, Engine
from emocaliber.generation.parallel_engine import ParallelEngine, devices
from emocaliber.models.location import check_model, model_folder

DEFAULT_TEMPLATE = "label-confidence"


@dataclass(frozen=True)
class PredictSettings:
    """What is asked, of what, and how. `source`: see emocaliber.data.sources.

    Without `model`, `adapter` and `url` the embedded tiny model answers. `labels`, `template` and `max_pixels` are the
    adapter's own where None. `engine` is that of a server where there is a `url`, else transformers; `device` "auto" is
    a GPU where there is one. `samples` above 1 draws as many answers each; `retry_below` asks again, `retries` times at
    most, where less confidence is stated; `then` is a second question about the answer. `constrain` lets an engine
    write nothing but what the template could. `reasoning_tags` are what opens and closes an unusual model's reasoning.
    `method` is the name that the rows carry.
    """

    source: tuple[str, ...]
    model: str | None = None
    adapter: str | None = None
    labels: str | None = None
    split: str | None = None
    limit: int | None = None
    template: str | None = None
    then: str | None = None
    engine: Literal["transformers", "vllm", "server"] | None = None
    url: tuple[str, ...] = ()
    api_key_env: str = API_KEY_ENV
    tokenizer: str | None = None
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"
    data_parallel: int = 1
    batch_size: int = 32
    max_model_len: int | None = None
    max_new_tokens: int = ANSWER_TOKENS
    max_pixels: int | None = None
    constrain: bool = False
    samples: int = 1
    temperature: float = 0.0
    reasoning_tags: tuple[tuple[str, str], ...] = ()
    retry_below: float | None = None
    retries: int = 3
    seed: int = 0
    method: str = "model"

    @property
    def is_embedded(self) -> bool:
        """Whether the tiny model that ships with the package answers, since nothing else was named."""
        return self.model is None and self.adapter is None and not self.url

    @property
    def engine_name(self) -> str:
        """The engine that answers."""
        return self.engine or ("server" if self.url else "transformers")


NOT_IN_MANIFEST = {"url", "api_key_env", "tokenizer", "device", "data_parallel", "batch_size", "method", "samples",
                   "max_pixels", "max_model_len"}  # fmt: skip
"""Where the answers are computed and what the manifest says by itself."""


def check_settings(settings: PredictSettings, template: Template) -> None:
    """Raises UserError where settings do not go together, before a model is loaded."""
    drawn = "--retry-below" if settings.retry_below is not None else "--samples" if settings.samples > 1 else ""
    if drawn and settings.temperature <= 0:
        raise UserError(f"{drawn} needs --temperature above 0; greedy draws are all the same")
    if settings.retry_below is not None and settings.samples > 1:
        raise UserError("--retry-below and --samples are two methods; run them one after the other")
    if settings.retry_below is not None and not {"confidence", "distribution"} & set(template.fields):
        raise UserError(f"--retry-below needs a prompt that asks for a confidence; {template.name} does not")
    if settings.data_parallel < 1 or (settings.data_parallel > 1 and settings.engine_name == "server"):
        raise UserError("--data-parallel is a number of vllm or transformers engines; for servers give several --url")
    if settings.engine_name == "server" and not settings.url:
        raise UserError("--engine server needs --url, for instance --url http://127.0.0.1:8000")
    if "{label}" in template.prompt:
        raise UserError(f"{template.name} is a second question: give it with --then, after --prompt")
    if settings.constrain:
        _check_constraint(settings, template)
    if settings.engine_name != "server":
        check_model(str(settings.model))


def _check_constraint(settings: PredictSettings, template: Template) -> None:
    if settings.engine_name == "transformers":
        raise UserError("--constrain needs --engine vllm or server; transformers writes freely")
    try:
        template.pattern(("any",))
    except ValueError as error:
        raise UserError(f"--constrain: {error}") from None


def described(settings: PredictSettings) -> dict[str, object]:
    """What the manifest says of the settings."""
    return {name: value for name, value in asdict(settings).items() if name not in NOT_IN_MANIFEST}


def engine_of(settings: PredictSettings, first: Template) -> Engine:
    """The engine, with what is asked again around it."""
    engine = _engines(settings)
    if settings.then:
        engine = FollowUpEngine(engine, first, load_template(settings.then))
    if settings.retry_below is not None:
        engine = RetryingEngine(engine, threshold=settings.retry_below, retries=settings.retries)
    return engine


def _engines(settings: PredictSettings) -> Engine:
    """One engine, or as many as there shall be side by side."""
    if settings.data_parallel == 1:
        return _engine(settings)
    return ParallelEngine(partial(_engine, settings), devices(settings.data_parallel))


def _engine(settings: PredictSettings) -> Engine:
    if settings.engine_name == "server":
        return _server(settings)
    model = model_folder(str(settings.model))
    if settings.engine_name == "vllm":
        from emocaliber.generation.vllm_engine import VllmEngine

        return VllmEngine(
            model,
            adapter=settings.adapter,
            dtype=settings.dtype,
            max_new_tokens=settings.max_new_tokens,
            max_model_len=settings.max_model_len,
            temperature=settings.temperature,
            seed=settings.seed,
        )
    import torch

    from emocaliber.generation.transformers_engine import TransformersEngine

    return TransformersEngine(
        model,
        adapter=settings.adapter,
        device=settings.device,
        dtype=None if settings.dtype == "auto" else getattr(torch, settings.dtype),
        batch_size=settings.batch_size,
        max_new_tokens=settings.max_new_tokens,
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
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        seed=settings.seed,
        api_key_env=settings.api_key_env,
    )
