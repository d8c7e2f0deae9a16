"""Estimator: any of the baselines over named views, with fit, predict and a saved form.

Not a command (see command). Labels may be any strings or integers; what the networks are is in softmax, evidential, ter
and amber2.

    estimator = Estimator(Tmc()).fit({"audio": a, "text": t}, labels)
    estimator.predict_opinion({"text": t2}).uncertainty          # a view may be missing
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.evidential import Ecml, Edl, Etmc, Tmc
from emocaliber.baselines.opinions import Opinion
from emocaliber.baselines.softmax import Dropout, Ensemble, Softmax
from emocaliber.baselines.ter import Ter
from emocaliber.baselines.training import Progress, Training, fit_temperature, train
from emocaliber.baselines.views import Inputs, Model, Scaler, Views, count_rows
from emocaliber.core.errors import UserError
from emocaliber.evaluation.trusted import best_f1_threshold

Network = Softmax | Edl | Tmc | Etmc | Ecml | Ter | Amber2 | Ensemble | Dropout
Labels = Sequence[str] | Sequence[int] | npt.NDArray[np.str_] | npt.NDArray[np.integer]
Floats = npt.NDArray[np.floating]

WEIGHTS, ABOUT = "weights.safetensors", "estimator.json"


class About(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What estimator.json holds beside the weights."""

    network: Network
    training: Training
    classes: tuple[str | int, ...]
    views: tuple[str, ...]
    temperature: float
    trusted_threshold: float | None


