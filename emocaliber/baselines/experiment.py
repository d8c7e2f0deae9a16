"""Train one baseline on files of views, predict, and score.

Not the method (see estimator) and not the command's arguments (see command). Written into the folder:
`predictions.jsonl` and `calibration.jsonl` (rows that no weight was trained on), `estimator/`, `scorecard.json`,
`scorecard.md` and `report.html`.

    emocaliber baseline train tmc --views FILE.npz --out DIR
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.recipe import NETWORKS, BaselineRecipe, load_recipe
from emocaliber.baselines.rows import predictions
from emocaliber.baselines.view_files import Rows, ViewSet, read_views
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, write_predictions
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.runs.scoring import score_files

Progress = Callable[[str], None]
PREDICTIONS, CALIBRATION, ESTIMATOR = "predictions.jsonl", "calibration.jsonl", "estimator"


def run_baseline(
    name: str,
    view_files: list[Path],
    out: Path,
    *,
    recipe: Path | None = None,
    seed: int | None = None,
    suite: Path | None = None,
    on_progress: Progress = lambda _: None,
) -> Scorecard:
    """Train `name` on each file of views (one a task), write everything under `out`, and return the scorecard.

    `seed` replaces the recipe's. Raises UserError for a recipe of another method and for files that must be mended.
    """
    _, held_out = train_and_predict(name, _settings(name, recipe, seed), view_files, out, on_progress)
    calibration = [out / CALIBRATION] if held_out else []
    return score_files([out / PREDICTIONS], calibration=calibration, suite=suite, out=out, on_progress=on_progress)


def train_and_predict(
    name: str, settings: BaselineRecipe, view_files: list[Path], out: Path, on_progress: Progress = lambda _: None
) -> tuple[list[Prediction], list[Prediction]]:
    """Train one network a file; write and return the test rows, and the held-out rows where there are any."""
    test: list[Prediction] = []
    held_out: list[Prediction] = []
    for path in view_files:
        view_set = read_views(path)
        folder = out / ESTIMATOR if len(view_files) == 1 else out / ESTIMATOR / view_set.task
        own_test, own_held = _one_task(name, settings, view_set, folder, on_progress)
        test, held_out = test + own_test, held_out + own_held
    write_predictions(out / PREDICTIONS, test)
    if held_out:
        write_predictions(out / CALIBRATION, held_out)
    return test, held_out


def fit(settings: BaselineRecipe, view_set: ViewSet, on_progress: Progress = lambda _: None) -> tuple[Estimator, Rows]:
    """An estimator trained on the task's training rows, and the held-out rows that chose its epoch and temperature."""
    train, held_out = view_set.splits["train"], view_set.splits.get("calibrate")
    estimator = Estimator(settings.network, settings.training).fit(
        train.views,
        train.labels,
        votes=train.votes,
        classes=view_set.classes,
        validation=None if held_out is None else (held_out.views, held_out.labels, held_out.votes),
        on_progress=on_progress,
    )
    return estimator, train.take(estimator.held_out_rows) if held_out is None else held_out


def _one_task(
    name: str, settings: BaselineRecipe, view_set: ViewSet, folder: Path, on_progress: Progress
) -> tuple[list[Prediction], list[Prediction]]:
    estimator, held_out = fit(settings, view_set, lambda text: on_progress(f"{name} on {view_set.task}: {text}"))
    estimator.save(folder)
    test = predictions(estimator, view_set.splits["test"], view_set.task, name)
    return test, predictions(estimator, held_out, view_set.task, name) if len(held_out.labels) else []


def _settings(name: str, recipe: Path | None, seed: int | None) -> BaselineRecipe:
    if recipe is None:
        settings = BaselineRecipe(NETWORKS[name])
    else:
        settings = load_recipe(recipe)
        if type(settings.network) is not type(NETWORKS[name]):
            raise UserError(f"{recipe}: its network is another method than {name!r}; name the method of the recipe")
    if seed is None:
        return settings
    training = msgspec.structs.replace(settings.training, seed=seed)
    return msgspec.structs.replace(settings, training=training)
