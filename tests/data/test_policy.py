"""Problems stop every command, or are left out: each with its reason, counted, within a share, test rows first."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.check import Report, check
from emocaliber.data.facts import FactStore
from emocaliber.data.layouts import Source
from emocaliber.data.leaks import Item, clashing, exact_leaks
from emocaliber.data.parquet import read_samples
from emocaliber.data.policy import Dropping, Policy, unlearnable
from tests.data import layout_files as files
from tests.data.test_leaks import CLEAN, sample

ROWS = 24


def faulty(folder: Path) -> Path:
    """Twenty-four good rows, three that are wrong by themselves, and two that overlap with test rows."""
    base = {"candidates": ["joy", "fear"]}
    lines: list[dict[str, object]] = []
    for number in range(ROWS):
        files.put(folder / f"{number}.png", number)
        split = ("train", "calibrate", "test")[number % 3]
        lines.append(base | {"image": f"{number}.png", "label": ("joy", "fear")[number % 2], "split": split})
    (folder / "broken.png").write_bytes(b"<svg/>")
    lines.append(base | {"image": "broken.png", "label": "joy"})
    lines.append(base | {"image": "0.png", "label": "none"})
    lines.append(base | {"image": "3.png", "label": "fear", "id": "rows/4"})
    lines.append(base | {"image": "2.png", "label": "joy", "split": "train"})
    lines.append(base | {"image": "5.png", "label": "fear", "split": "calibrate"})
    path = files.lines(folder / "rows.jsonl", lines)
    return path


DROPPED = {"not an image": 1, "no label": 1, "duplicate id": 1, "same picture in two splits": 2}


def dropped(path: Path) -> Counter[str]:
    return Counter(json.loads(line)["kind"] for line in path.read_text().splitlines())


@pytest.mark.parametrize("action", ["check", "convert", "split"])
def test_by_default_a_problem_stops_and_nothing_is_written(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "data").mkdir()
    source = faulty(tmp_path / "data")
    out = tmp_path / "out" / ("" if action == "check" else "o.parquet")
    assert main(["data", action, str(source), "--out", str(out)]) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.parquet"))


def test_check_counts_what_would_be_left_out_and_ends_well(tmp_path: Path):
    (tmp_path / "data").mkdir()
    out = tmp_path / "out"
    options = ["--drop-problems", "--max-dropped", "0.3", "--workers", "1", "--out", str(out)]
    assert main(["data", "check", str(faulty(tmp_path / "data")), *options]) == 0
    assert dropped(out / "dropped.jsonl") == DROPPED


def test_convert_leaves_out_what_is_wrong_and_lists_each_row_with_its_reason(tmp_path: Path):
    (tmp_path / "data").mkdir()
    source, out = faulty(tmp_path / "data"), tmp_path / "o.parquet"
    options = ["--drop-problems", "--max-dropped", "0.3", "--workers", "1"]
    assert main(["data", "convert", str(source), "--out", str(out), *options]) == 0
    samples = read_samples(out)
    assert Counter(sample.split for sample in samples) == {"train": 8, "calibrate": 8, "test": 8}
    assert len(samples) == ROWS
    listed = [json.loads(line) for line in (tmp_path / "o.parquet.dropped.jsonl").read_text().splitlines()]
    assert Counter(row["kind"] for row in listed) == DROPPED
    assert all(row["place"] and row["reason"] for row in listed)
    overlap = next(row for row in listed if row["kind"] == "same picture in two splits")
    assert "rows/3" in overlap["reason"]
    assert "split test and stays" in overlap["reason"]
    with FactStore() as store:
        assert not check(Source(str(out)).rows(), store, 1).problems


def test_split_leaves_out_faulty_rows_and_keeps_those_that_a_new_split_mends(tmp_path: Path):
    (tmp_path / "data").mkdir()
    source, out = faulty(tmp_path / "data"), tmp_path / "o.parquet"
    options = ["--drop-problems", "--max-dropped", "0.3", "--workers", "1"]
    assert main(["data", "split", str(source), "--out", str(out), *options]) == 0
    assert len(read_samples(out)) == ROWS + 2
    expected = {kind: count for kind, count in DROPPED.items() if kind != "same picture in two splits"}
    assert json.loads((tmp_path / "o.parquet.split.json").read_text())["dropped"] == expected


@pytest.mark.parametrize("action", ["check", "convert", "split"])
def test_never_more_than_the_share_is_left_out(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "data").mkdir()
    out = tmp_path / "out" / ("" if action == "check" else "o.parquet")
    options = ["--drop-problems", "--max-dropped", "0.05", "--workers", "1", "--out", str(out)]
    assert main(["data", action, str(faulty(tmp_path / "data")), *options]) == 2
    assert "more than the share of 0.05 allowed" in capsys.readouterr().err
    assert not list(tmp_path.glob("out/*.parquet"))


def test_a_problem_of_more_than_a_row_is_never_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    source = files.by_class(tmp_path / "photos", "train_set/joy", "val_set/joy")
    options = ["--drop-problems", "--max-dropped", "1", "--workers", "1"]
    assert main(["data", "convert", str(source), "--out", str(tmp_path / "o.parquet"), *options]) == 2
    assert "--drop-problems does not help" in capsys.readouterr().err


def test_of_two_labels_for_one_picture_neither_is_believed(tmp_path: Path):
    rows = [{"image": "0.png", "label": "joy"}, {"image": "0.png", "label": "fear"}, {"image": "1.png", "label": "joy"}]
    files.put(tmp_path / "0.png", 0)
    files.put(tmp_path / "1.png", 1)
    report = reported(files.lines(tmp_path / "t.jsonl", rows))
    assert sorted(report.dropping(Policy(drop=True, most=1)).rows) == [0, 1]


def test_what_is_left_has_no_overlap_whatever_clashes():
    splits = ["train", "calibrate", "test", "known", "unlabelled", "train", "calibrate"]
    pixels = [b"a", b"a", b"b", b"b", b"c", b"d", b"c"]
    items = [Item(split, shown, ("t", str(n))) for n, (split, shown) in enumerate(zip(splits, pixels, strict=True))]
    items.append(Item("test", b"e", ("t", "5")))
    out = clashing(items, [(1, 2)])
    assert out == {
        0: (2, "near-duplicate in two splits"), 1: (2, "near-duplicate in two splits"),
        3: (2, "same picture in two splits"), 4: (6, "same picture in two splits"), 5: (7, "cluster in two splits"),
    }  # fmt: skip
    assert not list(exact_leaks([item for n, item in enumerate(items) if n not in out]))


def reported(path: Path) -> Report:
    with FactStore() as store:
        return check(Source(str(path)).rows(), store, workers=1)


def test_the_page_of_a_check_names_what_is_odd_how_often_and_the_command_that_mends_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    folder = files.ferplus(tmp_path / "fer plus")
    (folder / "FER2013Test" / "fer0000002.png").write_bytes((folder / "FER2013Train" / "fer0000000.png").read_bytes())
    assert main(["data", "check", str(folder), "--out", str(tmp_path / "out"), "--workers", "1"]) == 2
    page = (tmp_path / "out" / "findings.md").read_text()
    assert page in capsys.readouterr().out
    assert page.startswith("# Findings in fer plus\n")
    assert "| rows without a name | 1 | left out, as the release means it |" in page
    assert "| same picture in two splits | 1 pairs |" in page
    assert "| pictures that come more than once, pixel by pixel | 1, in 2 rows |" in page
    assert "| rows without a label, with votes" in page
    assert "| all | 3 | 2 | 2 | 2 |" in page
    assert "- fer2013new.csv: 1 rows name no picture" in page
    assert str(tmp_path) not in page.replace(str(folder), "", 1)
    assert f"emocaliber data split '{folder}' --keep-test --drop-problems --out 'fer plus-split.parquet'" in page


def test_facts_of_converted_pictures_are_known_before_anybody_looks_at_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    source, out = files.by_class(tmp_path / "photos", "happy", "sad", each=3), tmp_path / "o.parquet"
    assert main(["data", "check", str(source), "--out", str(tmp_path / "c"), "--workers", "1"]) == 0
    assert main(["data", "split", str(source), "--out", str(out), "--shares", "1:1:1", "--workers", "1"]) == 0
    monkeypatch.setattr("emocaliber.data.facts.look", lambda image: pytest.fail("decoded again"))
    assert not reported(out).problems


@pytest.mark.parametrize("action", ["convert", "split"])
def test_rows_of_one_picture_become_one_with_the_votes_of_a_second_panel(action: str, tmp_path: Path):
    source, out = files.ferplus_twins(tmp_path / "ferplus"), tmp_path / "o.parquet"
    options = ["--two-panels", "--workers", "1", "--out", str(out)]
    keep = ["--keep-test", "--shares", "1:0:1"] if action == "split" else []
    assert main(["data", action, str(source), *options, *keep]) == 0
    rows = {sample.id.rpartition("/")[2]: sample for sample in read_samples(out)}
    assert set(rows) == {"fer0000002.png", "fer0000003.png", "fer0000004.png"}
    twin = rows["fer0000003.png"]
    assert (twin.split, twin.label, twin.raters) == ("test", "neutral", 10)
    assert twin.votes == {**files.ferplus_counts(8, 2), "neutral": 6, "sadness": 3}
    assert twin.second_votes == files.ferplus_counts(8, 2)
    assert rows["fer0000002.png"].second_votes is None
    assert dropped(tmp_path / "o.parquet.dropped.jsonl") == {
        "votes of a second panel": 1,
        "votes of a further panel": 1,
    }
    again = tmp_path / "again.parquet"
    assert main(["data", "convert", str(out), "--out", str(again), "--workers", "1"]) == 0
    assert {sample.id: sample.second_votes for sample in read_samples(again)} == {
        sample.id: sample.second_votes for sample in rows.values()}  # fmt: skip


def test_without_the_option_a_second_panel_is_an_overlap_and_without_twins_the_option_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["data", "check", str(files.ferplus_twins(tmp_path / "a")), "--out", str(tmp_path / "out")]) == 2
    assert "same picture in two splits 1" in capsys.readouterr().err
    source = files.by_class(tmp_path / "photos", "happy", "sad", each=3)
    assert main(["data", "convert", str(source), "--two-panels", "--out", str(tmp_path / "o.parquet")]) == 2
    assert "no picture comes twice with votes" in capsys.readouterr().err


def test_a_near_duplicate_of_a_twin_that_is_left_out_still_counts(tmp_path: Path):
    items = [Item("train", b"a", ("t", "0")), Item("test", b"a", ("t", "1")), Item("train", b"b", ("t", "2"))]
    dropping = Dropping()
    names = ["0", "1", "2"]
    dropping.add_panels(items, [True, True, True], names)
    dropping.add_overlaps(items, [(0, 2)], names)
    assert dropping.second_panels == {1: 0}
    assert {i: row.kind for i, row in dropping.rows.items()} == {
        0: "votes of a second panel", 2: "near-duplicate in two splits"}  # fmt: skip


SPARE = [sample(f"spare-{n}", "train", 60 + n) for n in range(16)]
DROP = Policy(drop=True, most=0.5)


def unfit() -> list[Sample]:
    """Clean rows, then one of each fault."""
    return [
        *CLEAN,
        *SPARE,
        replace(CLEAN[3], id="leak", split="train", cluster="leak"),
        replace(SPARE[0], id="broken", image=b"no picture", cluster="broken"),
        replace(sample("bare", "train", 90), label=None),
        replace(CLEAN[2], id="kin", image=sample("", "", 91).image, split="unlabelled", cluster="calibrate"),
    ]


def test_by_default_what_is_wrong_stops_training_and_says_what_mends_it():
    with pytest.raises(UserError, match=r"data split FILE --keep-test --out .*drop_problems=true"):
        unlearnable([row for row in unfit() if row.id != "broken"], Policy())
    with pytest.raises(UserError, match=r"broken \(train\)"):
        unlearnable(unfit(), Policy())
    assert not unlearnable([*CLEAN, *SPARE], Policy()).rows


def test_each_row_that_is_left_out_has_its_reason_and_the_rest_is_clean():
    rows = unfit()
    dropping = unlearnable(rows, DROP, label_needed=["train"])
    assert {row.id: row.kind for row in dropping.rows.values()} == {
        "leak": "same picture in two splits", "broken": "not an image", "bare": "no label",
        "kin": "cluster in two splits"}  # fmt: skip
    assert "test" in next(row.reason for row in dropping.rows.values() if row.id == "leak")
    assert not unlearnable([row for i, row in enumerate(rows) if i not in dropping.rows], Policy()).rows


def test_a_label_is_needed_where_labels_are_learned_alone():
    rows = [row for row in unfit() if row.id == "bare"] + [*CLEAN, *SPARE]
    assert not unlearnable(rows, DROP).rows
    assert len(unlearnable(rows, DROP, label_needed=["t:train"]).rows) == 1


def test_more_than_the_share_stops_training():
    with pytest.raises(UserError, match="max_dropped in a recipe"):
        unlearnable(unfit(), Policy(drop=True, most=0.05))
