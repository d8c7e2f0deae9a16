"""Predict: a model is asked about every row of a source, labelled or not, and its answers become prediction rows.

The one way to predict: the command line, an evaluation and a script say what they want (see prediction_settings).

    outcome = predict(PredictSettings(("photos",), labels="joy,anger"), Path("out/answers"))
    outcome.summary.states, outcome.predictions(Source.VERBALIZED)
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from emocaliber.calibration.doubt import DoubtMap
from emocaliber.calibration.files import DOUBT_FILE, SETS_FILE, read_doubt, read_sets
from emocaliber.calibration.sets import SetMap
from emocaliber.core.errors import UserError
from emocaliber.core.files import utf8_path
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.prediction_files import write_rows
from emocaliber.core.predictions import Prediction, Source, read_predictions
from emocaliber.core.prompting import Template, load_template
from emocaliber.core.taxonomy import MIKELS_8
from emocaliber.data.any_source import declared_labels
from emocaliber.data.sources import PredictionSource, Rows, Samples
from emocaliber.generation.asking_again import in_two_steps
from emocaliber.generation.harness import Summary, generate
from emocaliber.generation.readouts import FILES, MANIFEST, sources_of
from emocaliber.generation.shards import Shard, merge
from emocaliber.generation.signals import RELATIVE
from emocaliber.models.location import (
    QUESTION_FILE,
    TINY_ADAPTER,
    TINY_NOTE,
    Question,
    check_adapter,
    check_model,
    model_folder,
    read_question,
)
from emocaliber.reading import add_reasoning_tags
from emocaliber.runs.annotate import annotate
from emocaliber.runs.engines import answering, place, with_default, with_embedded
from emocaliber.runs.prediction_settings import DEFAULT_TEMPLATE, PredictSettings, check_settings, described
from emocaliber.runs.relative import compare_rows, read_opponents

ANSWERS = ("responses*.jsonl", "predictions*.jsonl", "journal.jsonl", "manifest.json")
"""What `predict` writes in its folder."""


@dataclass(frozen=True)
class Outcome:
    """A finished run: the `folder` with its files, the `template` of the answers, a `summary` and the rows that were
    selected."""

    folder: Path
    template: Template
    summary: Summary
    rows: Rows

    @property
    def main_source(self) -> Source:
        """The main read-out: the stated confidence, or the label's probability if the template asks for none."""
        return sources_of(self.template)[0]

    def predictions(self, source: Source) -> Iterator[Prediction]:
        """The rows of a read-out, in the source's order."""
        return read_predictions(self.folder / FILES[source], unlabelled=True)


def predict(settings: PredictSettings, out: Path, shard: Shard | None = None, *, scored: bool = False) -> Outcome:
    """Query the model about every row, or about those of a `shard`, and write responses, prediction rows and a manifest
    to a folder.

    After a stop, running it again queries only the rows without an answer. The first lines printed say which model
    answers which rows, on what device, and what was skipped. Raises UserError, before a model is loaded, if something
    is missing or settings contradict each other, if no row has a label that are to be `scored`, and if no row at all
    was answered.
    """
    add_reasoning_tags(settings.reasoning_tags)
    settings = with_default(settings)
    is_embedded = settings.is_embedded
    settings, question = _resolved(settings)
    first = _first_template(settings, question)
    settings = replace(settings, max_new_tokens=settings.max_new_tokens or first.longest_answer)
    then = load_template(settings.then) if settings.then else None
    template = first if then is None else in_two_steps(first, then)
    check_settings(settings, template)
    sets, doubt = _maps(settings)
    if shard is not None:
        _check_shard(settings)
    source = PredictionSource(settings.source, _own_labels(question), settings.labels, settings.split, settings.limit)
    rows = source.checked() if shard is None else source.checked(shard.contains)
    if scored and rows.count and not rows.labelled:
        raise UserError(
            f"--score: none of the {rows.count:,} rows has a label, so nothing was asked; give a table with labels"
            " (of a folder by class, `emocaliber data convert` makes one), or leave --score out"
        )
    against = None if settings.against is None else Path(settings.against)
    opponents = [] if against is None else read_opponents(against, settings, _own_labels(question))
    for line in _first_lines(settings, question, rows):
        print(line, flush=True)
    max_pixels = settings.max_pixels or (question.max_pixels if question is not None else None) or SHOWN_PIXELS
    samples = Samples(source, rows.splits)
    with answering(settings, first, then, is_embedded=is_embedded) as engine:
        summary = generate(
            samples,
            engine,
            template,
            out,
            method=settings.method,
            draws=settings.samples,
            constrain=settings.constrain,
            max_pixels=max_pixels,
            total=rows.count,
            shard=shard,
            settings=described(settings) | {"template": first.name},
        )
        if summary.rows and not summary.answered:
            raise UserError(f"nothing was answered: {summary.first_error}; the reasons are in {out}")
        if RELATIVE in settings.signals:
            print(compare_rows(samples, engine, out, template, settings, max_pixels, opponents), flush=True)
    if (sets or doubt) and shard is None:
        images = (sample.image for sample in source.samples(rows.splits))
        for note in annotate(out, sources_of(template), sets, doubt, images):
            print(f"Note: {note}", flush=True)
    return Outcome(out, template, summary, rows)


def merged(parts: Sequence[Path], out: Path, sets: str | None = None, doubt: str | None = None) -> Outcome:
    """Merge the parts of a sharded run into one folder, with prediction sets and doubts as a run without shards has
    them.

    Raises UserError as `generation.shards.merge` does, and if a map is invalid or the pictures it needs are missing.
    """
    settings = _settings_of_part(parts[0], sets, doubt)
    maps = _maps(settings)
    source = _source_again(settings) if maps[1] is not None and maps[1].familiar is not None else None
    splits = None if source is None else source.checked().splits
    template, states = merge(parts, out)
    if any(maps):
        images = () if source is None else (sample.image for sample in source.samples(splits))
        for note in annotate(out, sources_of(template), *maps, images):
            print(f"Note: {note}", flush=True)
    summary = Summary(rows=states.total(), states=states, answered=states.total())
    return Outcome(out, template, summary, Rows(states.total(), None))


