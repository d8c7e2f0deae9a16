"""The card of an exported model: what it answers, how it was judged and trained, and the results as the Hub reads them.

Results are those of the scorecard's first method, by task: in the front matter as a `model-index`, and, where the data
has a name on the Hub, in `.eval_results/`, from which the Hub fills a benchmark's table. No path of the machine that
trained is written: of a local folder the card says the name.

    emocaliber export out/3-calibrate --scorecard out/evaluation --dataset OWNER/NAME --out out/to-share
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml
from huggingface_hub import EvalResult, EvalResultEntry, ModelCardData, eval_result_entries_to_yaml

from emocaliber import __version__
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import SCORECARD
from emocaliber.core.prompting import load_template
from emocaliber.data.layouts import HUB
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Estimate, Scorecard, Scores
from emocaliber.models.location import on_hub
from emocaliber.runs.finished import Finished

SHOWN = ("accuracy", "ece", "brier", "auroc", "aurc")
"""The metrics that go into the metadata; the text has all that the scorecard has."""
SPLIT = "test"
DIGITS = 4
TAGS = ["emotion-recognition", "calibration", "verbalized-confidence", "emocaliber"]
_DATASET = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True)
class Results:
    """A scorecard as a folder of `emocaliber score` holds it: the values, and the text for people."""

    card: Scorecard
    text: str


def read_results(folder: Path) -> Results:
    """The scorecard of a folder. Raises UserError where it holds none that can be read."""
    values, text = (folder / name for name in SCORECARD[:2])
    if not (values.is_file() and text.is_file()):
        raise UserError(f"{folder}: there is no scorecard; write it with `emocaliber score ... --out {folder}`")
    try:
        card = msgspec.json.decode(values.read_bytes(), type=Scorecard)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{values}: {error}; write it anew with `emocaliber score ... --out {folder}`") from None
    return Results(card, text.read_text(encoding="utf-8"))


def checked_dataset(name: str | None) -> str | None:
    """The data set's name on the Hub, as given. Raises UserError for what can be none."""
    if name is not None and not _DATASET.fullmatch(name):
        raise UserError(f"--dataset {name}: give its name on the Hub, OWNER/NAME")
    return name


def model_card(stage: Finished, name: str, *, merged: bool, results: Results | None, dataset: str | None) -> str:
    """The README.md of a model called `name`, front matter included."""
    recipe, template = stage.recipe, load_template(stage.recipe["template"])
    complete = merged or not stage.is_adapter
    head = ModelCardData(
        base_model=recipe["model"] if on_hub(recipe["model"]) else None,
        datasets=[dataset] if dataset else None,
        library_name="transformers" if complete else "peft",
        pipeline_tag="image-text-to-text",
        tags=TAGS,
        model_name=name,
        eval_results=list(_model_index(results.card, dataset)) if results else None,
    )
    settings = {key: value for key, value in recipe.items() if key != "trainer"} | recipe["trainer"]
    data = ", ".join(f"{without_folder(each)} ({digest})" for each, digest in stage.inputs["data"].items())
    lines = [
        "---",
        head.to_yaml(),
        "---",
        f"# {name}: {without_folder(recipe['model'])}, stage {recipe['stage']} of emocaliber",
        "",
        f"{'A complete model' if complete else 'A LoRA adapter'} that names the emotion in an image"
        + (" and states how sure it is." if "confidence" in template.fields else "."),
        "The confidence is a claim about data like those below; on other pictures, check it before relying on it.",
        "",
        "## Asking it",
        f"Prompt (template `{template.name}`, {template.hash}): {template.prompt}",
        f"Answer: `{template.answer}`",
        "",
        "## How it was judged",
        results.text.strip() if results else
        "Not judged yet: `emocaliber score` writes the scorecard, `emocaliber export --scorecard` shows it.",
        "",
        "## How it was trained",
        f"emocaliber {__version__}; data: {data}; splits: {', '.join(recipe['splits'])}.",
        "```yaml",
        *(f"{key}: {json.dumps(without_folder(value))}" for key, value in settings.items()),
        "```",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def eval_results(results: Results, dataset: str) -> str:
    """The content of a file in `.eval_results/`: the accuracy in each task of the data set, the rest in its notes."""
    entries = [
        EvalResultEntry(dataset_id=dataset, task_id=scores.name, value=round(float(scores["accuracy"]), DIGITS),
                        notes="; ".join(_named(scores, metric) for metric, _ in _defined(scores)))
        for scores in _tasks(results.card) if scores["accuracy"].value is not None
    ]  # fmt: skip
    text: str = yaml.safe_dump(eval_result_entries_to_yaml(entries), sort_keys=False, allow_unicode=True, width=120)
    return text


def without_folder(value: Any) -> Any:
    """The value with what may be a path on this machine cut to its last name; names on a hub stay."""
    if isinstance(value, list | tuple):
        return [without_folder(each) for each in value]
    if isinstance(value, str) and "/" in value and "://" not in value and not value.startswith(HUB):
        return value if on_hub(value) else Path(value).name
    return value


def _model_index(card: Scorecard, dataset: str | None) -> Iterator[EvalResult]:
    for scores in _tasks(card):
        for metric, estimate in _defined(scores):
            yield EvalResult(
                task_type="image-classification",
                task_name=f"Emotion recognition, {scores.name}",
                dataset_type=dataset or scores.name,
                dataset_name=scores.name,
                dataset_config=scores.name if dataset else None,
                dataset_split=SPLIT,
                metric_type=metric,
                metric_name=_named(scores, metric),
                metric_value=round(float(estimate), DIGITS),
            )


def _tasks(card: Scorecard) -> list[Scores]:
    return [scores for scores in card.methods[0].scores if scores.kind == "task"]


def _defined(scores: Scores) -> Iterator[tuple[str, Estimate]]:
    for metric in SHOWN:
        if metric in scores.headline and scores[metric].value is not None:
            yield metric, scores[metric]


def _named(scores: Scores, metric: str) -> str:
    """ "ECE .036 [.000, .057], n = 2,312": the Hub shows a value alone, and no interval."""
    return f"{METRICS[metric].title} {scores[metric]}, n = {scores.n:,}"
