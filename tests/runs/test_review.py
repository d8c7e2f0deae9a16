"""A review asks for a random sample first, then for the rest, keeps each answer, and ends in a set with a guarantee."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.predictions import write_predictions
from emocaliber.runs.review import ANSWERS, Phase, open_review, start_review
from emocaliber.runs.review_journal import UNCLEAR
from emocaliber.runs.review_record import ReviewSettings
from emocaliber.runs.review_result import finished_rows, guarantee, write_result
from tests.runs.reviews import TRUTH, answer_queue, begun, rows_and_truth


def test_from_the_draw_to_the_finished_set(predictions: Path):
    review = begun(predictions)
    drawn = answer_queue(review)
    assert sorted(drawn) == sorted(review.record.sample)
    assert review.phase is Phase.REST
    rest = answer_queue(review)
    assert {"000.png", "001.png"} <= set(rest)
    assert not set(rest) & set(drawn)
    assert review.phase is Phase.DONE
    facts = write_result(review, "labels.csv")
    finished = finished_rows(review)
    assert [row["id"] for row in finished] == list(TRUTH)
    wrong = sum(row["label"] != TRUTH[row["id"]] for row in finished)
    assert wrong <= 15 == facts["errors_at_most"]
    assert facts["looked_at"] == len(drawn) + len(rest) < 300
    assert facts["looked_at"] + facts["labels_from_model"] + facts["given"] == 300
    assert {row["source"] for row in finished if row["label"] != TRUTH[row["id"]]} == {"model"}
    assert finished[2]["source"] == "given"
    assert facts["mistakes_in_sample_among_kept"] <= facts["mistakes_allowed_among_kept"]


def test_the_sample_is_asked_without_what_the_model_says_and_the_rest_with_it_most_doubtful_first(predictions: Path):
    review = begun(predictions)
    assert {(item.predicted, len(item.shares)) for item in review.queue()} == {(None, 0)}
    answer_queue(review)
    queue = review.queue()
    assert {item.id for item in queue[:2]} == {"000.png", "001.png"}
    scores = [item.score for item in queue[2:]]
    assert scores == sorted(scores, key=lambda score: score or 0.0)
    assert all(item.predicted for item in queue[2:])


@pytest.mark.parametrize("cut", [0, 7])
def test_answers_survive_any_end(predictions: Path, cut: int):
    review = begun(predictions)
    first, second = review.record.sample[:2]
    review.answer({first: "joy"})
    review.answer({second: "fear"})
    review.answer({second: None})
    review.answer({second: "anger"})
    journal = review.folder / ANSWERS
    if cut:
        with journal.open("ab") as file:
            file.write(b'{"id":"'[:cut])
    again = open_review(review.folder)
    assert again.answers == {first: "joy", second: "anger"}
    again.answer({first: UNCLEAR})
    assert open_review(review.folder).answers == {first: UNCLEAR, second: "anger"}


def test_a_person_who_cannot_tell_counts_as_a_mistake_of_the_model(predictions: Path):
    review = begun(predictions)
    review.answer(dict.fromkeys(review.record.sample, UNCLEAR))
    kept = review.kept()
    assert sum(kept[name] for name in review.record.sample) == review.record.allowed
    answer_queue(review)
    write_result(review, "labels.jsonl")
    labels = [json.loads(line) for line in (review.folder / "labels.jsonl").read_text().splitlines()]
    assert sum(row["label"] is None for row in labels) == len(review.record.sample) == guarantee(review)["unclear"]


def test_other_predictions_or_another_promise_are_refused(predictions: Path):
    review = begun(predictions)
    with pytest.raises(UserError, match="another promise needs a sample that nobody has seen"):
        start_review(review.folder, predictions, ReviewSettings(0.1, 0.95))
    write_predictions(predictions, rows_and_truth(seed=5)[0])
    with pytest.raises(UserError, match="these are not the predictions that"):
        open_review(review.folder)


def test_wrong_answers_are_refused_and_none_of_their_file_is_kept(predictions: Path):
    review = begun(predictions)
    name = review.record.sample[0]
    for given, message in [
        ({name: "joy", "nowhere.png": "joy"}, "there is no row 'nowhere.png'"),
        ({name: "joi"}, "did you mean 'joy'"),
        ({name: "joy", "002.png": "joy"}, "has the label .* already"),
    ]:
        with pytest.raises(UserError, match=message):
            review.answer(given)
    assert review.answers == {}
    assert review.answer({name: " Joy "}) == 1
    assert review.answers[name] == "joy"


def test_labels_that_differ_in_case_alone_are_refused(predictions: Path):
    rows = rows_and_truth(20)[0]
    rows[5] = msgspec.structs.replace(rows[5], predicted="Joy")
    write_predictions(predictions, rows)
    with pytest.raises(UserError, match=r"answers.jsonl: row .* names '[jJ]oy', row .* '[jJ]oy'; spell them alike"):
        begun(predictions)
