"""Scorecards of synthetic predictions, built once for all tests of the reports."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Scorecard
from emocaliber.reporting.run_report import write_run_report
from emocaliber.reporting.run_summary import RunSummary
from emocaliber.reporting.score_report import write_score_report
from tests.reporting.pages import Page
from tests.reporting.synthetic import FAST, STAGE_2, STATED, predictions, run_of, run_rows


@pytest.fixture(scope="session")
def single() -> Scorecard:
    """One method, calibrated, a few rows unusable, thresholds from calibration rows."""
    return build_scorecard(
        {"tiny": predictions("tiny", unusable=0.05, votes=True)},
        calibration={"tiny": predictions("tiny", 200, seed=5)},
        settings=FAST,
    )


@pytest.fixture(scope="session")
def pair() -> Scorecard:
    """Two methods on the same samples, the second over-confident."""
    return build_scorecard(
        {"calibrated": predictions("calibrated"), "over-confident": predictions("over-confident", sharpness=0.3)},
        settings=FAST,
    )


@pytest.fixture(scope="session")
def run() -> RunSummary:
    """A run of three stages."""
    rows = {name: [structs.replace(row, group="") for row in own] for name, own in run_rows().items()}
    calibration = {name: predictions(name, 120, seed=5) for name in (STAGE_2, STATED)}
    settings = replace(FAST, replicates=20, interval="percentile")
    card = build_scorecard(rows, calibration=calibration, settings=settings)
    return run_of(card, rows[STATED], lambda name: f"<answer>happy</answer><confidence>0.5</confidence> {name}")


@pytest.fixture(scope="session")
def single_page(single: Scorecard, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of one method."""
    return Page(write_score_report(single, tmp_path_factory.mktemp("single")).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def pair_page(pair: Scorecard, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of two methods."""
    return Page(write_score_report(pair, tmp_path_factory.mktemp("pair")).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def run_folder(run: RunSummary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the report of the run was written."""
    return write_run_report(run, tmp_path_factory.mktemp("run")).parent


@pytest.fixture(scope="session")
def run_page(run_folder: Path) -> Page:
    """The report of the run."""
    return Page((run_folder / "report.html").read_text(encoding="utf-8"))
