"""What a prediction asks, of what, and how; and whether that goes together. Its engine: see engines.

settings = PredictSettings(("photos",), model="DIR", engine="vllm", data_parallel=8)
check_settings(settings, template)          # before a model is loaded
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from typing import Literal

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.predictions import SIGNALS
from emocaliber.core.prompting import ANSWER_TOKENS, Template
from emocaliber.generation.engine import API_KEY_ENV
from emocaliber.generation.ray_cluster import INSTALL, LOCAL
from emocaliber.generation.signals import ALONG, HIDDEN, RELATIVE
from emocaliber.models.location import check_model

DEFAULT_TEMPLATE = "label-confidence"


@dataclass(frozen=True)
class PredictSettings:
    """The settings of a prediction. `source`: see emocaliber.data.sources.

    Without `model`, `adapter` and `url` the embedded tiny model answers. If None, `labels`, `template` and `max_pixels`
    are those of the adapter, and `max_new_tokens` is enough for the template. `engine` defaults to server with a `url`,
    else to transformers; `device` "auto" is a GPU if there is one. `samples` is the number of answers drawn for each
    row; with `retry_below`, rows that state less confidence are queried again, at most `retries` times; `then` is the
    template of a follow-up question about the answer. `constrain` restricts answers to the template's grammar.
    `reasoning_tags` are the opening and closing tags of an unusual model's reasoning. `signals` are measured for each
    answer (see emocaliber.generation.signals); `against` is the folder of an earlier run whose rows the signal
    "relative" compares with. `method` is the method name of the rows. `cluster` is "ray", for engines on a Ray started
    on this machine, or "ray:ADDRESS", for those of a cluster; `data_parallel` is the number of engines (default: one,
    or on Ray one per GPU), of which more than one run on Ray. `sets` and `doubt` are files written by `emocaliber
    recalibrate fit`, to be applied to the rows (default: those beside the adapter). `thinking` switches a server's
    thinking mode to that of the adapter's training. `gpu_memory_utilization` is vLLM's share of the device's memory.
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
    cluster: str | None = None
    data_parallel: int | None = None
    batch_size: int = 32
    max_model_len: int | None = None
    gpu_memory_utilization: float | None = None
    max_new_tokens: int | None = None
    max_pixels: int | None = None
    constrain: bool = False
    samples: int = 1
    temperature: float = 0.0
    reasoning_tags: tuple[tuple[str, str], ...] = ()
    retry_below: float | None = None
    retries: int = 3
    seed: int = 0
    signals: tuple[str, ...] = ()
    against: str | None = None
    method: str = "model"
    sets: str | None = None
    doubt: str | None = None
    thinking: bool | None = None

    @property
    def is_embedded(self) -> bool:
        """Whether the embedded tiny model answers, because no other was named."""
        return self.model is None and self.adapter is None and not self.url

    @property
    def engine_name(self) -> str:
        """The engine to use."""
        return self.engine or ("server" if self.url else "transformers")

    @property
    def longest_answer(self) -> int:
        """The limit on answer tokens."""
        return self.max_new_tokens or ANSWER_TOKENS

    @property
    def is_on_ray(self) -> bool:
        """Whether the engines run as Ray processes instead of in this one."""
        return self.cluster is not None or (self.data_parallel or 1) > 1

    @property
    def ray_address(self) -> str:
        """The address of the Ray cluster, or LOCAL for a Ray of this machine's own."""
        return (self.cluster or "").partition(":")[2] or LOCAL


NOT_IN_MANIFEST = {"url", "api_key_env", "tokenizer", "device", "cluster", "data_parallel", "batch_size", "method",
                   "samples", "max_pixels", "max_model_len", "gpu_memory_utilization", "sets", "doubt",
                   "thinking"}  # fmt: skip
"""Where the answers are computed and what the manifest says by itself."""


