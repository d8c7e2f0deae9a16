"""Train one baseline on files of views, as its recipe says, and predict.

Written into the folder: `predictions.jsonl` and `calibration.jsonl` (rows that no weight was trained on, the same rows
that the language model writes, so that both are judged alike), and `estimator/`. A recipe is one YAML file with the
network and its training:

    network: {method: tmc, hidden: [256], evidence: exp}
    training: {epochs: 100, learning_rate: 0.001}

What is left out has the default of the method's settings (softmax, evidential, ter, amber2) and of `Training`.

    emocaliber baseline train tmc --recipe recipes/baselines/tmc-public.yaml --views FILE.npz --out DIR
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.estimator import Estimator, Network
from emocaliber.baselines.evidential import Ecml, Edl, Etmc, Tmc
from emocaliber.baselines.softmax import Dropout, Ensemble, Softmax
from emocaliber.baselines.ter import Ter
from emocaliber.baselines.training import Training
from emocaliber.baselines.view_files import Rows, ViewSet, read_views
from emocaliber.core.errors import UserError
from emocaliber.core.files import read_yaml
from emocaliber.core.predictions import Prediction, Source, State, write_predictions

NETWORKS: dict[str, Network] = {
    "softmax": Softmax(),
    "edl": Edl(),
    "tmc": Tmc(),
    "etmc": Etmc(),
    "ecml": Ecml(),
    "ter": Ter(),
    "amber2": Amber2(),
    "ensemble": Ensemble(),
    "dropout": Dropout(),
}
"""Each method by the name that the command takes, with the settings that it has without a recipe."""


class BaselineRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a recipe file."""

    network: Network
    training: Training = Training()


def load_recipe(path: Path) -> BaselineRecipe:
    """Read a recipe. Raises UserError naming the file and the key."""
    try:
        return msgspec.convert(read_yaml(path), BaselineRecipe)
    except msgspec.ValidationError as problem:
        raise UserError(f"{path}: {problem}") from None


Progress = Callable[[str], None]
PREDICTIONS, CALIBRATION, ESTIMATOR = "predictions.jsonl", "calibration.jsonl", "estimator"


def train_and_predict(
    name: str, settings: BaselineRecipe, view_files: list[Path], out: Path, on_progress: Progress = lambda _: None
) -> tuple[list[Prediction], list[Prediction]]:
    """Train one network per file; write and return the test rows, and the held-out rows if there are any."""
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


def settings_of(name: str, recipe: Path | None, seed: int | None) -> BaselineRecipe:
    """A recipe's settings, or the method's defaults, with the `seed`. Raises UserError for another method's recipe."""
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


def predictions(estimator: Estimator, rows: Rows, task: str, method: str) -> list[Prediction]:
    """One row per sample, in order. A sample without any view is a refusal, with the state "empty".

    The source is `dirichlet` if uncertainty is part of the opinion, and `logprob` for a softmax network. Raises
    UserError if votes are not whole numbers.
    """
    softmax = isinstance(estimator.network, Softmax | Ensemble | Dropout | Amber2)
    source = Source.LOGPROB if softmax else Source.DIRICHLET
    classes = [str(label) for label in estimator.classes]
    shares = estimator.predict_proba(rows.views)
    has_view = np.any([~np.isnan(view).all(1) for view in rows.views.values()], axis=0)
    return [
        _prediction(rows, number, task, method, source, classes, shares[number] if has_view[number] else None)
        for number in range(len(rows.labels))
    ]


def _prediction(
    rows: Rows,
    number: int,
    task: str,
    method: str,
    source: Source,
    classes: list[str],
    shares: npt.NDArray[np.float64] | None,
) -> Prediction:
    best = None if shares is None else int(shares.argmax())
    return Prediction(
        id=str(rows.ids[number]),
        task=task,
        group=str(rows.groups[number]),
        cluster=str(rows.clusters[number]),
        truth=str(rows.labels[number]),
        predicted=None if best is None else classes[best],
        confidence=None if shares is None else min(1.0, float(shares.max())),
        state=State.EMPTY if shares is None else State.OK,
        source=source,
        method=method,
        votes=None if rows.votes is None else _votes(rows.votes[number], classes, str(rows.ids[number])),
        distribution=None if shares is None else dict(zip(classes, np.minimum(shares, 1.0).tolist(), strict=True)),
    )


def _votes(counts: npt.NDArray[np.float64], classes: list[str], name: str) -> dict[str, int] | None:
    """None if nobody voted."""
    if (counts != counts.round()).any():
        raise UserError(f"the votes of {name!r} are no whole numbers; give counts of raters, not shares")
    if not counts.any():
        return None
    return {label: int(count) for label, count in zip(classes, counts, strict=True)}
