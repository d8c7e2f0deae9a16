"""On the handwritten digits in six views: right, calibrated, and uncertain where views contradict each other."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.metrics import roc_auc_score

from emocaliber.baselines.estimator import Estimator, Network
from emocaliber.baselines.evidential import Tmc
from emocaliber.baselines.experiment import BaselineRecipe, fit
from emocaliber.baselines.softmax import Softmax
from emocaliber.evaluation.calibration import ece
from emocaliber.evaluation.counts import count_rows
from eval.worlds.corrupted_views import conflicting
from tests.baselines.digits import digits

SWAPPED = ("view1", "view2", "view3", "view5")


@cache
def fused() -> Estimator:
    return fit(BaselineRecipe(Tmc()), digits())[0]


@cache
def single(view: str) -> Estimator:
    """A softmax network on one view."""
    train = digits().splits["train"]
    network: Network = Softmax()
    return Estimator(network).fit({view: train.views[view]}, train.labels, classes=digits().classes)


def averaged(views: dict[str, npt.NDArray[np.floating]]) -> npt.NDArray[np.float64]:
    """The mean of each view's softmax [n, 10]."""
    return np.mean([single(name).predict_proba({name: values}) for name, values in views.items()], axis=0)


def auroc(shares: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    return float(roc_auc_score(right, shares.max(1)))


@pytest.mark.slow
def test_fused_evidence_is_right_and_calibrated():
    test = digits().splits["test"]
    shares = fused().predict_proba(test.views)
    right = np.array(fused().classes)[shares.argmax(1)] == test.labels
    assert right.mean() >= 0.99
    assert float(ece(count_rows(shares.max(1).clip(0, 1), right), bins=15)) <= 0.015


@pytest.mark.slow
def test_a_swapped_view_raises_the_fused_uncertainty():
    test = digits().splits["test"]
    calm = fused().predict_opinion(test.views).uncertainty.mean()
    for view in SWAPPED:
        clash = conflicting(test.views, [view], test.labels.tolist(), 1.0)
        assert fused().predict_opinion(clash).uncertainty.mean() > 1.2 * calm


@pytest.mark.slow
def test_where_half_the_rows_clash_fused_confidence_tells_right_from_wrong_better_than_averaged_softmax():
    test = digits().splits["test"]
    classes = np.array(fused().classes)
    gains = []
    for view in SWAPPED:
        clash = conflicting(test.views, [view], test.labels.tolist(), 0.5)
        values = [
            auroc(shares, classes[shares.argmax(1)] == test.labels)
            for shares in (fused().predict_proba(clash), averaged(clash))
        ]
        gains.append(values[0] - values[1])
    assert np.mean(gains) > 0.02
