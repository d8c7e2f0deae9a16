"""The command `predict`: ask a model about any number of images and write its answers as prediction rows.

emocaliber predict photos --labels joy,anger,fear --out answers.parquet
emocaliber predict test.csv --adapter out/stage-1/adapter --score --out out/answers
"""

from __future__ import annotations

import argparse
import heapq
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from emocaliber.cli.console import no_progress_bars
from emocaliber.cli.options import add_api_key_argument, add_device_argument, add_reasoning_tags_argument
from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.outputs import SCORECARD, Output, literal
from emocaliber.core.prediction_files import FORMATS
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.prompting import ANSWER_TOKENS, REASONED_TOKENS, template_names
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.data.embedded import FILES as EMBEDDED
from emocaliber.runs.predict import ANSWERS
from emocaliber.runs.prediction_settings import DEFAULT_TEMPLATE, PredictSettings

if TYPE_CHECKING:
    from emocaliber.runs.predict import Outcome

ROWS_SHOWN = 30
ANSWERS_SUFFIX = ".answers"
"""Suffix of the folder beside a prediction file, for responses, journal and manifest."""


def add_predict(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument(
        "source",
        nargs="*",
        metavar="SOURCE",
        help="images, labelled or not: an image file, a folder (searched recursively), a quoted glob, a table (CSV,"
        " JSONL, Parquet), Parquet on s3:// or gs://, hub:OWNER/NAME@REVISION (a Hugging Face dataset), or"
        f" {' or '.join(EMBEDDED)} (data that ship with the package)",
    )
    parser.add_argument("--out", type=Path, metavar="PATH",
                        help=f"a prediction file ending in {', '.join(FORMATS)}; or a folder, for the raw responses,"
                        " one prediction file for each kind of confidence, and a manifest (default: only print a"
                        " table)")  # fmt: skip
    _add_question(parser.add_argument_group("question"))
    _add_model(parser.add_argument_group("model"))
    _add_engine(parser.add_argument_group("engine"))
    _add_sampling(parser.add_argument_group("several answers"))
    _add_rows(parser.add_argument_group("rows"))
    parser.set_defaults(run=_predict, output=_predict_output, thinking=None)  # the adapter says


def _add_rows(rows: argparse._ArgumentGroup) -> None:
    rows.add_argument("--split", metavar="NAME",
                      help="the split to predict on, or all (default: test, if the rows name splits)")  # fmt: skip
    rows.add_argument("--limit", type=int, metavar="N", help="predict on the first N rows only")
    rows.add_argument("--shard", metavar="I/N",
                      help="predict on shard I of N only, such as 2/4; rows are assigned by a hash of their"
                      " ids")  # fmt: skip
    rows.add_argument("--merge", nargs="+", type=Path, metavar="PART",
                      help="instead of SOURCE: merge the --out folders of all shards into --out")  # fmt: skip
    rows.add_argument("--method", default="model", metavar="NAME",
                      help="method name to write in the prediction rows (default: model)")  # fmt: skip
    rows.add_argument("--sets", metavar="FILE",
                      help="add prediction sets to the rows, from a file written by `recalibrate fit --map sets`"
                      " (default: sets.json beside the adapter, if it is there)")  # fmt: skip
    rows.add_argument("--doubt", metavar="FILE",
                      help="add reasons for doubt to the rows, from a file written by `recalibrate fit --map doubt`"
                      " (default: doubt.json beside the adapter, if it is there)")  # fmt: skip
    rows.add_argument("--score", action="store_true",
                      help="also evaluate the labelled rows and write a scorecard into --out")  # fmt: skip
    rows.add_argument("--strict", action="store_true", help="exit with code 2 if any row has no readable label")


def _add_question(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--labels",
        metavar="NAMES",
        help="labels to choose from: a list (joy,anger) or a taxonomy (default: those of the data, or of the adapter)."
        f" Taxonomies: {', '.join(TAXONOMIES)}",
    )
    group.add_argument("--prompt", "--template", dest="template", metavar="NAME",
                       help=f"prompt template (default: the adapter's own, or {DEFAULT_TEMPLATE}):"
                       f" {', '.join(template_names())}, or a .yaml file of your own")  # fmt: skip
    group.add_argument("--then", metavar="NAME",
                       help="template of a follow-up question about the answer, such as"
                       " self-report-confidence")  # fmt: skip
    group.add_argument("--max-pixels", type=int, metavar="N",
                       help="scale larger images down to N pixels in all (default: the adapter's own limit, or"
                       f" {SHOWN_PIXELS})")  # fmt: skip
    group.add_argument("--max-new-tokens", type=int, metavar="N",
                       help=f"longest answer, in tokens (default: {ANSWER_TOKENS}, or {REASONED_TOKENS} if the prompt"
                       " asks for reasoning)")  # fmt: skip
    add_reasoning_tags_argument(group)
    group.add_argument("--constrain", action="store_true",
                       help="constrained decoding: only answers in the template's format (vLLM, and servers that run"
                       " it; with --prompt json, any server that supports JSON Schema)")  # fmt: skip


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", help="model folder, Hugging Face Hub name, or tiny; with --url, the name that the"
                       " server knows the model by (default: the adapter's base model; without --adapter, the model or"
                       " adapter that the environment variable EMOCALIBER_MODEL names, else the embedded tiny model,"
                       " which knows drawings only)")  # fmt: skip
    group.add_argument("--adapter", metavar="DIR",
                       help="LoRA adapter folder; with --url, the name that the server knows the adapter by, or"
                       " NAME=DIR to read the prompt and labels that it was trained with from DIR")  # fmt: skip
    group.add_argument("--url", action="append", default=[],
                       help="OpenAI-compatible server, for example http://127.0.0.1:8000; may be repeated, to share the"
                       " rows out among several servers")  # fmt: skip
    add_api_key_argument(group)
    group.add_argument("--tokenizer", metavar="DIR",
                       help="with a vLLM server: folder of the served model; its tokenizer is needed for label"
                       " probabilities")  # fmt: skip


