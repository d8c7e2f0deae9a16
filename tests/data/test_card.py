"""A data set's card says what its rows hold, and pictures that nobody may pass on are not sent to the Hub unasked."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from huggingface_hub import DatasetCard

from emocaliber.cli import main
from emocaliber.data.card import hub_licence
from emocaliber.data.parquet import read_samples
from tests.core.fake_hub import TOKEN, FakeHub
from tests.data import layout_files as files

ROWS = [
    {"image": "0.png", "votes": {"joy": 3, "fear": 1}, "candidates": ["joy", "fear"], "split": "train"},
    {"image": "1.png", "votes": {"joy": 2, "fear": 2}, "candidates": ["joy", "fear"], "split": "test"},
    {"image": "2.png", "label": "fear", "candidates": ["joy", "fear"], "split": "test"},
    {"image": "missing.png", "label": "joy", "candidates": ["joy", "fear"], "split": "train"},
]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Three rows in two splits, two of them with votes, and a fourth without its picture."""
    (tmp_path / "private folder").mkdir()
    for number in range(3):
        files.put(tmp_path / "private folder" / f"{number}.png", number)
    return files.lines(tmp_path / "private folder" / "faces.jsonl", ROWS)


def convert(table: Path, *options: str) -> tuple[int, Path]:
    out = table.parents[1] / "out" / "faces.parquet"
    command = ["data", "convert", str(table), "--drop-problems", "--max-dropped", "0.5", "--out", str(out)]
    return main([*command, *options]), out


@pytest.mark.parametrize(("licence", "name"), [("CC BY 4.0", "cc-by-4.0"), ("", "unknown"), ("research only", "other")])
def test_the_card_says_what_the_rows_hold_in_front_matter_that_the_hub_reads(
    table: Path, licence: str, name: str
) -> None:
    code, out = convert(table, "--licence", licence)
    assert code == 0
    card = DatasetCard.load(out.with_name("faces.parquet.card.md"))
    assert card.data.to_dict() | {"tags": 0} == {
        "pretty_name": "faces", "license": [name], "task_categories": ["image-classification"],
        "size_categories": ["n<1K"], "tags": 0,
    }  # fmt: skip
    for sentence in (
        "3 rows about pictures, of 2 labels",
        "Source: faces.jsonl;",
        "| label | train | test |",
        "| joy | 1 | 0 |",
        "| fear | 0 | 1 |",
        "| (no label) | 0 | 1 |",
        "2 rows have votes (counts 2), of 4 to 4 raters (median 4); in 1 the favourite is tied",
        f"| {licence or '(none stated)'} | 3 |",
        "| missing image | 1 |",
    ):
        assert sentence in card.text, sentence
    assert "private folder" not in card.content


def test_what_is_sent_is_the_card_and_a_file_for_each_split(table: Path, hub: FakeHub, tmp_path: Path) -> None:
    code, out = convert(table, "--licence", "cc-by-4.0", "--push", "someone/faces")
    assert code == 0
    sent = hub.files["dataset", "someone/faces"]
    assert hub.private == {("dataset", "someone/faces"): True}
    assert set(sent) == {"README.md", "data/train.parquet", "data/test.parquet"}
    card, beside = DatasetCard(sent["README.md"].decode()), DatasetCard.load(out.with_name("faces.parquet.card.md"))
    assert card.text == beside.text
    assert card.data.configs[0]["data_files"] == [
        {"split": split, "path": f"data/{split}.parquet"} for split in ("train", "test")
    ]
    everything = read_samples(out)
    for split in ("train", "test"):
        (tmp_path / "back.parquet").write_bytes(sent[f"data/{split}.parquet"])
        assert pq.read_schema(tmp_path / "back.parquet").metadata == pq.read_schema(out).metadata
        back = read_samples(tmp_path / "back.parquet")
        assert [files.with_bytes(s) for s in back] == [files.with_bytes(s) for s in everything if s.split == split]
    written = [path.read_bytes() for path in out.parent.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in content for content in written)


@pytest.mark.parametrize("licence", ["", "research only"])
def test_pictures_without_a_licence_to_pass_them_on_go_nowhere_unasked(
    table: Path, hub: FakeHub, licence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _ = convert(table, "--licence", licence, "--push", "someone/faces")
    assert code == 2
    error = capsys.readouterr().err
    assert f"3 rows: {licence or '(none stated)'}" in error
    assert "--push-without-licence" in error
    assert hub.private == {}
    code, _ = convert(table, "--licence", licence, "--push", "someone/faces", "--push-without-licence")
    assert code == 0
    assert hub.private == {("dataset", "someone/faces"): True}
    assert TOKEN not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--images", "paths"], "leave --images paths out"),
        (["--push-without-licence", "--public"], "leave it or --public out"),
    ],
)
def test_options_that_do_not_fit_together_are_refused_before_any_work(
    table: Path, hub: FakeHub, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = convert(table, "--push", "someone/faces", *options)
    assert code == 2
    assert sentence in capsys.readouterr().err
    assert hub.requests == []
    assert not out.exists()


def test_a_licences_name_is_matched_and_never_guessed() -> None:
    assert hub_licence("CC_BY-SA 4.0") == "cc-by-sa-4.0"
    assert hub_licence("Apache-2.0") == "apache-2.0"
    assert hub_licence("CC BY 4.0, but ask us first") == "other"
    assert hub_licence(" ") == "unknown"
