"""Predict: a model is asked about every row of a source, labelled or not, and its answers become prediction rows.

The one way to predict: the command line, an evaluation and a script say what they want by `PredictSettings`.

    outcome = predict(PredictSettings(("photos",), labels="joy,anger"), Path("out/answers"))
    outcome.summary.states, outcome.rows(Source.VERBALIZED)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.prediction_files import write_rows
from emocaliber.core.predictions import Prediction, Source, read_predictions
from emocaliber.core.prompting import ANSWER_TOKENS, Template, load_template
from emocaliber.core.taxonomy import MIKELS_8
from emocaliber.data.any_source import declared_labels
from emocaliber.data.sources import PredictionSource, Rows, Samples
from emocaliber.generation.asking_again import FollowUpEngine, RetryingEngine, in_two_steps
from emocaliber.generation.engine import API_KEY_ENV, Engine
from emocaliber.generation.harness import Summary, generate
from emocaliber.generation.parallel_engine import ParallelEngine, devices
from emocaliber.generation.readouts import FILES, sources_of
from emocaliber.generation.shards import Shard, merge
from emocaliber.models.location import TINY, TINY_ADAPTER, TINY_NOTE, check_adapter, check_model, model_folder
from emocaliber.models.question import FILE as QUESTION_FILE
from emocaliber.models.question import Question, read_question
from emocaliber.reading import add_reasoning_tags

DEFAULT_TEMPLATE = "label-confidence"
ANSWERS = ("responses*.jsonl", "predictions*.jsonl", "journal.jsonl", "manifest.json")
"""What `predict` writes in its folder."""


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


@dataclass(frozen=True)
class Outcome:
    """A finished run: its files are in `folder`; `template` says which read-outs there are."""

    folder: Path
    template: Template
    summary: Summary
    rows: Rows

    @property
    def main_source(self) -> Source:
        """The read-out to look at: what was stated, or the label's probability where nothing was."""
        return sources_of(self.template)[0]

    def predictions(self, source: Source) -> Iterator[Prediction]:
        """The rows of a read-out, in the source's order."""
        return read_predictions(self.folder / FILES[source], unlabelled=True)


def predict(settings: PredictSettings, out: Path, shard: Shard | None = None) -> Outcome:
    """Ask about every row, or those of a `shard`, and write responses, prediction rows and a manifest into a folder.

    Run again after a stop, it asks only what is not answered. The first lines printed say what answers where, and what
    was passed over. Raises UserError where something is missing or does not fit together, before a model is loaded, and
    where nothing at all was answered.
    """
    add_reasoning_tags(settings.reasoning_tags)
    settings, question = _resolved(settings)
    first = _first_template(settings, question)
    template = in_two_steps(first, load_template(settings.then)) if settings.then else first
    _check(settings, template)
    source = PredictionSource(settings.source, _own_labels(question), settings.labels, settings.split, settings.limit)
    rows = source.checked() if shard is None else source.checked(shard.holds)
    for line in _first_lines(settings, question, rows):
        print(line, flush=True)
    summary = generate(
        Samples(source, rows.splits),
        _method(settings, first),
        template,
        out,
        method=settings.method,
        draws=settings.samples,
        constrain=settings.constrain,
        max_pixels=settings.max_pixels or (question.max_pixels if question is not None else None) or SHOWN_PIXELS,
        total=rows.count,
        shard=shard,
        settings=_described(settings) | {"template": first.name},
    )
    if summary.rows and not summary.answered:
        raise UserError(f"nothing was answered: {summary.first_error}; the reasons are in {out}")
    return Outcome(out, template, summary, rows)


def merged(parts: Sequence[Path], out: Path) -> Outcome:
    """The parts of a run in shards, put together in a folder. Raises UserError as `generation.shards.merge` does."""
    template, states = merge(parts, out)
    summary = Summary(rows=states.total(), states=states, answered=states.total())
    return Outcome(out, template, summary, Rows(states.total(), None))


