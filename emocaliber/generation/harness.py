"""The harness: ask an engine about every sample, whatever happens, and leave files that anyone can judge.

Not an engine, not a judge. Stop it at any moment and run it again: what is finished is not asked again, and the final
files are those of an uninterrupted run.

    emocaliber generate --data kaomoji --model DIR --out out/answers
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TimeRemainingColumn
from rich.text import Text

from emocaliber import __version__
from emocaliber.core.environment import describe
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Source, State, write_predictions
from emocaliber.core.prompting import Template
from emocaliber.core.resolution import SHOWN_PIXELS
from emocaliber.core.samples import Sample
from emocaliber.generation.consistency import consistency_rows
from emocaliber.generation.engine import Engine, Response
from emocaliber.generation.journal import Journal
from emocaliber.generation.predict import rows_of
from emocaliber.generation.records import Record, read_records, write_records
from emocaliber.generation.respond import respond
from emocaliber.reading import read_response

JOURNAL, MANIFEST = "journal.jsonl", "manifest.json"
FILES = {
    Source.VERBALIZED: "predictions.jsonl",
    Source.EXPECTED: "predictions-expected.jsonl",
    Source.LOGPROB: "predictions-logprob.jsonl",
    Source.SAMPLED: "predictions-sampled.jsonl",
}


@dataclass
class Summary:
    """What a run did: rows over all draws, and of these what was asked now; `states` are those of the first draw.

    `answered` counts the responses that hold an answer, `first_error` is the first reason why another does not.
    """

    rows: int = 0
    asked: int = 0
    tokens: int = 0
    seconds: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    first_error: str = ""

    @property
    def images_per_second(self) -> float:
        """Questions answered in each second; reused answers are not counted."""
        return self.asked / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens generated in each second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """Rows of the first draw in which not even a label could be read."""
        labelled = self.states[State.OK] + self.states[State.MISSING_CONFIDENCE]
        return self.states.total() - labelled


def generate(
    samples: Iterable[Sample],
    engine: Engine,
    template: Template,
    out: Path,
    *,
    method: str,
    draws: int = 1,
    constrain: bool = False,
    max_pixels: int = SHOWN_PIXELS,
    total: int | None = None,
    settings: Mapping[str, object] | None = None,
) -> Summary:
    """Ask about each sample, `draws` times, and write responses, predictions and the manifest under `out`.

    A picture of more than `max_pixels` is made smaller. `settings` (data, model, seed and so on, as JSON values) go
    into the manifest as they are. `samples` is gone through once for each draw, as a stream. Raises UserError where
    `out` is in use by another run or a sample that is to be judged has no label.
    """
    summary, started = Summary(), time.monotonic()
    with Journal(out / JOURNAL) as journal, _progress() as bar:
        task = bar.add_task("asking", total=None if total is None else total * draws)
        for draw in range(draws):
            records = _records(
                samples,
                engine,
                template,
                journal,
                draw=draw,
                constrain=constrain,
                max_pixels=max_pixels,
                summary=summary,
                bar=bar,
            )
            write_records(responses_file(out, draw), _advancing(records, bar, task))
        summary.asked, summary.tokens = journal.added, journal.added_tokens
    summary.seconds = time.monotonic() - started
    write_rows(out, template, method=method, draws=draws)
    _write_manifest(
        out,
        engine,
        template,
        method=method,
        draws=draws,
        max_pixels=max_pixels,
        summary=summary,
        settings=settings or {},
    )
    return summary


def responses_file(out: Path, draw: int) -> Path:
    """Where the responses of one draw are written."""
    return out / ("responses.jsonl" if draw == 0 else f"responses-{draw}.jsonl")


def write_rows(out: Path, template: Template, *, method: str, draws: int) -> None:
    """Read the responses under `out` again and write the prediction files that the template allows."""
    sources = rows_of(_EXAMPLE, Response("", "", "stop"), template, method=method)
    for source in sources:
        rows = (
            rows_of(record.sample, record.response, template, method=method)[source]
            for record in read_records(responses_file(out, 0))
        )
        write_predictions(out / FILES[source], rows)
    if draws > 1:
        streams = [read_records(responses_file(out, draw)) for draw in range(draws)]
        write_predictions(out / FILES[Source.SAMPLED], consistency_rows(streams, method))


_FAILED = (State.ENGINE_ERROR.value, State.IMAGE_ERROR.value)
_EXAMPLE = Sample("", b"", "", ("a",), "a", "", "", "")


def _records(
    samples: Iterable[Sample],
    engine: Engine,
    template: Template,
    journal: Journal,
    *,
    draw: int,
    constrain: bool,
    max_pixels: int,
    summary: Summary,
    bar: Progress,
) -> Iterator[Record]:
    waiting: deque[Sample] = deque()

    def without_images() -> Iterator[Sample]:
        for sample in samples:
            waiting.append(replace(sample, image=b""))
            yield sample

    for response in respond(
        without_images(), engine, template, journal=journal, draw=draw, constrain=constrain, max_pixels=max_pixels
    ):
        sample = waiting.popleft()
        summary.rows += 1
        summary.answered += response.finish_reason not in _FAILED
        if response.error and not summary.first_error:
            summary.first_error = response.error
            bar.console.print(
                f"{sample.id} failed, the first so far: {response.error}", markup=False, highlight=False, soft_wrap=True
            )
        if draw == 0:
            reading = read_response(response.text, sample.candidates, finish_reason=response.finish_reason)
            summary.states[reading.state] += 1
        yield Record.of(sample, response, template.hash)


def _advancing(records: Iterable[Record], bar: Progress, task: TaskID) -> Iterator[Record]:
    for record in records:
        bar.advance(task)
        yield record


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} images/s")


def _progress() -> Progress:
    return Progress(BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), console=Console(stderr=True))


def _write_manifest(
    out: Path,
    engine: Engine,
    template: Template,
    *,
    method: str,
    draws: int,
    max_pixels: int,
    summary: Summary,
    settings: Mapping[str, object],
) -> None:
    manifest = {
        "emocaliber": __version__,
        "versions": dict(describe()),
        "engine": engine.name,
        "template": template.record,
        "method": method,
        "draws": draws,
        "shown_pixels": max_pixels,
        "settings": dict(settings),
        "rows": summary.rows,
        "states": dict(sorted(summary.states.items())),
    }
    write_atomically(out / MANIFEST, [json.dumps(manifest, indent=2).encode() + b"\n"])
