"""The harness: query an engine about every sample, whatever fails, and write files that any tool can score.

Neither engine nor scorer. It can be stopped at any moment and run again: finished answers are not queried again, and
the final files are those of an uninterrupted run.

    emocaliber predict kaomoji --model DIR --out out/answers
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Timer
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TaskID, TimeRemainingColumn
from rich.text import Text

from emocaliber import __version__
from emocaliber.core.environment import describe
from emocaliber.core.files import write_atomically
from emocaliber.core.images import SHOWN_PIXELS
from emocaliber.core.predictions import State
from emocaliber.core.prompting import Template
from emocaliber.core.samples import Sample
from emocaliber.generation.engine import Engine
from emocaliber.generation.journal import Journal
from emocaliber.generation.questions import RemoteEngine
from emocaliber.generation.readouts import MANIFEST, Record, responses_file, write_predictions_of, write_records
from emocaliber.generation.respond import respond
from emocaliber.generation.shards import Shard
from emocaliber.reading import read_response

JOURNAL = "journal.jsonl"
_Item = TypeVar("_Item")
SLOW_START = 60.0  # seconds without any answer after which a hint is printed


@dataclass
class Summary:
    """What a run did: `rows` over all draws, of which `queried` were not in the journal; `states` of the first draw.

    `answered` counts responses without an error, `source_rows` the rows read, including those of other shards;
    `first_error` is the first error of a response.
    """

    rows: int = 0
    queried: int = 0
    tokens: int = 0
    seconds: float = 0.0
    states: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    source_rows: int = 0
    first_error: str = ""

    @property
    def images_per_second(self) -> float:
        """Questions answered per second; reused answers are not counted."""
        return self.queried / self.seconds if self.seconds else 0.0

    @property
    def tokens_per_second(self) -> float:
        """Tokens generated per second."""
        return self.tokens / self.seconds if self.seconds else 0.0

    @property
    def failed(self) -> int:
        """Rows of the first draw in which not even a label could be read."""
        labelled = self.states[State.OK] + self.states[State.MISSING_CONFIDENCE]
        return self.states.total() - labelled


def generate(
    samples: Iterable[Sample],
    engine: Engine | RemoteEngine,
    template: Template,
    out: Path,
    *,
    method: str,
    draws: int = 1,
    constrain: bool = False,
    max_pixels: int = SHOWN_PIXELS,
    total: int | None = None,
    shard: Shard | None = None,
    settings: Mapping[str, object] | None = None,
) -> Summary:
    """Query the engine about each sample, `draws` times, and write responses, predictions and the manifest to `out`.

    Pictures of more than `max_pixels` are scaled down. `settings` (data, model, seed and so on, as JSON values) go into
    the manifest as they are. `samples` is streamed once for each draw; with a `shard`, only its samples are queried.
    Raises UserError where `out` is in use by another run.
    """
    summary, started = Summary(), time.monotonic()
    with Journal(out / JOURNAL) as journal, progress_bar() as bar, _slow_start_hint(summary, bar.console):
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
                shard=shard,
            )
            write_records(responses_file(out, draw), advancing(records, bar, task))
        summary.queried, summary.tokens = journal.added, journal.added_tokens
    summary.seconds = time.monotonic() - started
    write_predictions_of(out, template, method=method, draws=draws)
    _write_manifest(
        out,
        engine,
        template,
        method=method,
        draws=draws,
        max_pixels=max_pixels,
        summary=summary,
        settings=settings or {},
        shard=shard,
    )
    return summary


_FAILED = (State.ENGINE_ERROR.value, State.IMAGE_ERROR.value)


def _records(
    samples: Iterable[Sample],
    engine: Engine | RemoteEngine,
    template: Template,
    journal: Journal,
    *,
    draw: int,
    constrain: bool,
    max_pixels: int,
    summary: Summary,
    bar: Progress,
    shard: Shard | None,
) -> Iterator[Record]:
    waiting: deque[tuple[int, Sample]] = deque()

    def without_images() -> Iterator[Sample]:
        for number, sample in enumerate(samples, 1):
            summary.source_rows = number
            if shard is None or shard.contains(sample.id):
                waiting.append((0 if shard is None else number, replace(sample, image=b"")))
                yield sample

    for response in respond(
        without_images(), engine, template, journal=journal, draw=draw, constrain=constrain, max_pixels=max_pixels
    ):
        number, sample = waiting.popleft()
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
        yield Record.of(sample, response, template.hash, number)


@contextmanager
def _slow_start_hint(summary: Summary, console: Console) -> Iterator[None]:
    """Print how to find out what the engine is doing if there is no answer within SLOW_START seconds."""

    def notice() -> None:
        if not summary.rows:
            console.print(
                f"no answer for {SLOW_START:.0f} s: the engine is still at its first step. What it does: py-spy dump "
                f"--pid {os.getpid()} (for vLLM, of its process EngineCore). On a CPU an adapter is slow beside the "
                "weights: emocaliber export ADAPTER --merge, and predict with the merged model. --limit 4 asks about "
                "four pictures.",
                markup=False, highlight=False, soft_wrap=True,
            )  # fmt: skip

    timer = Timer(SLOW_START, notice)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def advancing(items: Iterable[_Item], bar: Progress, task: TaskID) -> Iterator[_Item]:
    """The items, each of which advances the bar."""
    for item in items:
        bar.advance(task)
        yield item


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.1f} images/s")


def progress_bar() -> Progress:
    """A bar on the terminal, with images per second."""
    return Progress(BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn(), console=Console(stderr=True))


def _write_manifest(
    out: Path,
    engine: Engine | RemoteEngine,
    template: Template,
    *,
    method: str,
    draws: int,
    max_pixels: int,
    summary: Summary,
    settings: Mapping[str, object],
    shard: Shard | None,
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
    } | ({} if shard is None else {"shard": str(shard), "source_rows": summary.source_rows})
    write_atomically(out / MANIFEST, [json.dumps(manifest, indent=2).encode() + b"\n"])
