"""Which model answers, what it is asked, and what is known of it: the options of `ask` and `chat`, checked.

Nothing is loaded here before `ModelChoice.load`. Labels and prompt come from the options, or from the adapter's own
`emocaliber.json` (see models.location); the record from `--calibration`, or from beside the adapter.

    emocaliber ask --adapter out/stage-1/adapter PICTURE
    emocaliber ask --model DIR --adapter DIR --labels "joy, sadness, fear" --template label --calibration RUN PICTURE
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from emocaliber.calibration.doubt import DoubtMap
from emocaliber.calibration.files import DOUBT_FILE, SETS_FILE, read_doubt, read_sets
from emocaliber.calibration.sets import SetMap
from emocaliber.chat.questions import read_labels
from emocaliber.chat.record import FILE, Record, read_record
from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.prompting import Template, load_template
from emocaliber.core.taxonomy import MIKELS_8, TAXONOMIES
from emocaliber.generation.engine import API_KEY_ENV, StreamingEngine
from emocaliber.models.location import (
    QUESTION_FILE,
    TINY,
    TINY_ADAPTER,
    TINY_NOTE,
    Question,
    check_adapter,
    check_model,
    default_model,
    model_folder,
    read_question,
)
from emocaliber.reading import add_reasoning_tags

if TYPE_CHECKING:
    from emocaliber.runs.doubt import Looking

DEFAULT_TEMPLATE, DEFAULT_THRESHOLD = "label-confidence", 0.7
LONGEST_ANSWER, LONGEST_TINY_ANSWER = 512, 16


@dataclass(frozen=True)
class ModelChoice:
    """What the options say. `model` None is the shipped tiny one; `server` an OpenAI-compatible server's address.

    Pictures of more than `max_pixels` are made smaller. `tasks` are those that the adapter was trained on; `label_sets`
    are the labels to choose from, by name: theirs, then the taxonomies; `labels` those that are asked about at first.
    `record_is_vouched_for` is whether the user named the record for their own pictures; `sets` are the prediction sets
    that were fitted for the model's answers, if any, and `doubt` is the map of reasons for doubt.
    """

    model: str | None
    adapter: Path | None
    server: str | None
    tokenizer: Path | None
    engine: str
    device: str
    max_new_tokens: int
    template: Template
    max_pixels: int
    labels: tuple[str, ...]
    tasks: tuple[str, ...]
    label_sets: dict[str, tuple[str, ...]]
    record: Record
    record_is_vouched_for: bool
    api_key_env: str = API_KEY_ENV
    sets: SetMap | None = None
    doubt: DoubtMap | None = None
    thinking: bool | None = None

    @property
    def title(self) -> str:
        """The model's name for display, without its folders."""
        if self.model is None:
            return "the tiny model that comes with emocaliber"
        model = Path(self.model).name if Path(self.model).is_dir() else self.model
        return model if self.adapter is None else f"{model} with {self.adapter.name}"

    @property
    def note(self) -> str:
        """What a user must know about the model; empty for models that emocaliber does not ship."""
        return TINY_NOTE if self.model is None else ""

    def load(self) -> StreamingEngine:
        """Build the engine, in seconds to minutes. Raises UserError if the model cannot be loaded."""
        try:
            return self._engine()
        except ModuleNotFoundError as missing:
            extra = "vllm" if self.engine == "vllm" else "train"
            raise UserError(f"{self.title} needs {missing.name}: pip install 'emocaliber[{extra}]'") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{self.title} cannot be loaded: {error}") from None

    def _engine(self) -> StreamingEngine:
        if self.server is not None:
            from emocaliber.generation.server_engine import ServerEngine

            return ServerEngine(
                [self.server],
                str(self.model),
                tokenizer=self.tokenizer,
                max_new_tokens=self.max_new_tokens,
                timeout=120.0,
                api_key_env=self.api_key_env,
                thinking=self.thinking,
            )
        model, adapter = model_folder(self.model or TINY), TINY_ADAPTER if self.model is None else self.adapter
        if self.engine == "vllm":
            return _vllm_engine(model, adapter, self.max_new_tokens)
        from emocaliber.generation.transformers_engine import TransformersEngine

        engine = TransformersEngine(model, adapter=adapter, device=self.device, max_new_tokens=self.max_new_tokens)
        print(f"{self.title} on {engine.device}", file=sys.stderr)
        return engine


def _vllm_engine(model: str, adapter: Path | None, max_new_tokens: int) -> StreamingEngine:
    """vLLM. On a CPU the adapter is merged into the weights, since LoRA beside them takes most of vLLM's time there;
    on a GPU it costs little, and bfloat16 would round the sum."""
    from vllm.platforms import current_platform

    from emocaliber.generation.transformers_engine import TransformersEngine
    from emocaliber.generation.vllm_engine import VllmEngine

    if adapter is None or not current_platform.is_cpu():
        return VllmEngine(model, adapter=adapter, max_new_tokens=max_new_tokens)
    merged = TransformersEngine(model, adapter=adapter)  # float32, where it merges, and checks that something changed
    with TemporaryDirectory(prefix="emocaliber-") as folder:
        merged.model.save_pretrained(folder)
        merged.processor.save_pretrained(folder)
        return VllmEngine(folder, dtype="float32", max_new_tokens=max_new_tokens)


