"""Tables as tools write them: encodings, byte-order marks, delimiters, line ends, gzip, Windows' names."""

from __future__ import annotations

import base64
import gzip
import json
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emocaliber.core.images import ImageError, read_image_bytes
from emocaliber.core.samples import FileImage
from emocaliber.data.layouts import Source, layout_of
from emocaliber.data.rows import Defaults, Note, Row
from emocaliber.data.sources import PredictionSource
from emocaliber.data.tables import read_table
from tests.data import layout_files as files

ROWS = [("0.png", "happy"), ("1.png", "sad")]
CSV = "image,label\n0.png,happy\n1.png,sad\n"
JSON_LINES = "".join(json.dumps({"image": image, "label": label}) + "\n" for image, label in ROWS)
JSON = json.dumps([{"image": image, "label": label} for image, label in ROWS])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(2):
        files.put(tmp_path / f"{number}.png", number)
        files.put(tmp_path / "faces" / f"{number}.png", number)
    return tmp_path


def read(path: Path) -> list[tuple[str | None, bool]]:
    """Each row's label, and whether its picture is there."""
    return [(sample.label, bool(read_image_bytes(sample.image))) for sample in files.read(path)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("content", [CSV, JSON_LINES, JSON], ids=["csv", "jsonl", "json"])
@pytest.mark.parametrize("zipped", [False, True])
def test_any_encoding_with_a_mark_is_read_gzipped_or_not(folder: Path, encoding: str, content: str, *, zipped: bool):
    ending = {CSV: "CSV", JSON_LINES: "jsonl", JSON: "json"}[content]
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    encoded = (mark + content).encode(encoding)
    path = folder / f"t.{ending}{'.gz' if zipped else ''}"
    path.write_bytes(gzip.compress(encoded) if zipped else encoded)
    assert layout_of(path) == "table"
    assert read(path) == [("happy", True), ("sad", True)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("declared", [False, True])
def test_any_delimiter_and_line_end_is_read(folder: Path, end: str, delimiter: str, *, declared: bool):
    lines = [f"sep={delimiter}"] if declared and len(delimiter) == 1 else []
    lines += [delimiter.join(row) for row in (("image", "label"), *ROWS)]
    path = folder / ("t.tsv" if delimiter == "\t" else "t.csv")
    path.write_bytes("".join(line + end for line in lines).encode())
    assert read(path) == [("happy", True), ("sad", True)]


@pytest.mark.parametrize(
    "header",
    ["Image,Label", "filename,emotion", "pth,label", "FILE NAME,EMOTION", "img,expression", "image-path,label"],
)
def test_columns_are_known_by_the_names_that_people_give_them(folder: Path, header: str):
    path = folder / "t.csv"
    path.write_text(CSV.replace("image,label", header))
    assert read(path) == [("happy", True), ("sad", True)]


def test_a_table_without_a_header_is_one_problem_that_says_so(folder: Path):
    path = folder / "t.csv"
    path.write_text(CSV.partition("\n")[2])
    (problem,) = files.problems(path)
    assert "first row" in str(problem)
    assert not problem.droppable


def test_a_column_that_stands_twice_is_refused(folder: Path):
    path = folder / "t.csv"
    path.write_text("image,label,Label\n0.png,joy,fear\n")
    assert [problem.kind for problem in files.problems(path)] == ["column named twice"]


@pytest.mark.parametrize("name", ["faces\\0.png", ".\\faces\\0.png"])
def test_a_windows_name_under_the_root_is_read(folder: Path, name: str):
    assert read(files.table(folder / "t.csv", ["image", "label"], [name, "joy"])) == [("joy", True)]


@pytest.mark.parametrize(
    ("name", "words"),
    [("D:\\photos\\gone.png", "path on a Windows disk"), ("D:\\photos\\faces\\0.png", r"did you mean faces/0\.png\?"),
     ("/home/me/faces/0.png", r"did you mean faces/0\.png\?"), ("/home/me/gone.png", "absolute path"),
     ("faces/0", r"did you mean faces/0\.png\?"),
     ("Faces/0.PNG", r"did you mean faces/0\.png"),
     ("faces\\gone.png", "no such file"), ("..\\0.png", "outside the data root|no such file")],
)  # fmt: skip
def test_a_name_that_leads_nowhere_says_why(folder: Path, name: str, words: str):
    (sample,) = files.read(files.table(folder / "t.csv", ["image", "label"], [name, "joy"]))
    with pytest.raises(ImageError, match=words):
        read_image_bytes(sample.image)


def test_json_of_one_object_a_line_is_read_under_either_name(folder: Path):
    (folder / "t.json").write_text(JSON_LINES)
    assert read(folder / "t.json") == [("happy", True), ("sad", True)]


def test_a_picture_may_be_a_data_address(tmp_path: Path):
    address = "data:image/png;base64," + base64.b64encode(files.picture(3)).decode()
    (sample,) = files.read(files.lines(tmp_path / "t.jsonl", [{"image": address, "label": "joy"}]))
    assert sample.image == files.picture(3)


def test_a_folder_with_metadata_is_read_by_it_and_by_its_splits(tmp_path: Path):
    for split in ("train", "validation"):
        files.put(tmp_path / split / "a.png", len(split))
        files.table(
            tmp_path / split / "metadata.csv", ["file_name", "label"], ["a.png", "joy" if split == "train" else "fear"]
        )
    assert layout_of(tmp_path) == "table"
    samples = files.read(tmp_path)
    assert [(s.split, s.label) for s in samples] == [("train", "joy"), ("calibrate", "fear")]
    assert all(read_image_bytes(s.image) for s in samples)
    assert len({s.id for s in samples}) == 2


def test_a_table_holds_a_second_panels_votes_and_a_label_that_it_alone_names_is_a_problem(tmp_path: Path):
    files.put(tmp_path / "a.png", 1)
    header = ["image", "votes.joy", "votes.fear", "second_votes.joy", "second_votes.fear", "second_votes.unknown"]
    (sample,) = files.read(files.table(tmp_path / "t.csv", header, ["a.png", 3, 1, 1, 2, 1]))
    assert (sample.label, sample.votes) == ("joy", {"joy": 3, "fear": 1})
    assert sample.second_votes == {"joy": 1, "fear": 2, "unknown": 1}
    rows = [{"image": "a.png", "votes": {"joy": 3, "fear": 1}, "second_votes": {"joy": 2, "feer": 2}}]
    (problem,) = files.problems(files.lines(tmp_path / "t.jsonl", rows))
    assert (problem.kind, problem.key) == ("vote for an unknown label", "second_votes")


def test_tasks_about_one_picture_are_one_cluster(tmp_path: Path):
    answer = {"label": "joy", "candidates": ["joy", "fear"]}
    lines = [{"image": f"{number // 2}.png", "task": f"task {number % 2}"} | answer for number in range(4)]
    (tmp_path / "x.jsonl").write_text("\n".join(map(json.dumps, lines)))
    rows = [row for row in read_table(tmp_path / "x.jsonl", Defaults(tmp_path)) if isinstance(row, Row)]
    assert [row.sample.cluster for row in rows] == ["0.png", "0.png", "1.png", "1.png"]


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_name_is_found_in_either_unicode_form(tmp_path: Path, written: str, stored: str):
    name = "é.png"
    (tmp_path / unicodedata.normalize(stored, name)).write_bytes(b"x")
    (tmp_path / "x.csv").write_text(f"image,label\n{unicodedata.normalize(written, name)},joy\nb.png,fear\n")
    first = next(row for row in read_table(tmp_path / "x.csv", Defaults(tmp_path)) if isinstance(row, Row))
    assert isinstance(first.sample.image, FileImage)
    assert (first.sample.image.root / first.sample.image.name).exists()


def test_spaces_about_a_name_are_none_of_it(tmp_path: Path):
    files.put(tmp_path / "a.png", 1)
    (tmp_path / "x.csv").write_text(" Image ; Label \n a.png ; joy \na.png;fear\n")
    rows = [row for row in read_table(tmp_path / "x.csv", Defaults(tmp_path)) if isinstance(row, Row)]
    assert [row.sample.image for row in rows] == [FileImage(tmp_path, "a.png")] * 2
    assert [row.sample.label for row in rows] == ["joy", "fear"]


def test_tasks_about_one_picture_in_parquet_are_one_cluster_whatever_its_id_and_path(tmp_path: Path):
    picture, other = files.picture(1), files.picture(2)
    rows = [
        {"id": name, "image": {"bytes": encoded, "path": f"{name}.png"}, "task": task, "candidates": ["joy", "fear"],
         "ground_truth": "joy"}
        for name, task, encoded in (("a", "FI-2", picture), ("b", "FI-8", picture), ("c", "FI-8", other))
    ]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    first, second, third = (sample.cluster for sample in files.read(tmp_path / "t.parquet"))
    assert first == second != third
    source = PredictionSource((str(tmp_path / "t.parquet"),), own_labels=("joy", "fear"), split="all")
    assert [sample.cluster for sample in source.samples(source.checked().splits)] == [first, second, third]


@pytest.mark.parametrize(
    "text",
    [
        "\n\nimage,label\n\n0.png,joy\n1.png,fear\n",
        "# made by a tool, v2\nimage,label\n0.png,joy\n1.png,fear\n",
        "image,label,set\n0.png,joy,train\n1.png,fear,A\n",
        "image;votes.joy;votes.fear\n0.png;3,0;1,0\n1.png;1,0;3,0\n",
    ],
)
def test_what_tools_write_about_their_tables_is_read(folder: Path, text: str):
    (folder / "t.csv").write_text(text)
    assert [sample.label for sample in files.read(folder / "t.csv")] == ["joy", "fear"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_its_mark_is_read(folder: Path, encoding: str):
    (folder / "t.csv").write_bytes("image,label\n0.png,joy\n1.png,fear\n".encode(encoding))
    assert [sample.label for sample in files.read(folder / "t.csv")] == ["joy", "fear"]


def test_a_column_called_set_is_the_split_where_it_names_one(folder: Path):
    (folder / "t.csv").write_text("image,label,set\n0.png,joy,Test\n1.png,fear,validation\n")
    assert [sample.split for sample in files.read(folder / "t.csv")] == ["test", "calibrate"]


def test_a_title_above_the_header_is_none_of_it(folder: Path):
    (folder / "t.csv").write_text("My faces, 2024\n\nimage,label\n0.png,joy\n1.png,fear\n")
    assert [label for label, _ in read(folder / "t.csv")] == ["joy", "fear"]


def test_a_first_row_with_an_empty_image_is_a_problem_of_that_row(folder: Path):
    path = files.table(folder / "t.csv", ["image", "label"], ["", "joy"], ["1.png", "fear"])
    (problem,) = files.problems(path)
    assert (problem.kind, problem.place.line) == ("no image named", 2)


def test_a_nul_character_is_no_part_of_a_label(folder: Path):
    path = files.table(folder / "t.csv", ["image", "label"], ["0.png", "jo\0y"], ["1.png", "fear"])
    (problem,) = files.problems(path)
    assert (problem.kind, problem.key) == ("not text", "label")


def test_columns_that_are_not_read_are_named(folder: Path):
    path = files.table(folder / "t.csv", ["image", "label", "fold", "is_test"], ["0.png", "joy", 0, 1])
    (note,) = [entry for entry in Source(str(path)).rows() if isinstance(entry, Note)]
    assert note.what == "'fold', 'is_test'"
    onehot = files.table(folder / "u.csv", ["image", "joy", "fear"], ["0.png", 1, 0])
    assert "'joy', 'fear' are not read: call" in files.problems(onehot)[0].fix


def test_votes_as_python_writes_them_are_read(folder: Path):
    path = files.table(folder / "t.csv", ["image", "votes"], ["0.png", "{'joy': 3, 'fear': 1}"])
    assert files.read(path)[0].votes == {"joy": 3, "fear": 1}


@pytest.mark.parametrize("written", ["Public Test", "public_test", "PublicTest", " publictest "])
def test_a_split_is_known_however_its_words_are_joined(folder: Path, written: str):
    path = files.table(folder / "t.csv", ["image", "label", "Usage"], ["0.png", "joy", written])
    assert files.read(path)[0].split == "calibrate"
