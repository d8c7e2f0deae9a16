"""The verb `generate`: its arguments, and the run they describe.

emocaliber generate --data kaomoji --model DIR --adapter DIR --out out/answers
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.outputs import SCORECARD, Output
from emocaliber.core.predictions import Source, State
from emocaliber.core.prompting import ANSWER_TOKENS, Template, load_template, template_names
from emocaliber.core.resolution import SHOWN_PIXELS
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import FILES as EMBEDDED
from emocaliber.data.embedded import check_source, load
from emocaliber.data.parquet import read_samples
from emocaliber.generation.engine import API_KEY_ENV, Engine
from emocaliber.generation.follow_up import FollowUpEngine, in_two_steps
from emocaliber.generation.harness import FILES, Summary, generate
from emocaliber.generation.parallel_engine import ParallelEngine, devices
from emocaliber.generation.retry import RetryingEngine
from emocaliber.models.location import check_adapter, check_model
from emocaliber.models.question import FILE as QUESTION_FILE
from emocaliber.models.question import Question, read_question
from emocaliber.reading import add_reasoning_tags

_IN_MANIFEST = ("data", "split", "limit", "model", "adapter", "template", "then", "constrain", "engine", "dtype",
                "reasoning_tags", "max_new_tokens", "temperature", "seed", "retry_below", "retries")  # fmt: skip
ANSWERS = ("responses*.jsonl", "predictions*.jsonl", "journal.jsonl", "manifest.json")
ENGINES = ("transformers", "vllm", "server")
DEFAULT_TEMPLATE = "label-confidence"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument(
        "--data", required=True, help=f"{' or '.join(EMBEDDED)} (embedded), or a Parquet file of samples"
    )
    parser.add_argument("--split", default="test", help="which rows to ask about (default: test)")
    parser.add_argument("--model", required=True, help="a model's folder, its name on the hub, or tiny")
    parser.add_argument(
        "--adapter",
        help="LoRA adapter folder; with a server, the name it is served by, or NAME=DIR to read its question from DIR",
    )
    parser.add_argument("--url", action="append", default=[], help="a server's address; several are used side by side")
    parser.add_argument("--api-key-env", default=API_KEY_ENV, metavar="NAME",
                        help=f"environment variable with the server's API key (default: {API_KEY_ENV})")  # fmt: skip
    parser.add_argument("--tokenizer", type=Path, help="for vLLM's server: the model's folder, to report probabilities")
    parser.add_argument("--template", metavar="NAME",
                        help=f"prompt template (default: the adapter's own, or {DEFAULT_TEMPLATE}):"
                        f" {', '.join(template_names())}, or a .yaml file of your own")  # fmt: skip
    parser.add_argument("--reasoning-tags", nargs=2, action="append", default=[], metavar=("OPEN", "CLOSE"),
                        help="what opens and closes this model's reasoning, where its name is unusual; may be repeated"
                        )  # fmt: skip
    parser.add_argument("--then", metavar="NAME",
                        help="a second question about the first answer: self-report-confidence")  # fmt: skip
    parser.add_argument("--engine", default="transformers", choices=ENGINES)
    parser.add_argument(
        "--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="precision (default: auto)"
    )
    parser.add_argument("--max-model-len", type=int, help="for vllm: longest prompt and answer together, in tokens")
    parser.add_argument("--constrain", action="store_true",
                        help="for vllm and its server: let it write only what the template could; with the template"
                        " json, for any server that takes a JSON Schema")  # fmt: skip
    parser.add_argument("--data-parallel", type=int, default=1, metavar="N",
                        help="for vllm, transformers: N engines, a process and a GPU each, over one queue")  # fmt: skip
    parser.add_argument("--device", default="auto",
                        help="for the transformers engine: cpu, cuda, cuda:1, mps (default: a GPU if any)")  # fmt: skip
    parser.add_argument("--batch-size", type=int, default=32, help="for the transformers engine (default: 32)")
    parser.add_argument(
        "--max-new-tokens",
        type=int,
        default=ANSWER_TOKENS,
        help=f"longest answer, in tokens (default: {ANSWER_TOKENS})",
    )
    parser.add_argument("--max-pixels", type=int, metavar="N",
                        help=f"pixels shown of a picture at most (default: the adapter's, {SHOWN_PIXELS})")  # fmt: skip
    parser.add_argument("--samples", type=int, default=1, metavar="K", help="draw K answers each, for self-consistency")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy; K > 1 needs more (default: 0)")
    parser.add_argument("--retry-below", type=float, metavar="CONFIDENCE", help="ask again where less is stated")
    parser.add_argument("--retries", type=int, default=3, help="at most so many times more (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    parser.add_argument("--limit", type=int, help="only the first so many rows")
    parser.add_argument("--method", default="model", help="the name that the prediction rows carry (default: model)")
    parser.add_argument("--score", action="store_true", help="judge the answers too: a scorecard in the same folder")
    parser.add_argument("--strict", action="store_true", help="exit code 2 where a row has no readable label")
    parser.add_argument("--out", type=Path, required=True, help="folder for responses, predictions, journal, manifest")
    parser.set_defaults(run=run, output=lambda a: Output(a.out, (*ANSWERS, *SCORECARD)))


def run(arguments: argparse.Namespace) -> None:
    """Ask, write the files, print the summary."""
    add_reasoning_tags(arguments.reasoning_tags)
    question = _question(arguments)
    first = _first_template(arguments, question)
    template = in_two_steps(first, load_template(arguments.then)) if arguments.then else first
    _check(arguments, template)
    if arguments.model == "tiny":
        arguments.model = _embedded_base()
    check_source(arguments.data, "--data")
    samples = _samples(arguments.data, arguments.split)[: arguments.limit]
    if unlabelled := next((sample.id for sample in samples if sample.label is None), None):
        raise UserError(f"{arguments.data}: sample {unlabelled} has no label; choose a labelled split")
    summary = generate(
        samples,
        _method(arguments, first),
        template,
        arguments.out,
        method=arguments.method,
        draws=arguments.samples,
        constrain=arguments.constrain,
        max_pixels=arguments.max_pixels or (question.max_pixels if question is not None else None) or SHOWN_PIXELS,
        total=len(samples),
        settings={name: getattr(arguments, name) for name in _IN_MANIFEST} | {"template": first.name},
    )
    states = ", ".join(f"{state} {count}" for state, count in sorted(summary.states.items()))
    print(f"{summary.rows} rows, {summary.asked} asked now: {states}")
    print(
        f"{summary.images_per_second:.1f} images/s, {summary.tokens_per_second:.0f} tokens/s; files in {arguments.out}"
    )
    if summary.rows and not summary.answered:
        raise UserError(f"nothing was answered: {summary.first_error}; the reasons are in {arguments.out}")
    if arguments.score:
        _score(arguments.out, template, summary)
    if arguments.strict and summary.failed:
        raise UserError(f"{summary.failed} rows have no readable label; their states are in {arguments.out}")


def _embedded_base() -> str:
    """The folder of the tiny model that ships with the package."""
    from emocaliber.models.location import embedded_base

    return str(embedded_base())


def _score(out: Path, template: Template, summary: Summary) -> None:
    """The scorecard of the written answers where the template states a confidence, else of the token probabilities."""
    from emocaliber.runs.scoring import score_files

    written = bool({"confidence", "distribution"} & set(template.fields))
    file = out / FILES[Source.VERBALIZED if written else Source.LOGPROB]
    score_files([file], out=out)
    if written:
        unreadable = summary.states.total() - summary.states[State.OK]
        print(f"Scored: the written answers ({file.name}); {unreadable} of {summary.states.total()} are unreadable")
    else:
        print(
            f"Scored: the token probabilities of the labels ({file.name}), as template {template.name} states no"
            f" confidence; {summary.failed} of {summary.states.total()} written answers have no readable label"
        )
    print(f"The scorecard: {out / 'scorecard.md'}, and as a page: {out / 'report.html'}")


def _samples(data: str, split: str) -> list[Sample]:
    return load(data, split) if data in EMBEDDED else read_samples(Path(data), split)


def _question(arguments: argparse.Namespace) -> Question | None:
    """What the adapter was trained to be asked. Raises UserError where its folder is none, or says nothing, and no
    --template does."""
    folder = arguments.adapter
    if arguments.engine == "server":
        folder = (arguments.adapter or "").partition("=")[2] or None
    if folder is None:
        return None
    check_adapter(Path(folder))
    question = read_question(folder)
    if question is None and arguments.template is None:
        raise UserError(
            f"{folder}: no {QUESTION_FILE} there says what the adapter was trained to be asked; give --template"
        )
    return question


def _first_template(arguments: argparse.Namespace, question: Question | None) -> Template:
    if arguments.template is not None or question is None:
        return load_template(arguments.template or DEFAULT_TEMPLATE)
    return question.template


def _check(arguments: argparse.Namespace, template: Template) -> None:
    """Raises UserError where options do not go together, before a model is loaded."""
    drawn = "--retry-below" if arguments.retry_below is not None else "--samples" if arguments.samples > 1 else ""
    if drawn and arguments.temperature <= 0:
        raise UserError(f"{drawn} needs --temperature above 0; greedy draws are all the same")
    if arguments.retry_below is not None and arguments.samples > 1:
        raise UserError("--retry-below and --samples are two methods; run them one after the other")
    if arguments.retry_below is not None and not {"confidence", "distribution"} & set(template.fields):
        raise UserError(f"--retry-below needs a template that states a confidence; {template.name} does not")
    if arguments.data_parallel < 1 or (arguments.data_parallel > 1 and arguments.engine == "server"):
        raise UserError("--data-parallel is a number of vllm or transformers engines; for servers give several --url")
    if "{label}" in template.prompt:
        raise UserError(f"{template.name} is a second question: give it with --then, after --template")
    if arguments.constrain:
        _check_constraint(arguments, template)
    if arguments.engine != "server":
        check_model(arguments.model)


def _check_constraint(arguments: argparse.Namespace, template: Template) -> None:
    if arguments.engine == "transformers":
        raise UserError("--constrain needs --engine vllm or server; transformers writes freely")
    try:
        template.pattern(("any",))
    except ValueError as error:
        raise UserError(f"--constrain: {error}") from None


def _method(arguments: argparse.Namespace, first: Template) -> Engine:
    """The engine, with what is asked again around it."""
    engine = _engines(arguments)
    if arguments.then:
        engine = FollowUpEngine(engine, first, load_template(arguments.then))
    if arguments.retry_below is not None:
        engine = RetryingEngine(engine, threshold=arguments.retry_below, retries=arguments.retries)
    return engine


def _engines(arguments: argparse.Namespace) -> Engine:
    """One engine, or as many as there shall be side by side."""
    if arguments.data_parallel == 1:
        return _engine(arguments)
    of_the_command_line = ("parser", "run", "output")  # none of these can be sent to a process
    settings = argparse.Namespace(**{k: v for k, v in vars(arguments).items() if k not in of_the_command_line})
    return ParallelEngine(partial(_engine, settings), devices(arguments.data_parallel))


def _engine(arguments: argparse.Namespace) -> Engine:
    if arguments.engine == "vllm":
        from emocaliber.generation.vllm_engine import VllmEngine

        return VllmEngine(
            arguments.model,
            adapter=arguments.adapter,
            dtype=arguments.dtype,
            max_new_tokens=arguments.max_new_tokens,
            max_model_len=arguments.max_model_len,
            temperature=arguments.temperature,
            seed=arguments.seed,
        )
    if arguments.engine == "server":
        return _server(arguments)
    import torch

    from emocaliber.generation.transformers_engine import TransformersEngine

    engine = TransformersEngine(
        arguments.model,
        adapter=arguments.adapter,
        device=arguments.device,
        dtype=None if arguments.dtype == "auto" else getattr(torch, arguments.dtype),
        batch_size=arguments.batch_size,
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        seed=arguments.seed,
    )
    print(f"{arguments.model} on {engine.device}", file=sys.stderr)
    return engine


def _server(arguments: argparse.Namespace) -> Engine:
    from emocaliber.generation.server_engine import ServerEngine

    if not arguments.url:
        raise UserError("--engine server needs --url, for instance --url http://127.0.0.1:8000")
    return ServerEngine(
        arguments.url,
        (arguments.adapter or arguments.model).partition("=")[0],
        base=arguments.model if arguments.adapter else None,
        tokenizer=arguments.tokenizer,
        max_new_tokens=arguments.max_new_tokens,
        temperature=arguments.temperature,
        seed=arguments.seed,
        api_key_env=arguments.api_key_env,
    )
