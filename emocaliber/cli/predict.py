"""The command `predict`: a model is asked about any number of images, and its answers become prediction rows.

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

from emocaliber.cli.console import device, no_progress_bars
from emocaliber.core.errors import UserError
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.outputs import SCORECARD, Output, literal
from emocaliber.core.prediction_files import FORMATS
from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.core.prompting import ANSWER_TOKENS, REASONED_TOKENS, template_names
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.data.embedded import FILES as EMBEDDED
from emocaliber.generation.engine import API_KEY_ENV
from emocaliber.runs.predict import ANSWERS
from emocaliber.runs.prediction_settings import DEFAULT_TEMPLATE, PredictSettings

if TYPE_CHECKING:
    from emocaliber.runs.predict import Outcome

ROWS_SHOWN = 30
FOLDER_BESIDE = ".answers"
"""Beside a file of predictions: responses, journal and manifest."""


def add_predict(parser: argparse.ArgumentParser) -> None:
    """The arguments of `predict`."""
    parser.add_argument(
        "source",
        nargs="*",
        metavar="SOURCE",
        help="a picture, a folder (all below it), a quoted glob, a table (CSV, JSONL, Parquet), s3:// or gs:// Parquet,"
        f" hub:OWNER/NAME@REVISION, or {' or '.join(EMBEDDED)} (embedded); labelled or not",
    )
    parser.add_argument("--out", type=Path, metavar="PATH",
                        help=f"a file ending in {', '.join(FORMATS)}; or a folder, for responses, every read-out"
                        " and a manifest (default: a table on the terminal alone)")  # fmt: skip
    _add_question(parser.add_argument_group("question"))
    _add_model(parser.add_argument_group("model"))
    _add_engine(parser.add_argument_group("engine"))
    _add_sampling(parser.add_argument_group("several answers"))
    rows = parser.add_argument_group("rows")
    rows.add_argument("--split", metavar="NAME", help="which rows, or all (default: test, where rows have splits)")
    rows.add_argument("--limit", type=int, metavar="N", help="use only the first N rows")
    rows.add_argument("--shard", metavar="I/N", help="only this share of the rows, such as 2/4, by a hash of their ids")
    rows.add_argument("--merge", nargs="+", type=Path, metavar="PART",
                      help="instead of a SOURCE: the folders of all shards, to be put together in --out")  # fmt: skip
    rows.add_argument("--method", default="model", help="the name that the prediction rows carry (default: model)")
    rows.add_argument("--sets", metavar="FILE", help="prediction sets, fitted by `recalibrate fit --map sets`"
                      " (default: sets.json beside the adapter, if any)")  # fmt: skip
    rows.add_argument("--doubt", metavar="FILE", help="reasons for doubt, fitted by `recalibrate fit --map doubt`"
                      " (default: doubt.json beside the adapter, if any)")  # fmt: skip
    rows.add_argument("--score", action="store_true", help="evaluate the labelled rows: a scorecard in --out")
    rows.add_argument("--strict", action="store_true", help="exit code 2 where a row has no readable label")
    parser.set_defaults(run=_predict, output=_predict_output, thinking=None)  # the adapter says


def _add_question(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--labels",
        metavar="NAMES",
        help="emotions to choose from: a list (joy,anger) or a taxonomy (default: the data's or the adapter's own)."
        f" Taxonomies: {', '.join(TAXONOMIES)}",
    )
    group.add_argument("--prompt", "--template", dest="template", metavar="NAME",
                       help=f"prompt template (default: the adapter's own, or {DEFAULT_TEMPLATE}):"
                       f" {', '.join(template_names())}, or a .yaml file of your own")  # fmt: skip
    group.add_argument("--then", metavar="NAME", help="a second question about the answer: self-report-confidence")
    group.add_argument("--max-pixels", type=int, metavar="N",
                       help=f"pixels shown of a picture at most (default: the adapter's, {SHOWN_PIXELS})")  # fmt: skip
    group.add_argument("--max-new-tokens", type=int, metavar="N",
                       help=f"longest answer, in tokens (default: {ANSWER_TOKENS}, or {REASONED_TOKENS} where the"
                       " prompt asks for reasoning)")  # fmt: skip
    group.add_argument("--reasoning-tags", nargs=2, action="append", default=[], metavar=("OPEN", "CLOSE"),
                       help="what opens and closes this model's reasoning, where its name is unusual; may be repeated"
                       )  # fmt: skip
    group.add_argument("--constrain", action="store_true",
                       help="for vllm and its server: let it write only what the template could; with the template"
                       " json, for any server that takes a JSON Schema")  # fmt: skip


def _add_model(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--model", help="a model's folder, its name on the hub or at the server, or tiny (default: the"
                       " embedded tiny model, which knows drawings only)")  # fmt: skip
    group.add_argument(
        "--adapter",
        help="LoRA adapter folder; with a server, the name it is served by, or NAME=DIR to read its question from DIR",
    )
    group.add_argument("--url", action="append", default=[], help="a server's address; several are used side by side")
    group.add_argument("--api-key-env", default=API_KEY_ENV, metavar="NAME",
                       help=f"environment variable with the server's API key (default: {API_KEY_ENV})")  # fmt: skip
    group.add_argument("--tokenizer", help="for vLLM's server: the model's folder, to report probabilities")


def _add_engine(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--engine", choices=("transformers", "vllm", "server"),
                       help="default: server with --url, else transformers")  # fmt: skip
    group.add_argument("--device", type=device, default="auto", help="cpu, cuda, cuda:1, mps (default: a GPU if any)")
    group.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="precision")
    group.add_argument("--batch-size", type=int, default=32, help="for the transformers engine (default: 32)")
    group.add_argument("--data-parallel", type=int, metavar="N",
                       help="for vllm, transformers: N engines on Ray, a process and a GPU each")  # fmt: skip
    group.add_argument("--cluster", metavar="ray[:HOST:PORT]",
                       help="engines on Ray, one for each GPU: on this machine, or on a cluster, run from one of its"
                       " machines (ray:auto finds its address)")  # fmt: skip
    group.add_argument("--max-model-len", type=int, help="for vllm: longest prompt and answer together, in tokens")


def _add_sampling(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--samples", type=int, default=1, metavar="K", help="draw K answers each, for self-consistency")
    group.add_argument("--temperature", type=float, default=0.0, help="0 is greedy; K > 1 needs more (default: 0)")
    group.add_argument("--retry-below", type=float, metavar="CONFIDENCE", help="ask again where less is stated")
    group.add_argument("--retries", type=int, default=3, help="at most so many times more (default: 3)")
    group.add_argument("--seed", type=int, default=0, help="seed of the draws (default: 0)")
    group.add_argument("--signals", type=_names, default=(), metavar="NAMES",
                       help="ask more about each answer, for `recalibrate fit`: a list of blinded, p-true,"
                       " per-candidate, pairwise, agreement, turned, along (reasoning alone), hidden (transformers)"
                       )  # fmt: skip


def settings_of(arguments: argparse.Namespace) -> PredictSettings:
    """What the options say."""
    values = {field.name: getattr(arguments, field.name) for field in fields(PredictSettings)}
    several = {name: tuple(values[name]) for name in ("source", "url")}
    tags = {"reasoning_tags": tuple((opening, closing) for opening, closing in arguments.reasoning_tags)}
    return PredictSettings(**values | several | tags)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _is_file(out: Path) -> bool:
    return out.suffix in FORMATS and not out.is_dir()


def _predict_output(arguments: argparse.Namespace) -> Output | None:
    out: Path | None = arguments.out
    if out is None:
        return None
    if _is_file(out):
        names = tuple(f"{literal(out.name)}{FOLDER_BESIDE}/{name}" for name in (*ANSWERS, *SCORECARD))
        return Output(out, names, is_file=True)
    return Output(out, (*ANSWERS, *SCORECARD))


def _predict(arguments: argparse.Namespace) -> None:
    """Ask, write the files, print the rows, the least sure first. Raises UserError as `runs.predict.predict` does."""
    from emocaliber.generation.shards import Shard
    from emocaliber.runs.predict import merged, predict, write_file

    no_progress_bars()
    _check_source(arguments)
    out, is_file = arguments.out, arguments.out is not None and _is_file(arguments.out)
    shard = None if arguments.shard is None else Shard.read(arguments.shard)
    with TemporaryDirectory(prefix="emocaliber-") as temporary:
        folder = Path(temporary) if out is None else out.with_name(out.name + FOLDER_BESIDE) if is_file else out
        if arguments.merge:
            outcome = merged(arguments.merge, folder, arguments.sets, arguments.doubt)
        else:
            outcome = predict(settings_of(arguments), folder, shard)
        _print_rows(outcome.predictions(outcome.main_source), outcome.summary.rows)
        _print_summary(outcome)
        if is_file:
            write_file(outcome, out)
        print(f"Files in {out}" if out is not None else "Nothing was kept; --out answers.parquet writes every row")
        if arguments.score:
            _score(outcome)
        if arguments.strict and outcome.summary.failed:
            raise UserError(f"{outcome.summary.failed} rows have no readable label; their states are in {folder}")


def _check_source(arguments: argparse.Namespace) -> None:
    """Raises UserError where it is not clear what is asked about, or where the answers go."""
    out: Path | None = arguments.out
    if arguments.merge and arguments.source:
        raise UserError("--merge takes the parts of a run, and no SOURCE beside them")
    if not arguments.merge and not arguments.source:
        raise UserError("name what to predict on: a picture, a folder or a table, as in `emocaliber predict photos`")
    if out is None and (arguments.score or arguments.shard or arguments.merge):
        raise UserError("--score, --shard and --merge write files: give --out too")
    if out is not None and arguments.shard and _is_file(out):
        raise UserError(f"--shard writes a part to be merged: give --out a folder, such as {out.with_suffix('')}-1")


def _print_rows(rows: Iterable[Prediction], count: int) -> None:
    """The rows that most need a look: without a readable answer first, then by rising confidence."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from emocaliber.chat.answer import percent
    from emocaliber.chat.terminal import printable

    doubtful = heapq.nsmallest(ROWS_SHOWN, rows, key=lambda row: (row.confidence is not None, row.confidence or 0.0))
    title = "The most doubtful first" + (f": {len(doubtful)} of {count:,}" if len(doubtful) < count else "")
    table = Table("picture", "label", "confidence", "state", title=title, title_justify="left", box=None)
    labelled = any(row.truth is not None for row in doubtful)
    if labelled:
        table.add_column("labelled")
    if has_sets := any(row.prediction_set is not None for row in doubtful):
        table.add_column("set")
    if has_reasons := any(row.reason is not None for row in doubtful):
        table.add_column("reason")
    for row in doubtful:
        confidence = "" if row.confidence is None else percent(row.confidence)
        state = "" if row.state is State.OK else row.state.value
        cells = [row.id, row.predicted or "", confidence, state, *([row.truth or ""] if labelled else [])]
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
    """The scorecard of the written answers where the template states a confidence, else of the token probabilities."""
    from emocaliber.generation.readouts import FILES
    from emocaliber.runs.scoring import score_files

    out, summary = outcome.folder, outcome.summary
    file = out / FILES[outcome.main_source]
    score_files([file], out=out)
    if outcome.main_source is Source.VERBALIZED:
        unreadable = summary.states.total() - summary.states[State.OK]
        print(f"Scored: the written answers ({file.name}); {unreadable} of {summary.states.total()} are unreadable")
    else:
        print(
            f"Scored: the token probabilities of the labels ({file.name}), as template {outcome.template.name} states"
            f" no confidence; {summary.failed} of {summary.states.total()} written answers have no readable label"
        )
    print(f"The scorecard: {out / 'scorecard.md'}, and as a page: {out / 'report.html'}")