def write_file(outcome: Outcome, path: Path) -> None:
    """The main read-out's rows as Parquet, JSON Lines or CSV, by the file's suffix."""
    write_rows(path, outcome.predictions(outcome.main_source))


def _resolved(settings: PredictSettings) -> tuple[PredictSettings, Question | None]:
    """With the model that answers named, and what its adapter was trained to be asked."""
    if settings.is_embedded:
        settings = replace(settings, model=TINY, adapter=str(TINY_ADAPTER))
    question = _question(settings)
    if settings.model is None and settings.engine_name == "server":
        raise UserError("--url needs --model, the name under which the server offers the model")
    if settings.model is None:
        if question is None:
            raise UserError(f"--adapter {settings.adapter}: give --model too, the base that it was trained on")
        check_model(question.base, f"{settings.adapter}: give --model, for its base is not here:")
        settings = replace(settings, model=question.base)
    return settings, question


def _question(settings: PredictSettings) -> Question | None:
    """What the adapter was trained to be asked. Raises UserError where its folder is none, or says nothing, and no
    template does."""
    folder = settings.adapter
    if settings.engine_name == "server":
        folder = (settings.adapter or "").partition("=")[2] or None
    if folder is None:
        return None
    check_adapter(Path(folder))
    question = read_question(folder)
    if question is None and settings.template is None:
        raise UserError(
            f"{folder}: no {QUESTION_FILE} there says what the adapter was trained to be asked; give --prompt"
        )
    return question


def _own_labels(question: Question | None) -> tuple[str, ...]:
    return MIKELS_8.labels if question is None else next(iter(question.tasks.values()))


def _first_template(settings: PredictSettings, question: Question | None) -> Template:
    if settings.template is not None or question is None:
        return load_template(settings.template or DEFAULT_TEMPLATE)
    return question.template


def _check(settings: PredictSettings, template: Template) -> None:
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


def _first_lines(settings: PredictSettings, question: Question | None, rows: Rows) -> Iterator[str]:
    """What answers about what, and where; what the embedded model is good for; what was passed over."""
    adapter = "" if settings.adapter is None or settings.adapter == str(TINY_ADAPTER) else f" with {settings.adapter}"
    model = "the embedded tiny model" if settings.adapter == str(TINY_ADAPTER) else f"{settings.model}{adapter}"
    count = "rows" if rows.count is None else f"{rows.count:,} {'row' if rows.count == 1 else 'rows'}"
    labelled = f", {rows.labelled:,} of them labelled" if rows.labelled else ", none labelled"
    names = ", ".join(settings.source[:3]) + (" …" if len(settings.source) > 3 else "")
    yield f"{names}: {count}{labelled if rows.count else ''}; {model} on {_place(settings)}"
    if settings.adapter == str(TINY_ADAPTER):
        yield TINY_NOTE
    if question is not None and settings.labels and declared_labels(settings.labels) not in question.tasks.values():
        learned = "; ".join(", ".join(labels) for labels in question.tasks.values())
        yield f"The adapter was trained on other labels than --labels names, and may answer with its own: {learned}"
    if rows.passed_over:
        listed = ", ".join(f"{what} ({count:,})" for what, count in rows.passed_over.most_common())
        hint = " (--split NAME, or --split all, asks about them)" if "rows of split" in listed else ""
        yield f"Passed over: {listed}{hint}"


def _place(settings: PredictSettings) -> str:
    if settings.engine_name == "server":
        return " and ".join(settings.url)
    if settings.engine_name == "vllm":
        return "vLLM"
    from emocaliber.models.loading import chosen_device

    return chosen_device(settings.device)


def _described(settings: PredictSettings) -> dict[str, object]:
    return {name: value for name, value in asdict(settings).items() if name not in NOT_IN_MANIFEST}


def _method(settings: PredictSettings, first: Template) -> Engine:
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
