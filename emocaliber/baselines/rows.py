"""Prediction rows from an estimator: what the language model writes too, so that both are judged alike.

Not a judgement (see emocaliber.evaluation). The confidence is the projected probability of the likeliest label.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from emocaliber.baselines.amber2 import Amber2
from emocaliber.baselines.estimator import Estimator
from emocaliber.baselines.softmax import Dropout, Ensemble, Softmax
from emocaliber.baselines.view_files import Rows
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State


def predictions(estimator: Estimator, rows: Rows, task: str, method: str) -> list[Prediction]:
    """One row a sample, in order. A sample without any view is a refusal, its state "empty".

    The source is `dirichlet` where uncertainty is part of the opinion, `logprob` where the network is a softmax.
    Raises UserError where votes are not whole numbers.
    """
    softmax = isinstance(estimator.network, Softmax | Ensemble | Dropout | Amber2)
    source = Source.LOGPROB if softmax else Source.DIRICHLET
    classes = [str(label) for label in estimator.classes]
    shares = estimator.predict_proba(rows.views)
    there = np.any([~np.isnan(view).all(1) for view in rows.views.values()], axis=0)
    return [
        _prediction(rows, number, task, method, source, classes, shares[number] if there[number] else None)
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
    """None where nobody voted."""
    if (counts != counts.round()).any():
        raise UserError(f"the votes of {name!r} are no whole numbers; give counts of raters, not shares")
    if not counts.any():
        return None
    return {label: int(count) for label, count in zip(classes, counts, strict=True)}