def _settings_of_part(part: Path, sets: str | None, doubt: str | None) -> PredictSettings:
    """The settings of a part, from its manifest; defaults without one, which `merge` then reports."""
    path = part / MANIFEST
    recorded = json.loads(path.read_text(encoding="utf-8"))["settings"] if path.is_file() else {}
    selection: dict[str, Any] = {name: recorded.get(name) for name in ("adapter", "labels", "split", "limit", "engine")}
    return PredictSettings(tuple(recorded.get("source", ())), **selection, sets=sets, doubt=doubt)


def _source_again(settings: PredictSettings) -> PredictionSource:
    question = None if settings.adapter is None else read_question(settings.adapter)
    return PredictionSource(settings.source, _own_labels(question), settings.labels, settings.split, settings.limit)


def write_file(outcome: Outcome, path: Path) -> None:
    """Write the rows of the main read-out as Parquet, JSON Lines or CSV, by the suffix of `path`."""
    write_rows(path, outcome.predictions(outcome.main_source))


def _resolved(settings: PredictSettings) -> tuple[PredictSettings, Question | None]:
    """The settings with the model filled in, and the labels and prompt that its adapter was trained with."""
    settings = with_embedded(settings)
    question = _question(settings)
    settings = replace(settings, thinking=None if question is None else question.thinking)
    if settings.model is None and settings.engine_name == "server":
        raise UserError("--url needs --model, the name under which the server offers the model")
    if settings.model is None:
        if question is None:
            raise UserError(f"--adapter {settings.adapter}: give --model too, the base that it was trained on")
        check_model(question.base, f"{settings.adapter}: give --model, for its base is not here:")
        settings = replace(settings, model=question.base)
    return settings, question


def _question(settings: PredictSettings) -> Question | None:
    """The labels and prompt that the adapter, or the model in the folder, was trained with. Raises UserError if the
    adapter's folder is not an adapter, or neither it nor the settings name a template."""
    folder = settings.adapter
    if settings.engine_name == "server":
        folder = (settings.adapter or "").partition("=")[2] or None
    if folder is None:  # a merged or fully trained model has a question of its own
        named = None if settings.engine_name == "server" else settings.model
        return None if named is None else read_question(model_folder(named))
    check_adapter(Path(folder))
    question = read_question(folder)
    if question is None and settings.template is None:
        raise UserError(
            f"{folder}: no {QUESTION_FILE} there says what the adapter was trained to be asked; give --prompt"
        )
    return question


def _maps(settings: PredictSettings) -> tuple[SetMap | None, DoubtMap | None]:
    """The prediction-set and doubt maps that the settings name, or that lie beside the adapter. Raises UserError for an
    invalid file."""
    beside = None if settings.adapter is None or settings.engine_name == "server" else Path(settings.adapter)
    sets, doubt = (
        Path(named) if named is not None else None if beside is None or not (beside / name).is_file() else beside / name
        for named, name in ((settings.sets, SETS_FILE), (settings.doubt, DOUBT_FILE))
    )
    return None if sets is None else read_sets(sets), None if doubt is None else read_doubt(doubt)


def _check_shard(settings: PredictSettings) -> None:
    """Raises UserError if something is asked for that needs all rows."""
    if settings.sets or settings.doubt:
        raise UserError("--sets and --doubt are for whole runs: give them with --merge")
    if RELATIVE in settings.signals and settings.against is None:
        raise UserError(
            f"--signals {RELATIVE} compares the rows of a whole run with each other: leave --shard out, or name an"
            " earlier run with --against"
        )


def _own_labels(question: Question | None) -> tuple[str, ...]:
    return MIKELS_8.labels if question is None else next(iter(question.tasks.values()))


def _first_template(settings: PredictSettings, question: Question | None) -> Template:
    if settings.template is not None or question is None:
        return load_template(settings.template or DEFAULT_TEMPLATE)
    return question.template


def _first_lines(settings: PredictSettings, question: Question | None, rows: Rows) -> Iterator[str]:
    """The lines printed first: model, rows and device, the limits of the embedded model, and what was skipped."""
    adapter = "" if settings.adapter is None or settings.adapter == str(TINY_ADAPTER) else f" with {settings.adapter}"
    model = "the embedded tiny model" if settings.adapter == str(TINY_ADAPTER) else f"{settings.model}{adapter}"
    count = "rows" if rows.count is None else f"{rows.count:,} {'row' if rows.count == 1 else 'rows'}"
    labelled = f", {rows.labelled:,} of them labelled" if rows.labelled else ", none labelled"
    names = ", ".join(map(utf8_path, settings.source[:3])) + (" …" if len(settings.source) > 3 else "")
    yield f"{names}: {count}{labelled if rows.count else ''}; {model} on {place(settings)}"
    if settings.adapter == str(TINY_ADAPTER):
        yield TINY_NOTE
    if question is not None and settings.labels and declared_labels(settings.labels) not in question.tasks.values():
        learned = "; ".join(", ".join(labels) for labels in question.tasks.values())
        yield f"The adapter was trained on other labels than --labels names, and may answer with its own: {learned}"
    if rows.passed_over:
        listed = ", ".join(f"{what} ({count:,})" for what, count in rows.passed_over.most_common())
        hint = " (--split NAME, or --split all, asks about them)" if "rows of split" in listed else ""
        yield f"Passed over: {listed}{hint}"