def _add_engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", choices=("transformers", "vllm", "server"),
                       help="what runs the model (default: server with --url, else transformers)")  # fmt: skip
    add_device_argument(group)
    group.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"),
                       help="precision of the weights (default: auto)")  # fmt: skip
    group.add_argument("--batch-size", type=int, default=32, metavar="N",
                       help="questions per batch, for the transformers engine (default: 32)")  # fmt: skip
    group.add_argument("--data-parallel", type=int, metavar="N",
                       help="run N copies of the engine (vllm or transformers) as Ray processes, each with a GPU of its"
                       " own")  # fmt: skip
    group.add_argument("--cluster", metavar="ray[:HOST:PORT]",
                       help="run one engine per GPU with Ray: ray for the GPUs of this machine, ray:HOST:PORT for those"
                       " of a cluster; start the command on one of its machines (ray:auto finds the"
                       " address)")  # fmt: skip
    group.add_argument("--max-model-len", type=int, metavar="N",
                       help="for vllm: longest prompt plus answer, in tokens (default: the model's own"
                       " limit)")  # fmt: skip
    group.add_argument("--gpu-memory-utilization", type=float, metavar="SHARE",
                       help="for vllm: share of the GPU's memory to take, above 0 and at most 1; less than the default"
                       " where something else runs on that GPU (default: vLLM's, 0.92)")  # fmt: skip


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--samples", type=int, default=1, metavar="K",
                       help="draw K answers per image, for self-consistency (default: 1)")  # fmt: skip
    group.add_argument("--temperature", type=float, default=0.0, metavar="T",
                       help="sampling temperature; 0 decodes greedily, --samples above 1 needs more (default:"
                       " 0)")  # fmt: skip
    group.add_argument("--retry-below", type=float, metavar="CONFIDENCE",
                       help="ask again while the stated confidence is below this, 0 to 1")  # fmt: skip
    group.add_argument("--retries", type=int, default=3, metavar="N",
                       help="with --retry-below: ask again at most N times (default: 3)")  # fmt: skip
    group.add_argument("--seed", type=int, default=0, metavar="N", help="random seed for sampling (default: 0)")
    group.add_argument("--signals", type=_names, default=(), metavar="NAMES",
                       help="also measure these uncertainty signals for each answer, as inputs to `recalibrate fit`; a"
                       " comma-separated list of blinded, p-true, per-candidate, pairwise, agreement, turned, along"
                       " (prompts with reasoning only), hidden (transformers engine only), relative (models that take"
                       " two pictures)")  # fmt: skip
    group.add_argument("--against", metavar="DIR",
                       help="with --signals relative: compare with the rows of this earlier run, whose scores are kept,"
                       " instead of with each other; needed for a map that was fitted on that run")  # fmt: skip


def settings_of(arguments: argparse.Namespace) -> PredictSettings:
    """The options as settings."""
    values = {field.name: getattr(arguments, field.name) for field in fields(PredictSettings)}
    lists = {name: tuple(values[name]) for name in ("source", "url")}
    tags = {"reasoning_tags": tuple((opening, closing) for opening, closing in arguments.reasoning_tags)}
    return PredictSettings(**values | lists | tags)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _is_file(out: Path) -> bool:
    return out.suffix in FORMATS and not out.is_dir()


def _predict_output(arguments: argparse.Namespace) -> Output | None:
    out: Path | None = arguments.out
    if out is None:
        return None
    if _is_file(out):
        names = tuple(f"{literal(out.name)}{ANSWERS_SUFFIX}/{name}" for name in (*ANSWERS, *SCORECARD))
        return Output(out, names, is_file=True)
    return Output(out, (*ANSWERS, *SCORECARD), instead=f", or name a file that ends in {', '.join(FORMATS)}")


