"""What a person names by mistake is refused in one line, before any work is done or a file of another kind is made."""

from pathlib import Path

import pytest
from PIL import Image

from emocaliber.cli.main import main


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (16, 16), (90 * number, 40, 200)).save(folder / f"{number}.png")
    (tmp_path / "faces.csv").write_text("image,label\npictures/0.png,joy\npictures/1.png,fear\n")
    return folder


def refused(capsys: pytest.CaptureFixture[str], *command: object) -> str:
    assert main([str(part) for part in command]) == 2
    return capsys.readouterr().err


@pytest.mark.parametrize("name", ["answers.xlsx", "answers.json", "answers.tsv"])
def test_no_folder_is_made_under_the_name_of_a_file(
    pictures: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "predict", pictures, "--out", pictures.parent / name)
    assert "would be a folder" in said
    assert ".parquet, .jsonl, .csv" in said
    assert not (pictures.parent / name).exists()


def test_a_folder_may_have_a_dot_in_its_name(pictures: Path) -> None:
    assert main(["data", "check", str(pictures.parent / "faces.csv"), "--out", str(pictures.parent / "v1.2")]) == 0


@pytest.mark.parametrize("action", ["convert", "split"])
def test_parquet_is_not_written_under_another_kind_of_name(
    pictures: Path, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = pictures.parent / "made.csv"
    assert "made.parquet" in refused(capsys, "data", action, pictures.parent / "faces.csv", "--out", out)
    assert sorted(path.name for path in pictures.parent.iterdir()) == ["faces.csv", "pictures"]


def test_rows_without_labels_are_not_asked_about_to_be_scored(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, "predict", pictures, "--score", "--out", pictures.parent / "run")
    assert "none of the 2 rows has a label, so nothing was asked" in said


def test_a_folder_of_predictions_is_answered_with_the_files_in_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "predictions.jsonl").write_text("")
    assert f"give {tmp_path / 'predictions.jsonl'}" in refused(capsys, "score", tmp_path)


def test_a_folder_that_holds_a_table_beside_its_pictures_is_answered_with_the_table(
    pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pictures / "labels.csv"
    table.write_text("image,label\n0.png,joy\n1.png,fear\n")
    assert f"such as {table}" in refused(capsys, "data", "check", pictures, "--out", pictures.parent / "out")


def test_a_missing_file_is_named_by_review(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no such file or folder" in refused(capsys, "review", tmp_path / "nope.csv")


def test_a_file_that_is_no_spreadsheet_is_not_read_as_an_empty_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "answers.xlsx").write_bytes(b"PK, and then nothing of a spreadsheet")
    assert "is no spreadsheet" in refused(capsys, "score", tmp_path / "answers.xlsx")


@pytest.mark.parametrize("header", ["subDirectory_filePath", "imagePath", "img_name"])
def test_headers_of_pictures_are_recognised_as_published(pictures: Path, header: str) -> None:
    table = pictures / "faces.csv"
    table.write_text(f"{header},label\n0.png,joy\n1.png,fear\n")
    assert main(["data", "convert", str(table), "--out", str(pictures.parent / "faces.parquet")]) == 0


def test_a_vote_without_a_majority_is_no_label(pictures: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """IEMOCAP writes xxx where its raters did not agree."""
    table = pictures / "faces.csv"
    table.write_text("image,emotion\n0.png,xxx\n1.png,fear\n")
    said = refused(capsys, "data", "convert", table, "--out", pictures.parent / "faces.parquet")
    assert "'xxx' says that the label is missing" in said