class Estimator:
    """One network over views.

    After `fit`: `classes` (K labels, in the order of every array's columns), `temperature` (1 where none was fitted),
    `trusted_threshold` (the confidence of greatest trusted F1 on the held-out rows; None without them) and
    `held_out_rows` (numbers of the training rows that `fit` held out itself).
    """

    def __init__(self, network: Network, training: Training | None = None) -> None:
        self.network, self.training = network, training or Training()
        self.classes: tuple[str | int, ...] = ()
        self.temperature = 1.0
        self.trusted_threshold: float | None = None
        self.held_out_rows: npt.NDArray[np.intp] = np.empty(0, np.intp)
        self._trained: tuple[Scaler, Model] | None = None

    def fit(
        self,
        views: Views,
        labels: Labels,
        *,
        votes: Floats | None = None,
        classes: Sequence[str] | Sequence[int] | None = None,
        validation: tuple[Views, Labels, Floats | None] | None = None,
        on_progress: Progress = lambda _: None,
    ) -> Self:
        """Train on n rows; returns itself.

        `votes` [n, K] are rater counts or shares, which AmbER² learns (the others learn the label); `classes` the
        labels in the order of the votes' columns, by default the sorted labels. Without `validation` rows a share of
        the training rows, stratified by label, is held out. Raises UserError where arrays do not fit each other.
        """
        rows = count_rows(views)
        self.classes = _classes(labels, classes)
        target = self._target(labels, votes, rows)
        scaler = Scaler.fitted(views, self.training.scaling)
        fitting, held_out = self._split(scaler, views, target, validation)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.training.seed)
            model = self.network.build(list(scaler.dims.values()), len(self.classes))
            train(model, fitting, held_out, self.training, on_progress)
        self._trained = scaler, model
        self.temperature = 1.0
        if held_out is not None and self.training.calibrate:
            self.temperature = fit_temperature(model, *held_out)
        self.trusted_threshold = None if held_out is None else _threshold(model, self.temperature, *held_out)
        return self

    @torch.no_grad()
    def predict_opinion(self, views: Views) -> Opinion:
        """The fused opinion on each row, [n, K] on the CPU.

        Raises UserError for views that were not trained on, and before `fit` or `load`.
        """
        scaler, model = self._ready()
        return model.opinion(scaler.inputs(views), self.temperature)

    def predict_proba(self, views: Views) -> npt.NDArray[np.float64]:
        """The projected probability [n, K]; each row sums to 1."""
        projected = self.predict_opinion(views).projected.double()
        shares: npt.NDArray[np.float64] = (projected / projected.sum(1, keepdim=True)).numpy()
        return shares

    def predict(self, views: Views) -> npt.NDArray[np.str_] | npt.NDArray[np.int64]:
        """The likeliest label of each row [n]; the first of equals."""
        result: npt.NDArray[np.str_] | npt.NDArray[np.int64] = np.asarray(self.classes)[
            self.predict_proba(views).argmax(1)
        ]
        return result

    def save(self, folder: Path) -> None:
        """Write weights.safetensors and estimator.json. Raises UserError before `fit` or `load`."""
        scaler, model = self._ready()
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {f"model.{name}": value.numpy() for name, value in model.state_dict().items()}
        for name in scaler.dims:
            tensors |= {f"shift.{name}": scaler.shift[name], f"scale.{name}": scaler.scale[name]}
        save_file(tensors, folder / WEIGHTS)
        about = About(
            self.network,
            self.training,
            self.classes,
            tuple(scaler.dims),
            self.temperature,
            self.trusted_threshold,
        )
        (folder / ABOUT).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1) + b"\n")

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what `save` wrote. Raises UserError naming the file that is missing or damaged."""
        try:
            about = msgspec.json.decode((folder / ABOUT).read_bytes(), type=About)
            tensors = load_file(folder / WEIGHTS)
        except (OSError, SafetensorError, msgspec.DecodeError) as problem:
            raise UserError(f"{folder} holds no readable estimator: {problem}") from None
        result = cls(about.network, about.training)
        result.classes, result.temperature = about.classes, about.temperature
        result.trusted_threshold = about.trusted_threshold
        scaler = Scaler(
            {name: tensors[f"shift.{name}"] for name in about.views},
            {name: tensors[f"scale.{name}"] for name in about.views},
        )
        model = about.network.build(list(scaler.dims.values()), len(about.classes))
        own = {name.removeprefix("model."): torch.from_numpy(tensors[name]) for name in tensors if name[:6] == "model."}
        model.load_state_dict(own)
        model.eval()
        result._trained = scaler, model
        return result

    def _ready(self) -> tuple[Scaler, Model]:
        if self._trained is None:
            raise UserError("the estimator is not trained; call fit, or load one that is")
        return self._trained

    def _target(self, labels: Labels, votes: Floats | None, rows: int) -> Tensor:
        """Shares [n, K]: of the votes where the network learns them, else one-hot."""
        if len(labels) != rows:
            raise UserError(f"{len(labels)} labels for {rows} rows of features; give one label a row")
        if votes is not None and isinstance(self.network, Amber2) and self.network.target == "shares":
            if votes.shape != (rows, len(self.classes)) or not (votes >= 0).all():
                raise UserError(f"votes have shape {votes.shape}; give {rows} rows of {len(self.classes)} counts")
            if (empty := votes.sum(1) <= 0).any():
                raise UserError(f"votes, row {int(empty.argmax())}: nobody voted; leave the row out, or the votes")
            return torch.from_numpy((votes / votes.sum(1, keepdims=True)).astype(np.float32))
        place = {label: number for number, label in enumerate(self.classes)}
        known = np.asarray(labels).tolist()
        if unknown := [label for label in known if label not in place]:
            raise UserError(f"label {unknown[0]!r} is not among the classes {self.classes}")
        return torch.eye(len(place))[torch.tensor([place[label] for label in known])]

    def _split(
        self, scaler: Scaler, own: Views, target: Tensor, validation: tuple[Views, Labels, Floats | None] | None
    ) -> tuple[tuple[Inputs, Tensor], tuple[Inputs, Tensor] | None]:
        """Rows to fit on and rows held out, given or taken from them."""
        inputs = scaler.inputs(own)
        if validation is not None:
            views, labels, votes = validation
            return (inputs, target), (scaler.inputs(views), self._target(labels, votes, count_rows(views)))
        if not self.training.validation:
            return (inputs, target), None
        held_out = _stratified(target.argmax(1).numpy(), self.training.validation, self.training.seed)
        if not held_out.any():
            rows, share = len(held_out), self.training.validation
            raise UserError(f"{rows} rows are too few to hold out {share:g} of each label; give validation rows")
        self.held_out_rows = np.flatnonzero(held_out)
        fitting_rows, out = torch.from_numpy(np.flatnonzero(~held_out)), torch.from_numpy(self.held_out_rows)
        return (inputs.rows(fitting_rows), target[fitting_rows]), (inputs.rows(out), target[out])


@torch.no_grad()
def _threshold(model: Model, temperature: float, inputs: Inputs, target: Tensor) -> float:
    projected = model.opinion(inputs, temperature).projected
    right = (projected.argmax(1) == target.argmax(1)).numpy()
    return best_f1_threshold(projected.amax(1).double().numpy().clip(0, 1), right)


def _classes(labels: Labels, declared: Sequence[str] | Sequence[int] | None) -> tuple[str | int, ...]:
    result = tuple(np.unique(np.asarray(labels)).tolist() if declared is None else declared)
    if len(result) < 2:
        raise UserError(f"there must be at least two labels; there are {result}")
    return result


def _stratified(labels: npt.NDArray[np.integer], share: float, seed: int) -> npt.NDArray[np.bool_]:
    """A mask of about `share` of each label's rows; of a label with a single row, none."""
    chance = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        rows = chance.permutation(np.flatnonzero(labels == label))
        held_out[rows[: round(share * len(rows))]] = True
    return held_out