def check_settings(settings: PredictSettings, template: Template) -> None:
    """Raises UserError, before a model is loaded, if settings contradict each other."""
    drawn = "--retry-below" if settings.retry_below is not None else "--samples" if settings.samples > 1 else ""
    if drawn and settings.temperature <= 0:
        raise UserError(f"{drawn} needs --temperature above 0; greedy draws are all the same")
    if settings.retry_below is not None and settings.samples > 1:
        raise UserError("--retry-below and --samples are two methods; run them one after the other")
    if settings.retry_below is not None and not {"confidence", "distribution"} & set(template.fields):
        raise UserError(f"--retry-below needs a prompt that asks for a confidence; {template.name} does not")
    if settings.signals:
        _check_signals(settings, template)
    if settings.against is not None and RELATIVE not in settings.signals:
        raise UserError(f"--against {settings.against} needs --signals {RELATIVE}, the signal that compares rows")
    if settings.is_on_ray or settings.data_parallel is not None:
        _check_engines(settings)
    if settings.engine_name == "server" and not settings.url:
        raise UserError("--engine server needs --url, for instance --url http://127.0.0.1:8000")
    if (share := settings.gpu_memory_utilization) is not None and not 0 < share <= 1:
        raise UserError(f"--gpu-memory-utilization {share:g}: give a share of the memory, above 0 and at most 1")
    if "{label}" in template.prompt:
        raise UserError(f"{template.name} is a second question: give it with --then, after --prompt")
    if settings.constrain:
        _check_constraint(settings, template)
    if settings.engine_name != "server":
        check_model(str(settings.model))


def _check_engines(settings: PredictSettings) -> None:
    """Raises UserError if several engines, or Ray, are not possible."""
    if not re.fullmatch(r"ray(:.+)?", settings.cluster or "ray"):
        raise UserError(f"--cluster {settings.cluster}: write ray, for this machine, or ray:HOST:PORT, for a cluster")
    if settings.data_parallel is not None and settings.data_parallel < 1:
        raise UserError(f"--data-parallel {settings.data_parallel}: give the number of engines, 1 or more")
    if settings.engine_name == "server":
        raise UserError("--cluster and --data-parallel are for other engines; for servers give several --url")
    if settings.is_on_ray and find_spec("ray") is None:
        raise UserError(f"engines in processes of their own are run by Ray, which is not installed: {INSTALL}")


def _check_signals(settings: PredictSettings, template: Template) -> None:
    """Raises UserError if a signal is unknown, or the engine or the template cannot give it."""
    engine = settings.engine_name
    for name in settings.signals:
        if name not in SIGNALS:
            raise UserError(f"--signals: there is no signal {name!r}{did_you_mean(name, SIGNALS)}")
        if name == HIDDEN and engine != "transformers":
            raise UserError(f"--signals {HIDDEN}: {engine} gives no hidden states; use --engine transformers")
        if name == ALONG and engine == "server":
            raise UserError(f"--signals {ALONG}: a server scores no given text; use --engine transformers or vllm")
        if name == ALONG and "reasoning" not in template.fields:
            raise UserError(f"--signals {ALONG}: {template.name} has no reasoning; use --prompt reasoning")
    if template.asks_rows_questions:
        raise UserError(f"--signals ask questions of their own, without the rows': leave them out with {template.name}")
    if "label" not in template.fields:
        raise UserError(f"--signals needs a prompt whose answer names one label; {template.name} does not")


def _check_constraint(settings: PredictSettings, template: Template) -> None:
    if settings.engine_name == "transformers":
        raise UserError("--constrain needs --engine vllm or server; transformers writes freely")
    try:
        template.pattern(("any",))
    except ValueError as error:
        raise UserError(f"--constrain: {error}") from None


def described(settings: PredictSettings) -> dict[str, object]:
    """The settings as JSON values for the manifest."""
    return {name: value for name, value in asdict(settings).items() if name not in NOT_IN_MANIFEST}
