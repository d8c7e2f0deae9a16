"""Labels are what they mean: class numbers get their names, spellings are one label, missing texts are missing."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emocaliber.core.errors import UserError
from emocaliber.core.images import load_image
from emocaliber.core.taxonomy import FER2013_7
from emocaliber.data.labels import MISSING, class_number, doubtful, fold, is_missing, one_spelling, read_labels
from emocaliber.data.layouts import Source, layout_of
from emocaliber.data.rows import Note
from emocaliber.data.sources import PredictionSource
from tests.data import layout_files as files

PICTURES = [{"bytes": files.picture(seed), "path": None} for seed in range(4)]


def labelled(folder: Path, *labels: object) -> Path:
    """JSON Lines of one picture a label."""
    rows = [{"image": files.put(folder / f"{n}.png", n).name, "label": label} for n, label in enumerate(labels)]
    return files.lines(folder / "t.jsonl", rows)


def hub_file(path: Path, column: str, labels: list[object], names: list[str] | None) -> Path:
    table = pa.table({"image": PICTURES[: len(labels)], column: labels})
    if names is not None:
        features = {"image": {"_type": "Image"}, column: {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize("column", ["label", "labels", "emotion"])
def test_class_numbers_of_a_parquet_file_become_the_names_in_its_schema(tmp_path: Path, column: str):
    path = hub_file(tmp_path / "t.parquet", column, [2, 0, 1], ["awe", "fear", "joy"])
    samples = files.read(path)
    assert [s.label for s in samples] == ["joy", "awe", "fear"]
    assert {s.candidates for s in samples} == {("awe", "fear", "joy")}


def test_class_numbers_are_named_by_the_card_beside_the_files_of_a_hub_folder(tmp_path: Path):
    names = "".join(f"            '{n}': {name}\n" for n, name in enumerate(["awe", "fear"]))
    features = f"  features:\n  - name: label\n    dtype:\n      class_label:\n          names:\n{names}"
    (tmp_path / "README.md").write_text(f"---\ndataset_info:\n{features}---\n# Emotions\n")
    hub_file(tmp_path / "data" / "train-00000-of-00001.parquet", "label", [1, 0], None)
    hub_file(tmp_path / "data" / "test-00000-of-00001.parquet", "label", [0], None)
    assert layout_of(tmp_path) == "table"
    rows = [(s.split, s.label) for s in files.read(tmp_path)]
    assert sorted(rows) == [("test", "awe"), ("train", "awe"), ("train", "fear")]


@pytest.mark.parametrize("labels", [(1, 2), (1.0, 2.0), ("1", "2"), (True, False), ("3.0", "happy")])
def test_a_class_number_that_nobody_names_is_a_problem_and_no_label(tmp_path: Path, labels: tuple[object, ...]):
    numbers = [label for label in labels if label != "happy"]
    listed = files.problems(labelled(tmp_path, *labels))
    assert [problem.kind for problem in listed] == ["class number without a name"] * len(numbers)
    assert all("--labels" in problem.fix for problem in listed)


def test_class_folders_named_by_numbers_are_asked_about_and_named_by_an_option(tmp_path: Path):
    source = files.by_class(tmp_path, "train/1", "train/2", "test/1", "test/2", each=1)
    assert {problem.kind for problem in files.problems(source)} == {"class number without a name"}
    samples = files.read(source, labels="1=surprise,2=fear")
    assert sorted((s.split, s.label) for s in samples) == [
        ("test", "fear"), ("test", "surprise"), ("train", "fear"), ("train", "surprise")]  # fmt: skip


def test_numbers_in_votes_are_class_numbers_too(tmp_path: Path):
    files.put(tmp_path / "a.png", 1)
    path = files.lines(tmp_path / "t.jsonl", [{"image": "a.png", "votes": {"0": 3, "1": 1}}])
    assert [problem.kind for problem in files.problems(path)] == ["class number without a name"]
    (sample,) = files.read(path, labels="joy,fear")
    assert (sample.label, sample.votes) == ("joy", {"joy": 3, "fear": 1})


def test_a_label_that_is_declared_may_look_like_a_number(tmp_path: Path):
    files.put(tmp_path / "a.png", 1)
    path = files.lines(tmp_path / "t.jsonl", [{"image": "a.png", "label": "1", "candidates": ["1", "2"]}])
    assert files.read(path)[0].label == "1"


COMPOSED = unicodedata.normalize("NFC", "fröhlich")


@pytest.mark.parametrize(
    "spellings",
    [("Happy", "happy"), (" happy", "happy "), (COMPOSED, unicodedata.normalize("NFD", COMPOSED)),
     ("very happy", "very  happy"),
     ("very happy", "very\u00a0happy"), ("ｈａｐｐｙ", "happy"), ("hap\u200bpy", "happy"),
     ("İğrenme", "iğrenme"), ("KIZGIN", "kızgın"), ("😀\ufe0f", "😀")],
)  # fmt: skip
def test_spellings_that_differ_in_case_spaces_or_composition_are_one_label_and_are_noted(
    tmp_path: Path, spellings: tuple[str, str]
):
    path = labelled(tmp_path, "sad", spellings[0], spellings[1], spellings[1])
    entries = list(Source(str(path)).rows())
    assert len({s.label for s in files.read(path)}) == 2
    assert {s.candidates for s in files.read(path)} == {tuple(sorted(["sad", spellings[1].strip()]))}
    if spellings[0].strip() != spellings[1].strip():
        (note,) = [entry for entry in entries if isinstance(entry, Note)]
        assert repr(spellings[0].strip()) in str(note)
        assert repr(spellings[1].strip()) in str(note)


@pytest.mark.parametrize("text", sorted(MISSING - {""}))
def test_a_text_for_missing_is_no_label_in_any_case(tmp_path: Path, text: str):
    path = files.table(
        tmp_path / "t.csv", ["image", "label"], ["0.png", "joy"], ["1.png", "fear"], ["0.png", text.upper()]
    )
    for number in range(2):
        files.put(tmp_path / f"{number}.png", number)
    (problem,) = files.problems(path)
    assert (problem.kind, problem.place.line) == ("no label", 4)
    assert "--labels" in problem.fix


def test_a_missing_text_with_votes_beside_it_leaves_the_label_to_the_votes(tmp_path: Path):
    files.put(tmp_path / "a.png", 1)
    path = files.table(tmp_path / "t.csv", ["image", "label", "votes.joy", "votes.fear"], ["a.png", "nan", "3.0", "1"])
    assert files.read(path)[0].label == "joy"


def test_none_is_a_label_where_the_data_declares_it(tmp_path: Path):
    path = labelled(tmp_path, "none", "joy")
    assert [s.label for s in files.read(path, labels="joy,none")] == ["none", "joy"]
    rows = [{"image": "0.png", "label": "none", "candidates": ["joy", "none"]}]
    assert files.read(files.lines(tmp_path / "own.jsonl", rows))[0].label == "none"


def test_a_missing_text_is_missing_in_every_column(tmp_path: Path):
    files.put(tmp_path / "a.png", 1)
    columns = ["image", "label", "split", "subject", "id", "group"]
    path = files.table(tmp_path / "t.csv", columns, ["a.png", "joy", "NaN", "null", "N/A", "None"])
    (sample,) = files.read(path, labels="joy,fear")
    assert (sample.split, sample.cluster, sample.id, sample.group) == ("train", "t/1", "t/1", "")


def test_fer2013_is_read_with_its_pixels_and_the_names_of_its_numbers(tmp_path: Path):
    rows = [[0, " ".join(["7"] * 2304), "Training"], [6, " ".join(["9"] * 2304), "PublicTest"]]
    path = files.table(tmp_path / "fer2013.csv", ["emotion", "pixels", "Usage"], *rows)
    assert layout_of(path) == "fer2013"
    first, second = files.read(path)
    assert (first.label, first.split, second.label, second.split) == ("angry", "train", "neutral", "calibrate")
    assert first.candidates == FER2013_7.labels
    picture = load_image(first.image)
    assert picture.size == (48, 48)
    assert picture.getpixel((3, 3)) == (7, 7, 7)
    short = files.table(tmp_path / "short.csv", ["emotion", "pixels"], [1, "1 2 3"])
    assert files.problems(short)[0].kind == "pixels malformed"


def test_the_fold_of_a_text_is_stable_and_numbers_have_one_form():
    assert fold(fold("Très  Heureux")) == fold("TRÈS HEUREUX")
    assert [class_number(v) for v in (2, 2.0, "2", " 2.0 ", True, "joy", 2.5, None)] == [
        "2", "2", "2", "2", "true", None, "2.5", None]  # fmt: skip
    assert is_missing(float("nan"))
    assert not is_missing("calm")
    assert one_spelling({"Joy": 1, "joy": 1, "nan": 5, "3": 2})[0] == ("Joy",)


@pytest.mark.parametrize("text", ["joy", "joy,Joy", "1=joy", ",", "1=joy,2="])
def test_labels_that_are_no_list_are_refused(text: str):
    with pytest.raises(UserError, match="--labels"):
        read_labels(text)


def test_labels_are_listed_or_numbered():
    assert read_labels("joy, fear") == (("joy", "fear"), {"0": "joy", "1": "fear"})
    assert read_labels("1=joy,2=fear,none") == (("joy", "fear", "none"), {"1": "joy", "2": "fear"})


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.json"])
def test_what_python_writes_for_a_missing_label_in_json_is_missing(name: str, tmp_path: Path):
    rows = [{"image": f"{number}.png", "label": label} for number, label in enumerate(["joy", "fear", float("nan")])]
    for number in range(3):
        files.put(tmp_path / f"{number}.png", number)
    text = json.dumps(rows) if name.endswith(".json") else "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / name).write_text(text)
    (problem,) = files.problems(tmp_path / name)
    assert (problem.kind, problem.place.line) == ("no label", 3)


@pytest.mark.parametrize(
    "text",
    [
        "not labeled",
        "N.A",
        "Unannotated",
        "n.d.",
        "TBD",
        "(blank)",
        "[]",
        "''",
        "<unk>",
        "None!",
        "—",
        "...",
        "???",
        "#REF!",
        "#NAME?",
        "#N/V",
        "pd.NA",
        "1.#QNAN",
        "-nan(ind)",
        "inf",
        "skip",
        "Unspecified",
        "keine Angabe",
        "k.A.",
        "sans étiquette",
        "sin etiqueta",
        "desconocido",
        "неизвестно",
        "н/д",
        "未知",
        "なし",
        "없음",
        "Bilinmiyor",
    ],
)
def test_what_annotators_write_for_no_label_is_none(tmp_path: Path, text: str):
    (problem,) = files.problems(labelled(tmp_path, "joy", "fear", text))
    assert problem.kind == "no label"


@pytest.mark.parametrize("labels", [("1.000000e+00", "2.0e+00"), ("True", "False"), ("0.5", ".25"), ("+1", "-1")])
def test_numbers_in_any_notation_are_no_labels(tmp_path: Path, labels: tuple[str, ...]):
    assert {p.kind for p in files.problems(labelled(tmp_path, *labels))} == {"class number without a name"}


@pytest.mark.parametrize("column", ["label_name", "emotion", "class name", "expression"])
def test_a_column_of_names_beside_the_numbers_names_them(tmp_path: Path, column: str):
    for number in range(2):
        files.put(tmp_path / f"{number}.png", number)
    path = files.table(tmp_path / "t.csv", ["image", "label", column], ["0.png", 0, "joy"], ["1.png", 1, "fear"])
    assert [s.label for s in files.read(path)] == ["joy", "fear"]
    assert [s.label for s in files.read(path, labels="joy,fear")] == ["joy", "fear"]


def test_a_list_of_one_label_is_that_label_and_minus_one_of_the_hub_is_none(tmp_path: Path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": PICTURES[:2], "label": [["joy"], ["fear"]]}), path)
    assert [s.label for s in files.read(path)] == ["joy", "fear"]
    (problem,) = files.problems(hub_file(tmp_path / "u.parquet", "label", [0, 1, -1], ["joy", "fear"]))
    assert problem.kind == "no label"


def test_predictions_of_a_hub_file_know_its_class_names(tmp_path: Path):
    path = hub_file(tmp_path / "t.parquet", "label", [0, 1, -1], ["joy", "fear"])
    source = PredictionSource((str(path),), own_labels=("fear", "joy", "sad"))
    samples = list(source.samples(source.checked().splits))
    assert [s.label for s in samples] == ["joy", "fear", None]
    assert samples[0].candidates == ("fear", "joy", "sad")


@pytest.mark.parametrize(
    ("labels", "kind"),
    [(("very-happy", "very_happy"), "two labels or one?"), (("happy.", "happy"), "two labels or one?"),
     (("dégoût", "degout"), "two labels or one?"), (("happy,sad", "happy"), "several labels in one"),
     (("happy|sad", "happy"), "several labels in one")],
)  # fmt: skip
def test_labels_that_may_be_one_or_several_are_problems_that_name_both(
    tmp_path: Path, labels: tuple[str, ...], kind: str
):
    (problem,) = files.problems(labelled(tmp_path, *labels, "sad"))
    assert (problem.kind, problem.droppable) == (kind, False)
    assert repr(labels[0]) in problem.what


def test_words_that_differ_in_letters_or_vowel_signs_are_different_labels():
    for labels in (("calm", "calmer"), ("खुशी", "खुशा"), ("か", "が"), ("😀", "😢"), ("joy, awe", "fear"), ("+", "-")):
        assert not list(doubtful(labels))


def test_two_columns_that_contradict_each_other_are_a_problem_of_the_row(tmp_path: Path):
    files.put(tmp_path / "0.png", 1)
    rows = [["0.png", "joy", "fear"], ["0.png", "fear", "fear"], ["0.png", "joy", "calm"]]
    (problem,) = files.problems(files.table(tmp_path / "t.csv", ["image", "label", "expression"], *rows))
    assert (problem.kind, problem.place.line, problem.key) == ("two labels in one row", 2, "expression")


def test_each_task_of_a_table_has_its_own_labels(tmp_path: Path):
    files.put(tmp_path / "0.png", 1)
    rows = [
        ["0.png", "mood", "good"],
        ["0.png", "mood", "bad"],
        ["0.png", "emotion", "joy"],
        ["0.png", "emotion", "awe"],
    ]
    path = files.table(tmp_path / "t.csv", ["image", "task", "label"], *rows)
    assert {(s.task, s.candidates) for s in files.read(path)} == {
        ("mood", ("bad", "good")),
        ("emotion", ("awe", "joy")),
    }
    predicted = PredictionSource((str(path),), own_labels=()).samples(None)
    assert {s.candidates for s in predicted} == {("bad", "good"), ("awe", "joy")}
