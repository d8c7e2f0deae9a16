"""Prediction sets in the scorecard: values by hand, by stratum, and a row without a set, which is worse than any."""

from dataclasses import replace

import pytest
from msgspec import structs

from emocaliber.core.predictions import Held, Prediction, Reason, Source, State
from emocaliber.evaluation.compute import DEFAULTS, build_scorecard
from emocaliber.evaluation.scorecard import Scorecard


def row(number: int, truth: str, held: tuple[str, ...], votes: dict[str, int]) -> Prediction:
    return Prediction(
        str(number), "faces", "", "", truth, "joy", 0.5, State.OK, Source.LOGPROB, "model", votes,
        prediction_set=held, set_coverage=0.9, set_holds=Held.LABEL,
    )  # fmt: skip


ROWS = [
    row(1, "joy", ("joy",), {"joy": 4}),
    row(2, "joy", ("fear",), {"joy": 3, "fear": 1}),
    row(3, "fear", ("joy", "fear"), {"joy": 1, "fear": 2, "anger": 1}),
    row(4, "anger", (), {"anger": 4}),
]


def judged(rows: list[Prediction]) -> Scorecard:
    return build_scorecard({"model": rows}, settings=replace(DEFAULTS, replicates=50))


def test_the_values_are_those_counted_by_hand() -> None:
    every = judged(ROWS).method("model").find("all")
    values = {name: every[name].value for name in every.headline if name.startswith("set_")}
    assert values == pytest.approx(
        {
            "set_promise": 0.9,
            "set_coverage": 2 / 4,
            "set_rater_coverage": (1 + 1 / 4 + 3 / 4 + 0) / 4,
            "set_size": 1.0,
            "set_singletons": 2 / 4,
            "set_empty": 1 / 4,
            "set_singleton_accuracy": 1 / 2,
        }
    )


def test_every_stratum_of_agreement_has_its_coverage() -> None:
    method = judged(ROWS).method("model")
    assert method.find("stratum", "unanimous")["set_coverage"].value == pytest.approx(1 / 2)
    assert method.find("stratum", "no majority")["set_coverage"].value == pytest.approx(1.0)


def test_leaving_out_a_set_never_improves_a_headline_value() -> None:
    without = [structs.replace(ROWS[0], prediction_set=None, set_coverage=None, set_holds=None), *ROWS[1:]]
    before, after = (judged(rows).method("model").find("all") for rows in (ROWS, without))
    assert float(after["set_coverage"]) < float(before["set_coverage"])
    assert float(after["set_size"]) > float(before["set_size"])
    assert float(after["set_promise"]) == pytest.approx(0.9)


def test_reference_methods_have_no_sets() -> None:
    references = [method for method in judged(ROWS).methods if method.role == "reference"]
    assert references
    assert not any("set_coverage" in method.find("all").headline for method in references)


def test_the_shares_of_reasons_count_every_row() -> None:
    reasons = (Reason.CLEAR, Reason.AMBIGUOUS, Reason.UNFAMILIAR, None)
    rows = [structs.replace(row, reason=reason) for row, reason in zip(ROWS, reasons, strict=True)]
    every = judged(rows).method("model").find("all")
    assert [every[f"reason_{reason}"].value for reason in Reason] == pytest.approx([0.25, 0.25, 0.25])