def _predict(arguments: argparse.Namespace) -> None:
    """Predict, write the files, and print the least confident rows. Raises UserError as `runs.predict.predict` does."""
    from emocaliber.generation.shards import Shard
    from emocaliber.runs.predict import merged, predict, write_file

    no_progress_bars()
    _check_source(arguments)
    out, is_file = arguments.out, arguments.out is not None and _is_file(arguments.out)
    shard = None if arguments.shard is None else Shard.read(arguments.shard)
    with TemporaryDirectory(prefix="emocaliber-") as temporary:
        folder = Path(temporary) if out is None else out.with_name(out.name + ANSWERS_SUFFIX) if is_file else out
        if arguments.merge:
            outcome = merged(arguments.merge, folder, arguments.sets, arguments.doubt)
        else:
            outcome = predict(settings_of(arguments), folder, shard, scored=arguments.score)
        _print_rows(outcome.predictions(outcome.main_source), outcome.summary.rows)
        _print_summary(outcome)
        if is_file:
            write_file(outcome, out)
        print(f"Written to {out}" if out is not None else "Nothing was saved; --out answers.parquet saves every row")
        if arguments.score:
            _score(outcome)
        if arguments.strict and outcome.summary.failed:
            states = f"their states are in {folder}" if out is not None else "give --out to save their states"
            raise UserError(f"{outcome.summary.failed} rows have no readable label; {states}")


def _check_source(arguments: argparse.Namespace) -> None:
    """Raises UserError if it is unclear what to predict on or where to write the answers."""
    out: Path | None = arguments.out
    if arguments.merge and arguments.source:
        raise UserError("--merge takes the folders of all shards and no SOURCE; leave one of the two out")
    if not arguments.merge and not arguments.source:
        raise UserError("name what to predict on: an image, a folder or a table, as in `emocaliber predict photos`")
    if out is None and (arguments.score or arguments.shard or arguments.merge):
        raise UserError("--score, --shard and --merge write files: give --out too")
    if out is not None and arguments.shard and _is_file(out):
        raise UserError(f"--shard writes a folder to be merged: give --out a folder, such as {out.with_suffix('')}-1")


def _print_rows(rows: Iterable[Prediction], count: int) -> None:
    """Print the most doubtful rows: those without a readable answer first, then by increasing confidence."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from emocaliber.chat.answer import percent
    from emocaliber.chat.terminal import printable

    doubtful = heapq.nsmallest(ROWS_SHOWN, rows, key=lambda row: (row.confidence is not None, row.confidence or 0.0))
    title = "Least confident first" + (f": {len(doubtful)} of {count:,}" if len(doubtful) < count else "")
    table = Table("image", "label", "confidence", "state", title=title, title_justify="left", box=None)
    if has_truth := any(row.truth is not None for row in doubtful):
        table.add_column("true label")
    if has_sets := any(row.prediction_set is not None for row in doubtful):
        table.add_column("set")
    if has_reasons := any(row.reason is not None for row in doubtful):
        table.add_column("reason")
    for row in doubtful:
        confidence = "" if row.confidence is None else percent(row.confidence)
        state = "" if row.state is State.OK else row.state.value
        cells = [row.id, row.predicted or "", confidence, state, *([row.truth or ""] if has_truth else [])]
        cells += [" or ".join(row.prediction_set or ())] if has_sets else []
        cells += [row.reason or ""] if has_reasons else []
        table.add_row(*(Text(printable(cell)) for cell in cells))
    Console().print(table)


def _print_summary(outcome: Outcome) -> None:
    summary = outcome.summary
    states = ", ".join(f"{state} {count:,}" for state, count in sorted(summary.states.items()))
    print(f"{summary.rows:,} rows, {summary.queried:,} asked now: {states}")
    if summary.queried:
        print(f"{summary.images_per_second:.1f} images/s, {summary.tokens_per_second:.0f} tokens/s")


def _score(outcome: Outcome) -> None:
    """Evaluate the stated confidences if the template asks for one, else the token probabilities of the labels."""
    from emocaliber.generation.readouts import FILES
    from emocaliber.runs.scoring import score_files

    out, summary = outcome.folder, outcome.summary
    file = out / FILES[outcome.main_source]
    score_files([file], out=out)
    if outcome.main_source is Source.VERBALIZED:
        unreadable = summary.states.total() - summary.states[State.OK]
        print(f"Scored: the stated confidences ({file.name}); {unreadable} of {summary.states.total()} are unreadable")
    else:
        print(
            f"Scored: the token probabilities of the labels ({file.name}), because template {outcome.template.name}"
            f" asks for no confidence; {summary.failed} of {summary.states.total()} written answers have no readable"
            " label"
        )
    print(f"The scorecard: {out / 'scorecard.md'}, and as a page: {out / 'report.html'}")
