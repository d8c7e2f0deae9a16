"""A review asks for a random sample first, then for the rest, keeps each answer, and ends in a set with a guarantee."""

from __future__ import annotations

import csv
import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.predictions import Prediction, Source, State, write_predictions
from emocaliber.core.samples import FileImage
from emocaliber.reading.tables import Columns
from emocaliber.runs.review import ANSWERS, Phase, Review, open_review, start_review
from emocaliber.runs.review_answers import read_answers
from emocaliber.runs.review_files import STUDIO_FILE, studio_setup, studio_task, write_tasks
from emocaliber.runs.review_journal import UNCLEAR
from emocaliber.runs.review_record import ReviewSettings
from emocaliber.runs.review_result import finished_rows, guarantee, write_result
from emocaliber.runs.review_rows import UNSURE, Item, read_rows

LABELS = ("anger", "fear", "joy")


def rows_and_truth(n: int = 300, seed: int = 0) -> tuple[list[Prediction], dict[str, str]]:
    """Calibrated predictions without truth, and what people would say. Two rows are unreadable, one is labelled."""
    rng = np.random.default_rng(seed)
    rows, truth = [], {}
    for number in range(n):
        name, confidence, right = f"{number:03}.png", round(float(rng.beta(5, 1)), 2), str(rng.choice(LABELS))
        said: str | None = right if rng.random() < confidence else str(rng.choice(LABELS))
        state, given = State.OK, None
        if number < 2:
            said, state = None, State.MISSING_LABEL
        elif number == 2:
            given = right
        truth[name] = right
        rows.append(Prediction(name, "faces", "", name, given, said, confidence, state, Source.VERBALIZED, "m"))
    return rows, truth


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    write_predictions(tmp_path / "answers.jsonl", rows_and_truth()[0])
    return tmp_path / "answers.jsonl"


TRUTH = rows_and_truth()[1]


def begun(predictions: Path, **settings: Any) -> Review:
    return start_review(predictions.parent / "review", predictions, ReviewSettings(0.05, 0.95, seed=1, **settings))


def answer_queue(review: Review) -> list[str]:
    names = [item.id for item in review.queue()]
    review.answer({name: TRUTH[name] for name in names})
    return names


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


def test_files_that_people_send_back_are_read(tmp_path: Path):
    files = {
        "filled.csv": "id;answer\na.png;joy\nb.png;\n",
        "filled.jsonl": '{"id":"a.png","answer":"joy"}\n{"id":"b.png","answer":null}\n',
        "min.json": '[{"id":17,"row":"a.png","emotion":"joy","annotator":1}]',
        "studio.csv": "annotator,emotion,id,row\n1,joy,17,a.png\n",
        "studio.json": json.dumps(
            [
                {"id": 17, "data": {"row": "a.png"}, "annotations": [
                    {"was_cancelled": False, "result": [{"type": "choices", "value": {"choices": ["joy"]}}]}]},
                {"id": 18, "data": {"row": "b.png"}, "annotations": [{"was_cancelled": True, "result": []}]},
            ]
        ),
    }  # fmt: skip
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        assert read_answers(tmp_path / name) == {"a.png": "joy"}, name
    (tmp_path / "two.csv").write_text("id,answer\na,joy\na,fear\n")
    with pytest.raises(UserError, match=r"two\.csv, line 3: row 'a' is answered 'fear' here and 'joy' in line 2"):
        read_answers(tmp_path / "two.csv")
    (tmp_path / "none.csv").write_text("name,said\na,joy\n")
    with pytest.raises(UserError, match="no column row or id; there are name, said"):
        read_answers(tmp_path / "none.csv")


def test_label_studio_gets_the_score_that_sorts_its_queue_and_answers_come_back(predictions: Path):
    review = begun(predictions)
    answer_queue(review)
    queue = review.queue()
    pictures = {item.id: FileImage(Path("photos"), f"a b/{item.id}") for item in queue}
    write_tasks(review.folder, queue, pictures, UNCLEAR)
    tasks = json.loads((review.folder / STUDIO_FILE).read_text())
    assert tasks[5]["data"]["picture"] == f"/data/local-files/?d=a%20b/{queue[5].id}"
    assert tasks[5]["predictions"][0]["score"] == queue[5].score
    assert tasks[5]["predictions"][0]["result"][0]["value"]["choices"] == [queue[5].predicted]
    for task in tasks:
        chosen = {"type": "choices", "value": {"choices": [TRUTH[task["data"]["row"]]]}}
        task["annotations"] = [{"result": [chosen], "was_cancelled": False}]
    (predictions.parent / "export.json").write_text(json.dumps(tasks))
    review.answer(read_answers(predictions.parent / "export.json"))
    assert review.phase is Phase.DONE


