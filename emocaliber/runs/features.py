"""Files of views for the baselines: what a frozen backbone sees of each sample, one file a task.

emocaliber baseline features --suite eval/suites/tiny.yaml --out out/features
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import FILES, load
from emocaliber.data.parquet import read_samples
from emocaliber.evaluation.suite import load_suite

QUESTIONS = {"kaomoji": "Read the signs."}
QUESTION = "Describe the drawing."
"""What the backbone is asked for its caption: the tiny one has learnt to read signs and to describe drawings."""


def suite_data(suite: Path) -> list[str]:
    """The names of a suite's tasks. Raises UserError where one of them does not come with the package."""
    tasks = list(load_suite(suite).tasks)
    if unknown := [task for task in tasks if task not in FILES]:
        missing = f"{suite}: task {unknown[0]!r} does not come with the package"
        raise UserError(f"{missing}; write its views with `emocaliber baseline features --data FILE.parquet`")
    return tasks


def write_features(
    data: Sequence[str],
    model: str,
    out: Path,
    question: str | None = None,
    batch_size: int = 64,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[Path]:
    """A file of views for each of the data, each of one task; returns their paths."""
    from emocaliber.baselines.features import FeatureExtractor, view_set
    from emocaliber.baselines.view_files import write_views
    from emocaliber.models.location import embedded_base

    folder = embedded_base() if model == "tiny" else model
    written = []
    for name in data:
        asked = question or QUESTIONS.get(name, QUESTION)
        found = view_set(_samples(name), FeatureExtractor(folder, asked, batch_size=batch_size), on_progress)
        written.append(out / f"{found.task}.npz")
        write_views(written[-1], found)
    return written


def _samples(name: str) -> list[Sample]:
    return load(name) if name in FILES else read_samples(Path(name))
