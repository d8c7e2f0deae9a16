"""EMOCALIBER_MODEL answers `predict` where no model, adapter or server is named, and nowhere else."""

from __future__ import annotations

import pytest

from emocaliber.models.location import TINY_ADAPTER
from emocaliber.runs.engines import with_default
from emocaliber.runs.prediction_settings import PredictSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMOCALIBER_MODEL", str(TINY_ADAPTER))


def test_the_environments_adapter_answers_where_nothing_is_named() -> None:
    settings = with_default(PredictSettings(("photos",)))
    assert (settings.model, settings.adapter) == (None, str(TINY_ADAPTER))
    assert not settings.is_embedded


@pytest.mark.parametrize(
    "settings",
    [
        PredictSettings(("photos",), model="tiny"),
        PredictSettings(("photos",), adapter="mine"),
        PredictSettings(("photos",), model="served", url=("http://127.0.0.1:8000",)),
    ],
)
def test_what_is_named_goes_before_the_environment(settings: PredictSettings) -> None:
    assert with_default(settings) == settings
