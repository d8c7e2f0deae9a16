"""What predictions are wanted for: every picture a row, labelled or not, whatever lies beside it.

Every mistake is named before a model is loaded."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.images import read_image_bytes
from emocaliber.core.prompting import load_template
from emocaliber.core.samples import Sample
from emocaliber.data.embedded import load
from emocaliber.data.parquet_parts import ROWS_WITH_PICTURES, stored_rows
from emocaliber.data.sources import PredictionSource, Rows
from emocaliber.generation.engine import STOP, Request, Response
from emocaliber.generation.readouts import Record, read_records, write_records
from emocaliber.generation.respond import respond

OWN = ("happy", "sad", "angry")


def png(shade: int = 0) -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (8, 8), (shade, shade, shade)).save(buffer, "PNG")
    return buffer.getvalue()


def put(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def read(*names: str | Path, **options: str | int) -> tuple[Rows, list[Sample]]:
    source = PredictionSource(tuple(map(str, names)), OWN, **options)  # type: ignore[arg-type]
    rows = source.checked()
    return rows, list(source.samples(rows.splits))


def test_of_a_memory_card_every_picture_is_a_row_and_everything_else_is_counted(tmp_path: Path) -> None:
    for name in ("DCIM/100/b.JPG", "DCIM/100/a.jpeg", "DCIM/101/c.HEIC", "d.png", "broken.webp"):
        put(tmp_path / name)
    for name in ("DCIM/m.MOV", "DCIM/m.THM", "notes.txt", ".DS_Store", "__MACOSX/._b.JPG", "DCIM/.thumbnails/b.JPG",
                 "DCIM/thumbs/b.JPG", "._d.png"):  # fmt: skip
        put(tmp_path / name)
    (tmp_path / "loop").symlink_to(tmp_path)
    rows, samples = read(tmp_path)
    assert [sample.id for sample in samples] == [
        "DCIM/100/a.jpeg", "DCIM/100/b.JPG", "DCIM/101/c.HEIC", "broken.webp", "d.png",
    ]  # fmt: skip
    assert (rows.count, rows.labelled) == (5, 0)
    assert dict(rows.passed_over) == {
        "videos": 1, "thumbnails": 2, "other files": 1, "hidden files and leftovers": 4, "links to folders": 1,
    }  # fmt: skip
    assert {sample.label for sample in samples} == {None}
    assert {sample.candidates for sample in samples} == {OWN}


def test_files_that_are_odd_in_a_folder_are_rows_too_and_none_ends_the_run(tmp_path: Path) -> None:
    put(tmp_path / "a.png", png())
    put(tmp_path / "empty.jpg", b"")
    put(tmp_path / "in.jpg" / "new\nline.png", png())
    put(tmp_path / "$RECYCLE.BIN" / "deleted.jpg")
    for name, target in {"self.jpg": "self.jpg", "dangling.jpg": "nowhere", "link.png": "a.png", "up": ".."}.items():
        (tmp_path / name).symlink_to(target)
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in (b"latin-\xe8.png", b"latin-\xe9.png"):
        put(tmp_path / os.fsdecode(name), png())
    rows, samples = read(tmp_path)
    assert [sample.id for sample in samples] == [
        "a.png", "dangling.jpg", "empty.jpg", "in.jpg/new\nline.png", r"latin-\xe8.png", r"latin-\xe9.png", "link.png",
        "pipe.jpg", "self.jpg",
    ]  # fmt: skip
    assert dict(rows.passed_over) == {"hidden files and leftovers": 1, "links to folders": 1}
    broken = {response.sample_id for response in respond(samples, Echo(), load_template("label")) if response.error}
    assert broken == {"dangling.jpg", "empty.jpg", "pipe.jpg", "self.jpg"}


def test_a_folder_that_cannot_be_read_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "a.png", png())
    put(tmp_path / "lost+found" / "b.png", png())
    scandir = os.scandir

    def refusing(path: Path) -> Iterator[os.DirEntry[str]]:
        if Path(path).name == "lost+found":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    rows, samples = read(tmp_path)
    assert [sample.id for sample in samples] == ["a.png"]
    assert dict(rows.passed_over) == {"folders that cannot be read": 1}
    with pytest.raises(UserError, match=r"lost\+found: cannot be read \(Permission denied\)"):
        read(tmp_path / "lost+found")


def test_what_is_wrong_with_a_file_whose_name_is_not_utf8_can_be_written(tmp_path: Path) -> None:
    put(tmp_path / os.fsdecode(b"latin-\xe8.jpg"), b"no picture")
    _, samples = read(tmp_path)
    (response,) = respond(samples, Echo(), load_template("label"))
    assert response.error.startswith(r"latin-\xe8.jpg: not a PNG")
    write_records(tmp_path / "out.jsonl", [Record.of(samples[0], response, "template")])
    assert [record.response for record in read_records(tmp_path / "out.jsonl")] == [response]


class Echo:
    """Answers every question with its picture's size."""

    name, concurrency, requests_per_call = "echo", 1, 4

    def generate(self, requests: Sequence[Request]) -> list[Response]:
        return [Response(request.sample_id, str(request.image.size), STOP) for request in requests]


def test_folders_named_after_the_labels_say_what_their_pictures_are(tmp_path: Path) -> None:
    put(tmp_path / "Happy" / "1.png")
    put(tmp_path / "sad" / "deep" / "2.png")
    assert [sample.label for sample in read(tmp_path)[1]] == ["happy", "sad"]
    put(tmp_path / "holidays" / "3.png")
    assert {sample.label for sample in read(tmp_path)[1]} == {None}


