"""Splitting: nothing that belongs together is parted, shares and labels hold, the seed decides, and it is recorded."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.check import check
from emocaliber.data.facts import FactStore
from emocaliber.data.layouts import Source
from emocaliber.data.leaks import check_disjoint
from emocaliber.data.parquet import read_samples
from emocaliber.data.rows import rows_only
from emocaliber.data.split import assign, refuse_faults
from tests.data import layout_files as files


def divided(
    source: Path, shares: tuple[int, ...] = (3, 1, 1), seed: int = 0, *, keep_test: bool = False
) -> list[Sample]:
    with FactStore(source.parent / "facts.sqlite") as store:
        report = check(Source(str(source)).rows(), store, workers=1)
    refuse_faults(report)
    assignment = assign(report, shares, seed, keep_test=keep_test)
    return [row.sample for row in assignment.apply(rows_only(Source(str(source)).rows()))]


def subjects(folder: Path) -> Path:
    """Twenty people, each happy once and sad twice."""
    lines = []
    for number in range(60):
        files.put(folder / f"{number}.png", number)
        label = "happy" if number % 3 == 0 else "sad"
        lines.append({"image": f"{number}.png", "label": label, "subject": f"person {number // 3}"})
    return files.lines(folder / "faces.jsonl", [line | {"candidates": ["happy", "sad"]} for line in lines])


def test_a_subject_is_in_one_split_and_every_split_has_its_share_of_labels(tmp_path: Path):
    samples = divided(subjects(tmp_path))
    sides = defaultdict(set)
    for sample in samples:
        sides[sample.cluster].add(sample.split)
    assert all(len(side) == 1 for side in sides.values())
    assert Counter(s.split for s in samples) == {"train": 36, "calibrate": 12, "test": 12}
    assert Counter(s.label for s in samples if s.split == "test") == {"happy": 4, "sad": 8}


def test_a_fourth_share_is_kept_from_stage_1_with_its_labels(tmp_path: Path):
    samples = divided(subjects(tmp_path), (2, 1, 1, 1))
    assert Counter(s.split for s in samples) == {"train": 24, "calibrate": 12, "test": 12, "unlabelled": 12}
    assert Counter(s.label for s in samples if s.split == "unlabelled") == {"happy": 4, "sad": 8}
    sides = defaultdict(set)
    for sample in samples:
        sides[sample.cluster].add(sample.split)
    assert all(len(side) == 1 for side in sides.values())


def test_near_duplicates_and_copies_stay_together_and_become_one_cluster(tmp_path: Path):
    lines = []
    for number in range(15):
        for copy, side in (("a", 64), ("b", 48), ("c", 64)):
            (tmp_path / f"{number}{copy}.png").write_bytes(files.picture(number, side))
            lines.append({"image": f"{number}{copy}.png", "label": "joy" if number % 2 else "fear"})
    samples = divided(files.lines(tmp_path / "t.jsonl", lines))
    for number in range(15):
        three = samples[3 * number : 3 * number + 3]
        assert len({(s.split, s.cluster) for s in three}) == 1
    check_disjoint(samples)
    assert {s.split for s in samples} == {"train", "calibrate", "test"}


def test_the_seed_decides_and_nothing_else_does(tmp_path: Path):
    source = subjects(tmp_path)
    first, again, other = (divided(source, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert [s.split for s in first] != [s.split for s in other]


def test_a_published_test_split_is_kept_and_what_leaks_into_it_is_set_aside(tmp_path: Path):
    source = subjects(tmp_path)
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    for number in (0, 3, 4, 5):
        lines[number]["split"] = "test"
    files.lines(source, lines)
    samples = divided(source, keep_test=True)
    assert [i for i, s in enumerate(samples) if s.split == "test"] == [0, 3, 4, 5]
    assert [i for i, s in enumerate(samples) if s.split == "known"] == [1, 2]
    assert {"train", "calibrate"} <= {s.split for s in samples}


def test_of_a_published_test_split_what_has_no_label_judges_nothing(tmp_path: Path):
    source = subjects(tmp_path)
    lines = [json.loads(line) for line in source.read_text().splitlines()]
    for number in range(6):
        lines[number]["split"] = "test"
    lines[0] |= {"label": None, "votes": {"happy": 2, "sad": 2}}
    samples = divided(files.lines(source, lines), keep_test=True)
    assert [s.split for s in samples[:6]] == ["tied", *["test"] * 5]


def test_ties_are_neither_judged_nor_taught_as_labels(tmp_path: Path):
    lines = []
    for number in range(20):
        files.put(tmp_path / f"{number}.png", number)
        lines.append({"image": f"{number}.png", "votes": {"joy": 3, "fear": 3 if number >= 10 else 1}})
    samples = divided(files.lines(tmp_path / "t.jsonl", lines))
    assert {s.split for s in samples if s.label is None} <= {"unlabelled", "tied"}
    assert {s.split for s in samples if s.label} == {"train", "calibrate", "test"}


@pytest.mark.parametrize("shares", [(0, 0, 0), (50, 10, 10)])
def test_shares_that_cannot_be_given_are_refused(tmp_path: Path, shares: tuple[int, ...]):
    source = files.by_class(tmp_path / "photos", "happy", "sad", each=2)
    with pytest.raises(UserError, match=r"--shares|add data"):
        divided(source, shares)


def test_data_with_other_faults_must_be_mended_first(tmp_path: Path):
    source = files.table(tmp_path / "t.csv", ["image", "label"], ["gone.png", "joy"], ["gone.png", "fear"])
    with pytest.raises(UserError, match=r"fixed first.*gone\.png"):
        divided(source)


def test_the_command_writes_the_rows_and_how_they_were_shared_out(tmp_path: Path):
    source = files.by_class(tmp_path / "photos", "happy", "sad", each=10)
    out = tmp_path / "photos.parquet"
    assert main(["data", "split", str(source), "--out", str(out), "--seed", "3", "--workers", "1"]) == 0
    record = json.loads((tmp_path / "photos.parquet.split.json").read_text())
    assert (record["seed"], record["shares"]) == (3, {"train": 3, "calibrate": 1, "test": 1})
    assert record["rows"]["train"] == {"happy": 6, "sad": 6}
    assert json.loads(pq.read_schema(out).metadata[b"emocaliber.split"]) == record
    assert Counter(s.split for s in read_samples(out)) == {"train": 12, "calibrate": 4, "test": 4}
    visible = {path.name for path in tmp_path.iterdir() if not path.name.startswith(".")}
    assert visible == {"photos", out.name, f"{out.name}.split.json"}


def test_shares_are_three_or_four_numbers(tmp_path: Path):
    assert main(["data", "split", str(tmp_path), "--out", str(tmp_path / "o.parquet"), "--shares", "8:2"]) == 2


def several(folder: Path, *labels: str) -> list[str]:
    """A table for each split, each row with a picture of its own."""
    names = []
    for start, (split, label) in enumerate(zip(("train", "val", "test"), (labels * 3)[:3], strict=True)):
        rows = [["image", "label"]]
        for number in range(6):
            files.put(folder / f"{split}{number}.png", 100 * start + number)
            rows.append([f"{split}{number}.png", label if number % 2 else "joy"])
        names.append(str(files.table(folder / f"{split}.csv", *rows)))
    return names


def test_several_files_are_split_together_and_the_test_file_stays_the_test_split(tmp_path: Path):
    out = tmp_path / "o.parquet"
    options = ["--keep-test", "--shares", "1:1:1", "--workers", "1", "--out", str(out)]
    assert main(["data", "split", *several(tmp_path, "fear"), *options]) == 0
    splits = {sample.id: sample.split for sample in read_samples(out)}
    assert len(splits) == 18
    assert {name for name, split in splits.items() if split == "test"} == {f"test/{n}" for n in range(1, 7)}


def test_files_that_name_other_labels_are_not_split_until_all_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    names, out = several(tmp_path, "fear", "awe", "awe"), tmp_path / "o.parquet"
    assert main(["data", "split", *names, "--workers", "1", "--out", str(out)]) == 2
    assert "'awe' is a label of task emotion in one of" in capsys.readouterr().err
    options = ["--labels", "joy,fear,awe", "--shares", "1:1:1", "--workers", "1", "--out", str(out)]
    assert main(["data", "split", *names, *options]) == 0
    assert {sample.candidates for sample in read_samples(out)} == {("joy", "fear", "awe")}
