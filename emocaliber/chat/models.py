"""Which model answers, and what is known about it: the embedded one, or the one that the arguments name.

Not an engine: one is chosen and built here.

    emocaliber ask --model DIR --adapter DIR --calibration RUN PICTURE
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from emocaliber.chat.record import FILE, Record, read_record
from emocaliber.chat.run_record import record_of_run
from emocaliber.core.errors import UserError
from emocaliber.core.prompting import Template, load_template, template_names
from emocaliber.generation.engine import StreamingEngine

TINY_ADAPTER = Path(__file__).parent.parent / "data" / "tiny-adapter"
TINY_NOTE = (
    "This is the tiny model that comes with emocaliber. It was taught drawings only, kaomoji and emoji, and one"
    " question; it knows nothing of photographs, and what it says to other questions means little."
)


@dataclass(frozen=True)
class ModelChoice:
    """What the arguments say. `model` None is the embedded tiny one; `server` an OpenAI-compatible server's address."""

    model: str | None
    adapter: Path | None
    server: str | None
    served_tokenizer: Path | None
    engine: str
    device: str
    max_new_tokens: int
    template: Template
    record: Record

    @property
    def title(self) -> str:
        """The model's name for a reader."""
        if self.model is None:
            return "the embedded tiny model"
        model = Path(self.model).name if Path(self.model).is_dir() else self.model  # where it lies is nobody's business
        return model if self.adapter is None else f"{model} with {self.adapter.name}"

    @property
    def note(self) -> str:
        """What a user must know about the model; empty for one that emocaliber does not know."""
        return TINY_NOTE if self.model is None else ""

    def load(self) -> StreamingEngine:
        """Build the engine. Takes from seconds to minutes; raises UserError where the model cannot be had."""
        try:
            return self._engine()
        except (OSError, ValueError) as error:
            raise UserError(f"{self.title} cannot be loaded: {error}") from None

    def _engine(self) -> StreamingEngine:
        if self.server is not None:
            from emocaliber.generation.server_engine import ServerEngine

            return ServerEngine(
                [self.server],
                str(self.model),
                tokenizer=self.served_tokenizer,
                max_new_tokens=self.max_new_tokens,
                timeout=120.0,
            )
        model, adapter = self.model, TINY_ADAPTER if self.model is None else self.adapter
        if model is None or model == "tiny":
            from emocaliber.models.location import embedded_base

            model = str(embedded_base())
        if self.engine == "vllm":
            from emocaliber.chat.merging import vllm_engine

            return vllm_engine(model, adapter, self.max_new_tokens)
        from emocaliber.generation.transformers_engine import TransformersEngine

        engine = TransformersEngine(model, adapter=adapter, device=self.device, max_new_tokens=self.max_new_tokens)
        print(f"{self.title} on {engine.device}", file=sys.stderr)
        return engine


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that choose a model; without any, the embedded tiny one answers."""
    parser.add_argument("--model", help="a model's folder or hub name, or tiny; with --server, its name there")
    parser.add_argument("--adapter", type=Path, help="a LoRA adapter's folder")
    parser.add_argument("--server", metavar="URL", help="an OpenAI-compatible server, such as http://127.0.0.1:8000")
    parser.add_argument(
        "--tokenizer", type=Path, help="for vLLM's server: the model's folder, to show label probabilities"
    )
    parser.add_argument("--engine", default="transformers", choices=("transformers", "vllm"))
    parser.add_argument(
        "--device", default="auto", help="for the transformers engine: cpu, cuda, mps (default: a GPU if there is one)"
    )
    parser.add_argument("--max-new-tokens", type=int, help="longest answer, in tokens (default: 512; 16 embedded)")
    parser.add_argument("--template", default="label-confidence", metavar="NAME",
                        help=f"what to ask: {', '.join(template_names())}, or a .yaml file of your own")  # fmt: skip
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="RUN",
        help=f"what says how often answers are right: a finished run's folder, of which the rows held out from training"
        f" count, a file of predictions on such rows, or a {FILE} (default: the one in the adapter's folder)",
    )


def model_choice(arguments: argparse.Namespace) -> ModelChoice:
    """What the options say, checked. Raises UserError where they do not fit together or the record is unreadable."""
    if arguments.server and not arguments.model:
        raise UserError("--server needs --model, the name that the server gives its model")
    if arguments.server and arguments.adapter:
        raise UserError("--adapter is for a model loaded here; a server lists its adapters as models: use --model NAME")
    if arguments.adapter and not arguments.model:
        raise UserError("--adapter needs --model, the model that the adapter was trained on")
    if arguments.model is None and not TINY_ADAPTER.is_dir():
        raise UserError(
            f"{TINY_ADAPTER}: the embedded adapter is not there; write it with scripts/pack_tiny_adapter.py, or name a"
            " model with --model and --adapter"
        )
    tokens = arguments.max_new_tokens or (16 if arguments.model is None else 512)
    return ModelChoice(
        arguments.model,
        arguments.adapter,
        arguments.server,
        arguments.tokenizer,
        arguments.engine,
        arguments.device,
        tokens,
        load_template(arguments.template),
        _record(arguments),
    )


def _record(arguments: argparse.Namespace) -> Record:
    if arguments.calibration is not None:
        given: Path = arguments.calibration
        return record_of_run(given) if given.is_dir() else read_record(given)
    beside = (TINY_ADAPTER if arguments.model is None else arguments.adapter or Path("no adapter")) / FILE
    return read_record(beside) if beside.is_file() else Record()
