"""The sentences say what the values say, and say plainly what is undefined."""

from __future__ import annotations

from msgspec.structs import replace

from emocaliber.core.predictions import Prediction, Source, State
from emocaliber.evaluation.compute import build_scorecard
from emocaliber.evaluation.scorecard import Difference, Scorecard
from emocaliber.reporting.words import (
    accuracy_sentences,
    calibration_sentences,
    constant_sentence,
    reliability_sentence,
    scored_sentence,
)
from tests.reporting.synthetic import FAST, predictions


def card_of(rows: list[Prediction]) -> Scorecard:
    return build_scorecard({"m": rows}, settings=FAST)


def test_the_opening_counts_the_samples_and_gives_the_accuracy_with_its_interval(pair: Scorecard):
    scores = pair.method("calibrated").find("all")
    accuracy = scores.headline["accuracy"]
    words = accuracy_sentences(scores, pair.settings)
    assert "The model answered 240 samples." in words
    assert f"Its accuracy is {100 * accuracy.value:.0f} %" in words
    assert f"{100 * accuracy.low:.0f} to {100 * accuracy.high:.0f} %" in words


def test_the_opening_quotes_the_fullest_bin(pair: Scorecard):
    scores = pair.method("calibrated").find("all")
    fullest = max(scores.curves.reliability, key=lambda point: point.count)
    words = accuracy_sentences(scores, pair.settings)
    assert f"confidence of about {fullest.mean_confidence:.2f} ({fullest.count:,} answers)" in words
    assert f"{100 * fullest.accuracy:.0f} % were correct" in words


def test_missing_answers_are_said_first(single: Scorecard):
    scores = single.method("tiny").find("all")
    assert scores.n_answered < scores.n
    words = accuracy_sentences(scores, single.settings)
    assert f"was asked about 240 samples and gave a usable answer to {scores.n_answered}" in words
    assert "the others count as wrong" in words


def test_a_task_is_named(single: Scorecard):
    assert "(task “emoji”)" in accuracy_sentences(single.method("tiny").find("task", "emoji"), single.settings)


def test_few_answers_are_not_quoted():
    scores = card_of(predictions("m", 12)).method("m").find("all")
    assert "nothing can be said about its confidence" in accuracy_sentences(scores, FAST)


def test_one_class_makes_auroc_undefined_and_the_words_say_so():
    rows = [replace(row, predicted=row.truth) for row in predictions("m", 40)]
    assert "AUROC is undefined here" in calibration_sentences(card_of(rows).method("m").find("all"))


def test_no_usable_answer_at_all_is_no_error():
    rows = [replace(row, confidence=None, state=State.MISSING_CONFIDENCE) for row in predictions("m", 40)]
    words = accuracy_sentences(card_of(rows).method("m").find("all"), FAST)
    assert "gave a usable answer to 0" in words


def test_the_constant_is_named_with_both_brier_scores(pair: Scorecard):
    own = pair.method("calibrated").find("all")
    constant = pair.method("constant per task (calibrated)")
    words = constant_sentence(constant, Difference(-0.05, -0.06, -0.04), own, constant.find("all"))
    assert f"{constant.find('all').headline['brier'].value:.3f}" in words
    assert "(an oracle)" in words
    assert f"{own.headline['brier'].value:.3f}: clearly better" in words


def test_points_inside_their_bands_are_counted(pair: Scorecard):
    good, bad = (pair.method(name).find("all") for name in ("calibrated", "over-confident"))
    assert int(reliability_sentence(good).split()[0]) > int(reliability_sentence(bad).split()[0])


def test_what_was_judged_and_how_many_answers_were_unusable_is_said(single: Scorecard):
    scores = single.method("tiny").find("all")
    words = scored_sentence(single.method("tiny"))
    assert "“tiny”: verbalized confidences, read from the answers" in words
    assert f"{240 - scores.n_answered} of 240 answers unusable ({240 - scores.n_answered} missing confidence)" in words


def test_token_probabilities_are_not_taken_for_what_the_model_wrote():
    rows = predictions("m", 40, source=Source.LOGPROB)
    assert "token probabilities of the labels, not what the model wrote" in scored_sentence(card_of(rows).method("m"))