def test_label_studio_s_setup_escapes_labels_and_gives_each_a_key():
    setup = studio_setup(['"<joy>"', *map(str, range(30))])
    assert "&lt;joy&gt;" in setup
    keys = re.findall(r'hotkey="(.)"', setup)
    assert len(keys) == len(set(keys)) == 20


def test_a_picture_that_is_no_file_travels_in_the_task():
    picture = BytesIO()
    Image.new("RGB", (8, 8)).save(picture, "PNG")
    item = Item("x", LABELS, UNSURE, 0.5, "joy", {})
    assert studio_task(item, picture.getvalue())["data"]["picture"].startswith("data:image/png;base64,")
    assert studio_task(item, None)["data"]["picture"] == "x"


def fill_in(folder: Path, only: int | None = None) -> None:
    """As a person does, in a spreadsheet, in place."""
    with (folder / "tasks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[:only]:
        row["answer"] = TRUTH[row["id"]]
    with (folder / "tasks.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def test_the_command_from_beginning_to_end(predictions: Path, capsys: pytest.CaptureFixture[str]):
    folder = predictions.parent / "out"
    command = ["review", str(predictions), "--out", str(folder), "--pictures", str(predictions.parent)]
    assert main(command) == 0
    assert "Step 1 of 2" in capsys.readouterr().out
    fill_in(folder, only=10)
    assert main(["review", str(folder)]) == 0
    assert "10 answers, 10 of them new" in capsys.readouterr().out
    assert (folder / "tasks-answered-1.csv").is_file()
    fill_in(folder)
    assert main(command) == 0  # the first command goes on too
    assert "Step 2 of 2" in capsys.readouterr().out
    fill_in(folder)
    assert main(["review", str(folder), "--set", "labels.parquet"]) == 0
    assert "At most 5 % of these 300 labels are wrong" in capsys.readouterr().out
    table = pq.read_table(folder / "labels.parquet")
    assert table.column_names == ["id", "label", "source", "confidence", "model"]
    assert table.num_rows == 300
    assert json.loads((folder / "guarantee.json").read_text())["certainty_reached"] >= 0.95
    assert main(["review", str(folder)]) == 0
    assert len((folder / "labels.csv").read_text().splitlines()) == 301


def test_the_command_says_what_is_wrong(predictions: Path, capsys: pytest.CaptureFixture[str]):
    folder = predictions.parent
    write_predictions(
        folder / "labelled.jsonl", [msgspec.structs.replace(row, truth="joy") for row in rows_and_truth()[0]]
    )
    (folder / "plain.csv").write_text("confidence\n0.5\n")
    for arguments, message in [
        ([str(predictions)], "give a folder for the review"),
        ([str(folder / "labelled.jsonl"), "--out", str(folder / "a")], "every row has a label already"),
        ([str(folder / "plain.csv"), "--out", str(folder / "b")], "no column says what the model answered"),
        ([str(folder / "gone.csv"), "--out", str(folder / "c")], "there is no such file"),
        ([str(predictions), "--out", str(folder / "d"), "--set", "x.xls"], "ends in .csv, .jsonl or .parquet"),
        ([str(predictions), "--out", str(folder / "f"), "--port", "0"], "--port 0 needs --page"),
        ([str(predictions), "--simulate"], "has no label; a simulation needs one"),
        (
            [str(predictions), "--out", str(folder / "e"), "--labels", "joy,awe"],
            "names 'anger', which --labels does not",
        ),
    ]:
        assert main(["review", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert not any((folder / name).exists() for name in "abcdef")


def test_labels_and_pictures_are_those_that_predict_was_given(predictions: Path):
    """Where the model named none of them, a person could not choose."""
    rows = [msgspec.structs.replace(row, predicted=None, state=State.UNKNOWN_LABEL, truth=None)
            for row in rows_and_truth(20)[0]]  # fmt: skip
    write_predictions(predictions, rows)
    folder = predictions.parent
    assert main(["review", str(predictions), "--out", str(folder / "a")]) == 2
    (folder / "photos").mkdir()
    (folder / "answers.jsonl.answers").mkdir()
    manifest = {"settings": {"source": [str(folder / "photos")], "labels": "joy,fear"}}
    (folder / "answers.jsonl.answers" / "manifest.json").write_text(json.dumps(manifest))
    assert main(["review", str(predictions), "--out", str(folder / "b")]) == 0
    review = open_review(folder / "b")
    assert {item.labels for item in review.queue()} == {("joy", "fear")}
    assert review.record.pictures == [str(folder / "photos")]


def test_a_simulation_writes_nothing_and_says_what_would_have_been_saved(
    predictions: Path, capsys: pytest.CaptureFixture[str]
):
    rows, truth = rows_and_truth()
    write_predictions(predictions, [msgspec.structs.replace(row, truth=truth[row.id]) for row in rows])
    before = sorted(predictions.parent.iterdir())
    assert main(["review", str(predictions), "--simulate", "--error", "5%"]) == 0
    said = capsys.readouterr().out
    [looked_at] = re.findall(r"people look at (\d+) rows", said)
    assert 0 < int(looked_at) < 300
    [broken] = re.findall(r"simulated reviews (\d+) left", said)
    assert int(broken) <= 25
    assert sorted(predictions.parent.iterdir()) == before


def test_a_table_with_columns_of_other_names_is_reviewed_and_goes_on_without_the_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows, _ = rows_and_truth(60)
    table = tmp_path / "answers.csv"
    with table.open("w", newline="") as file:
        csv.writer(file).writerows([("Foto", "Said", "Sure"), *((r.id, r.predicted, r.confidence) for r in rows)])
    named = ["--confidence-column", "Sure", "--prediction-column", "Said", "--id-column", "Foto"]
    folder = tmp_path / "review"
    assert main(["review", str(table), "--out", str(folder), *named]) == 0
    assert main(["review", str(folder)]) == 0
    assert main(["review", str(table), "--out", str(folder)]) == 0
    assert len(open_review(folder).rows) == 60
    assert "60 rows" in capsys.readouterr().out
    assert main(["review", str(table), "--confidence-column", "Sure", "--out", str(tmp_path / "other")]) == 2
    assert "name it with --prediction-column" in capsys.readouterr().err


def test_a_log_that_names_no_labels_is_reviewed_with_those_given(tmp_path: Path):
    log = tmp_path / "samples.jsonl"
    said = [{"doc_id": n, "doc": {}, "target": "joy", "resps": [["joy, 90 %"]], "filtered_resps": ["joy, 90 %"],
             "arguments": {}, "filter": "none"} for n in range(4)]  # fmt: skip
    log.write_text("".join(json.dumps(row) + "\n" for row in said))
    read = read_rows(log, Columns(labels=LABELS))
    assert [row.predicted for row in read.values()] == ["joy"] * 4


def commanded(predictions: Path) -> Review:
    """A review that the command started."""
    folder = predictions.parent / "commanded"
    assert main(["review", str(predictions), "--seed", "1", "--out", str(folder)]) == 0
    return open_review(folder)


STUDIO = {"data": {"row": "a.png"}, "annotations": [{"result": [{"type": "choices", "value": {"choices": ["joy"]}}]}]}


@pytest.mark.parametrize(
    ("edited", "message"),
    [
        ({"annotations": "joy"}, r"task 2, annotations: expected `array \| null`, got `str`; .* mend this key"),
        ({"annotations": [{"result": {}}]}, r"task 2, annotations\[0\]\.result: expected"),
        ({"annotations": [{"result": [{"type": "choices", "value": {}}]}]}, "task 2: row 'a.png': choices is None"),
        (
            {"annotations": [{"result": [{"type": "choices", "value": {"choices": [3]}}]}]},
            r"row 'a.png': choices is \[3\]; a list of one label is needed",
        ),
        (
            {"annotations": [{"result": [{"type": "choices", "value": {"choices": ["joy", "fear"]}}]}]},
            r"row 'a.png' has 2 choices \(joy, fear\); leave one of them",
        ),
        (
            {"annotations": [{"result": [{"type": "choices", "from_name": "mood", "value": {"choices": ["joy"]}}]}]},
            "the choice is called 'mood'; .* it is 'emotion': rename from_name",
        ),
        (
            {"annotations": [{"result": [{"type": "choices", "value": {"choices": ["fear"]}}]}]},
            "task 2: row 'a.png' is answered 'fear' here and 'joy' in task 1; leave one of them",
        ),
        ({"data": {}}, "task 2: no data.row says which row it is"),
        ({"data": None}, "task 2, data: expected `object`, got `null`"),
    ],
)
def test_an_export_that_was_edited_by_hand_is_refused_with_task_and_key(
    tmp_path: Path, edited: dict[str, Any], message: str
):
    (tmp_path / "export.json").write_text(json.dumps([STUDIO, STUDIO | edited]))
    with pytest.raises(UserError, match=message):
        read_answers(tmp_path / "export.json")


def test_other_controls_of_an_export_are_passed_over(tmp_path: Path):
    result = [
        {"type": "rating", "from_name": "quality", "value": {"rating": 3}},
        {"type": "choices", "from_name": "age", "value": {"choices": ["old", "tired"]}},
        {"type": "choices", "from_name": "emotion", "value": {"choices": ["joy"]}},
    ]
    (tmp_path / "export.json").write_text(json.dumps([STUDIO | {"annotations": [{"result": result}]}]))
    assert read_answers(tmp_path / "export.json") == {"a.png": "joy"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("id,answer\n{0},joy\n{0},fear\n", "line 3: row .* is answered 'fear' here and 'joy' in line 2"),
        ("id,answer\n{0},joy\n{1},joi\n", "line 3: row .*: 'joi' is not among the labels; did you mean 'joy'"),
        ("id,answer\n{0},joy\nzzz,joy\n", "line 3: there is no row 'zzz' in .*answers.jsonl"),
        ("id,answer\n{0},joy\n002.png,joy\n", "line 3: row '002.png' has the label .* already, in .*; leave it out"),
        ("id,answer\n{0},joy\n,fear\n", "line 3: 'id' is empty; write the id of the row that is 'fear'"),
        ("id,answer\n{0},joy\n{1}\n", "line 3: it has 1 fields, the header 2"),
    ],
)
def test_a_mistake_in_a_table_of_answers_is_named_with_its_line_and_nothing_is_kept(
    predictions: Path, capsys: pytest.CaptureFixture[str], text: str, message: str
):
    review = commanded(predictions)
    table = predictions.parent / "theirs.csv"
    table.write_text(text.format(*review.record.sample))
    assert main(["review", str(review.folder), "--answers", str(table)]) == 2
    said = capsys.readouterr().err
    assert re.search(rf"theirs\.csv, {message}", said), said
    assert open_review(review.folder).answers == {}


def test_a_person_who_stopped_in_the_middle_is_asked_about_the_rest(
    predictions: Path, capsys: pytest.CaptureFixture[str]
):
    review = commanded(predictions)
    first, *others = review.record.sample
    table = predictions.parent / "half.csv"
    table.write_text("id,answer\n" + f"{first},joy\n" + "".join(f"{name},\n" for name in others))
    assert main(["review", str(review.folder), "--answers", str(table)]) == 0
    said = capsys.readouterr().out
    assert f"1 answer, 1 of them new; {len(others)} without an answer, asked again" in said
    assert [item.id for item in open_review(review.folder).queue()] == others


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sample", "7"], "--sample 7: .* rows were drawn when this review started"),
        (["--sample", "3O"], "--sample 3O: this is neither a whole number nor a file"),
        (["--seed", "7"], "--seed 7: the sample of this review was drawn with 1"),
        (["--confidence-column", "sure"], "the columns were named when this review started"),
        (["--percent"], "the columns were named when this review started"),
        (["--labels", "joy,fear"], r"answers\.jsonl: row .* names 'anger', which --labels does not"),
        (["--error", "0.1"], "another promise needs a sample"),
    ],
)
@pytest.mark.parametrize("again", [False, True])
def test_what_a_begun_review_cannot_change_is_refused(
    predictions: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str, again: bool
):
    folder = commanded(predictions).folder
    before = (folder / "review.json").read_bytes()
    command = [str(predictions), "--out", str(folder)] if again else [str(folder)]
    assert main(["review", *command, *options]) == 2
    assert re.search(message, capsys.readouterr().err)
    assert (folder / "review.json").read_bytes() == before


def test_labels_and_pictures_may_be_named_later(predictions: Path):
    review = commanded(predictions)
    same = ["--sample", str(len(review.record.sample)), "--seed", "1"]
    (predictions.parent / "photos").mkdir()
    Image.new("RGB", (8, 8)).save(predictions.parent / "photos" / review.record.sample[0])
    named = ["--labels", "joy,anger,fear,awe", "--pictures", str(predictions.parent / "photos")]
    assert main(["review", str(review.folder), *same, *named]) == 0
    later = open_review(review.folder)
    assert later.record.sample == review.record.sample
    assert later.queue()[0].labels == ("joy", "anger", "fear", "awe")
    with (review.folder / "tasks.csv").open() as file:
        assert next(csv.DictReader(file))["picture"].endswith(review.record.sample[0])
    (predictions.parent / "awe.csv").write_text(f"id,answer\n{review.record.sample[0]},awe\n")
    assert main(["review", str(review.folder), "--answers", str(predictions.parent / "awe.csv")]) == 0
    assert main(["review", str(review.folder), "--labels", "joy,anger,fear"]) == 2  # somebody said awe
    assert main(["review", str(predictions), "--out", str(review.folder)]) == 0  # what was named stays
    assert open_review(review.folder).record.labels == ["joy", "anger", "fear", "awe"]


def labelled_sample(predictions: Path, size: int) -> Path:
    """A table of rows that somebody drew and labelled, some of them in the predictions' own file too."""
    rows = [row for row in rows_and_truth()[0] if row.truth is None]
    drawn = np.random.default_rng(4).choice(len(rows), size, replace=False)
    names = {rows[index].id for index in drawn}
    known = [msgspec.structs.replace(row, truth=TRUTH[row.id]) if row.id in names and number % 2 else row
             for number, row in enumerate(rows_and_truth()[0])]  # fmt: skip
    write_predictions(predictions, known)
    table = predictions.parent / "mine.csv"
    table.write_text("id,label\n" + "".join(f"{name},{TRUTH[name]}\n" for name in sorted(names)))
    return table


def test_a_sample_that_was_labelled_before_is_not_asked_again(predictions: Path, capsys: pytest.CaptureFixture[str]):
    table, folder = labelled_sample(predictions, 120), predictions.parent / "out"
    command = ["review", str(predictions), "--sample", str(table), "--out", str(folder)]
    assert main(command) == 0
    assert "Step 2 of 2" in capsys.readouterr().out
    review = open_review(folder)
    assert review.phase is Phase.REST
    assert review.record.allowed >= 0
    assert set(review.record.sample) <= set(review.answers)
    assert not set(review.record.sample) & {item.id for item in review.queue()}
    fill_in(folder)
    assert main(command) == 0
    finished = finished_rows(open_review(folder))
    assert sum(row["label"] != TRUTH[row["id"]] for row in finished) <= 15
    facts = json.loads((folder / "guarantee.json").read_text())
    assert facts["looked_at"] + facts["labels_from_model"] + facts["given"] == 300
    assert "mine.csv, was drawn at random from all these rows, by you" in (folder / "guarantee.md").read_text()
    other = predictions.parent / "other.csv"
    other.write_text(table.read_text())
    assert main(["review", str(folder), "--sample", str(other)]) == 2
    assert "the sample of this review came from" in capsys.readouterr().err


def test_a_labelled_sample_with_mistakes_starts_no_review(predictions: Path, capsys: pytest.CaptureFixture[str]):
    table, folder = labelled_sample(predictions, 20), predictions.parent / "out"
    right = table.read_text()
    for text, message in [
        (right + "zzz,joy\n", "mine.csv, line 22: there is no row 'zzz'"),
        (right.replace(",joy", ",joi", 1), "'joi' is not among the labels; did you mean 'joy'"),
        (right + right.splitlines()[1].partition(",")[0] + ",awe\n", "leave one of them"),
        ("id,label\nx,joy\n", "none of its 1 labels is of a row that the model answered"),
    ]:
        table.write_text(text)
        assert main(["review", str(predictions), "--sample", str(table), "--out", str(folder)]) == 2
        assert message in capsys.readouterr().err
        assert not (folder / "review.json").exists()
    table.write_text(right)
    assert main(["review", str(predictions), "--sample", str(table), "--out", str(folder)]) == 0
    assert "A sample of 20 vouches for no label at this promise" in capsys.readouterr().out


def test_a_simulation_refuses_what_only_a_review_has(predictions: Path, capsys: pytest.CaptureFixture[str]):
    folder = begun(predictions).folder
    for options, message in [
        (["--out", "x"], "--out has no meaning with --simulate"),
        (["--page"], "--page has no meaning with --simulate"),
        (["--port", "0"], "--port has no meaning with --simulate"),
        (["--sample", str(predictions)], "--simulate draws its samples itself"),
    ]:
        assert main(["review", str(predictions), "--simulate", *options]) == 2
        assert message in capsys.readouterr().err
    assert main(["review", str(folder), "--simulate"]) == 2
    assert "is a review" in capsys.readouterr().err


def test_labels_that_differ_in_case_alone_are_refused(predictions: Path):
    rows = rows_and_truth(20)[0]
    rows[5] = msgspec.structs.replace(rows[5], predicted="Joy")
    write_predictions(predictions, rows)
    with pytest.raises(UserError, match=r"answers.jsonl: row .* names '[jJ]oy', row .* '[jJ]oy'; spell them alike"):
        begun(predictions)