def model_choice(arguments: argparse.Namespace) -> ModelChoice:
    """The checked options. Raises UserError if they contradict each other or name something missing."""
    model, adapter, question = arguments.model, arguments.adapter, None
    add_reasoning_tags(arguments.reasoning_tags)
    if arguments.server and not arguments.model:
        raise UserError("--server needs --model, the name under which the server offers the model")
    if arguments.tokenizer and not arguments.tokenizer.is_dir():
        raise UserError(f"--tokenizer {arguments.tokenizer}: no such folder; give the folder of the served model")
    if not (model or adapter or arguments.server):
        model, named = default_model()
        adapter = Path(named) if named else None
    chosen = adapter
    if adapter:
        check_adapter(adapter)
        question = read_question(adapter)
    if adapter and not model:
        model = _base_of(adapter, question)
    elif model and not arguments.server:
        check_model(model)
        question = question or read_question(model_folder(model))
    if model is None:
        adapter = TINY_ADAPTER
        check_adapter(adapter, "the tiny model's adapter")
        question = read_question(adapter)
    template, labels = _template(arguments.template, adapter, question), _labels(arguments.labels, adapter, question)
    trained = question.tasks if question is not None else {}
    short = arguments.server is None and model in (None, TINY) and not template.reasons
    return ModelChoice(
        model,
        chosen,
        arguments.server,
        arguments.tokenizer,
        arguments.engine,
        arguments.device,
        arguments.max_new_tokens or (LONGEST_TINY_ANSWER if short else max(LONGEST_ANSWER, template.longest_answer)),
        template,
        arguments.max_pixels or (question.max_pixels if question is not None else None) or SHOWN_PIXELS,
        labels,
        tuple(trained),
        trained | {name: taxonomy.labels for name, taxonomy in TAXONOMIES.items()},
        _record(arguments.calibration, adapter, template, question),
        arguments.calibration is not None,
        arguments.api_key_env,
        _sets(arguments.sets, adapter, template, question),
        _doubt(arguments.doubt, adapter, template, question),
        None if question is None else question.thinking,
    )


def _base_of(adapter: Path, question: Question | None) -> str:
    if question is None:
        raise UserError(
            f"--adapter {adapter}: give --model too, the base that it was trained on (no {QUESTION_FILE} there says)"
        )
    check_model(question.base, f"{adapter / QUESTION_FILE}: give --model, for its base is not here:")
    return question.base


def _template(name: str | None, adapter: Path | None, question: Question | None) -> Template:
    if name is not None:
        try:
            template = load_template(name)
        except ValueError as error:
            raise UserError(f"--template: {error}") from None
    elif question is not None:
        template = question.template
    elif adapter is not None:
        raise UserError(
            f"{adapter}: no {QUESTION_FILE} there says what the adapter was trained to be asked;"
            " give --template and --labels"
        )
    else:
        template = load_template(DEFAULT_TEMPLATE)
    if "{label}" in template.prompt:
        raise UserError(f"--template {template.name}: a second question, about an answer; choose another template")
    return template


def _labels(text: str | None, adapter: Path | None, question: Question | None) -> tuple[str, ...]:
    tasks = question.tasks if question is not None else {}
    if text is None:
        if tasks:
            return next(iter(tasks.values()))
        if adapter is None:
            return MIKELS_8.labels
        raise UserError(f"{adapter}: no {QUESTION_FILE} there names the adapter's labels; give --labels")
    named = {name: taxonomy.labels for name, taxonomy in TAXONOMIES.items()} | tasks
    if text in named:
        return named[text]
    if re.search(r"[,;\n]", text):
        return read_labels(text)
    close = get_close_matches(text, named, n=1)
    hint = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(named)},"
    raise UserError(f'--labels {text}: no such taxonomy or task; {hint} or list labels: --labels "joy, sadness"')


def _sets(path: Path | None, adapter: Path | None, template: Template, question: Question | None) -> SetMap | None:
    """The prediction sets that the options name, or that lie beside the adapter and have the same prompt."""
    file = path or _beside(adapter, SETS_FILE, template, question)
    return None if file is None else read_sets(file)


def _doubt(path: Path | None, adapter: Path | None, template: Template, question: Question | None) -> DoubtMap | None:
    """The doubt map that the options name, or that lies beside the adapter and has the same prompt."""
    file = path or _beside(adapter, DOUBT_FILE, template, question)
    return None if file is None else read_doubt(file)


def _beside(adapter: Path | None, name: str, template: Template, question: Question | None) -> Path | None:
    """A file beside the adapter, unless the prompt differs from the one that it is about."""
    beside = None if adapter is None else adapter / name
    other = question is not None and question.prompt.hash != template.hash
    return None if beside is None or not beside.is_file() or other else beside


def _record(path: Path | None, adapter: Path | None, template: Template, question: Question | None) -> Record:
    if path is not None:
        return read_record(path)
    beside = _beside(adapter, FILE, template, question)
    return Record() if beside is None else read_record(beside)


def looking(choice: ModelChoice) -> Looking | None:
    """What looks at pictures for the doubt about unfamiliar ones; None where no such map was fitted."""
    if choice.doubt is None or choice.doubt.familiar is None:
        return None
    from emocaliber.runs.doubt import Looking

    return Looking(choice.doubt.familiar.model)