def test_a_picture_a_glob_and_several_folders(tmp_path: Path) -> None:
    for name in ("a/1.png", "a/b/2.png", "c/1.png"):
        put(tmp_path / name)
    assert [sample.id for sample in read(tmp_path / "a" / "1.png")[1]] == [str(tmp_path / "a" / "1.png")]
    assert len(read(f"{tmp_path}/**/*.png")[1]) == 3
    assert [s.id for s in read(tmp_path / "a", tmp_path / "c")[1]] == [
        f"{tmp_path}/a/1.png", f"{tmp_path}/a/b/2.png", f"{tmp_path}/c/1.png",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_table_of_rows_with_and_without_a_label(kind: str, tmp_path: Path) -> None:
    for number in range(3):
        put(tmp_path / f"{number}.png", png(number))
    records = [{"id": str(n), "image": f"{n}.png", "label": label} for n, label in enumerate(["sad", None, "Happy"])]
    path = tmp_path / f"rows.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(records), path)
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, ["id", "image", "label"])
            writer.writeheader()
            writer.writerows(records)
    rows, samples = read(path)
    assert (rows.count, rows.labelled) == (3, 2)
    assert [sample.label for sample in samples] == ["sad", None, "happy"]
    assert {sample.candidates for sample in samples} == {OWN}
    assert [read_image_bytes(sample.image) for sample in samples] == [png(n) for n in range(3)]
    assert [s.candidates for s in read(path, labels="sad,happy,fear")[1]] == [("sad", "happy", "fear")] * 3


def test_labels_that_the_model_does_not_know_are_the_tables_own(tmp_path: Path) -> None:
    put(tmp_path / "rows.csv", b"image,label\na.png,awe\nb.png,fear\nc.png,\n")
    assert {sample.candidates for sample in read(tmp_path / "rows.csv")[1]} == {("awe", "fear")}


def test_of_data_with_splits_the_test_rows_are_meant(tmp_path: Path) -> None:
    put(tmp_path / "rows.csv", b"image,label,split\na.png,sad,train\nb.png,sad,test\nc.png,,unlabelled\n")
    rows, samples = read(tmp_path / "rows.csv")
    assert [sample.split for sample in samples] == ["test"]
    assert rows.passed_over == {"rows of split train": 1, "rows of split unlabelled": 1}
    assert len(read(tmp_path / "rows.csv", split="all")[1]) == 3
    assert [sample.split for sample in read(tmp_path / "rows.csv", split="unlabelled")[1]] == ["unlabelled"]


def test_embedded_data_are_the_rows_that_every_other_reader_finds() -> None:
    samples = read("emoji")[1]
    for sample, other in zip(samples, load("emoji", "test"), strict=True):
        assert read_image_bytes(sample.image) == read_image_bytes(other.image)
        assert (sample.id, sample.label, sample.votes, sample.candidates) == (
            other.id, other.label, other.votes, other.candidates,
        )  # fmt: skip


def test_pictures_of_one_large_row_group_are_read_a_few_at_a_time(tmp_path: Path) -> None:
    count = 3 * ROWS_WITH_PICTURES + 1
    rows = [{"image": {"bytes": png(number % 250), "path": None}} for number in range(count)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "rows.parquet", row_group_size=count)
    read_rows = list(stored_rows(tmp_path / "rows.parquet", pictures=True))
    assert [number for number, _ in read_rows] == list(range(count))
    assert [row["image"] for _, row in read_rows] == [png(number % 250) for number in range(count)]
    samples = read(tmp_path / "rows.parquet")[1]
    assert [read_image_bytes(sample.image) for sample in samples[:3]] == [png(0), png(1), png(2)]
    assert read(f"file://{tmp_path}")[1] == samples


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("photo", "no such file or folder; did you mean 'photos'?"),
        ("kaomojji", "did you mean 'kaomoji'?"),
        ("empty", "there is no picture in it; it is empty"),
        ("texts", "there is no picture in it, only 2 other files"),
        ("texts/a.txt", "neither a picture"),
        ("photos/*.jpg", "nothing matches; quote the pattern"),
        ("nowhere/photos", "no such file or folder"),
        ("http://x/y.png", "begin with s3:// or gs://"),
        ("file:///nowhere", "there is no Parquet file"),
        ("twice.csv", "line 3: id 'a' is that of twice.csv, line 2 too"),
        ("stranger.csv", "2 problems, nothing was asked:\n  stranger.csv, line 2: label: 'fear' is not among"),
        ("noimage.csv", "the columns are 'name', 'label'; none names the images; call one 'image'"),
    ],
)
def test_each_wrong_source_has_its_sentence(
    name: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    put(tmp_path / "photos" / "1.png")
    put(tmp_path / "texts" / "a.txt")
    put(tmp_path / "texts" / "b.md")
    put(tmp_path / "twice.csv", b"id,image\na,1.png\na,2.png\n")
    put(tmp_path / "stranger.csv", b"image,label\n1.png,fear\n2.png,awe\n")
    put(tmp_path / "noimage.csv", b"name,label\n1.png,sad\n2.png,sad\n")
    with pytest.raises(UserError) as error:
        read(name, **({"labels": "happy,sad"} if name == "stranger.csv" else {}))
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [("joy", "is not a taxonomy"), ("mikels8", "did you mean 'mikels-8'?"), ("a,A", "each once")],
)
def test_labels_that_leave_nothing_to_choose_are_refused(labels: str, sentence: str, tmp_path: Path) -> None:
    put(tmp_path / "1.png")
    with pytest.raises(UserError, match="--labels") as error:
        read(tmp_path, labels=labels)
    assert sentence in str(error.value)
