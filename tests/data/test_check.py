"""The check: every kind of damage gives its sentence, all are found and counted in one pass, overlaps are seen."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from emocaliber.cli import main
from emocaliber.core.taxonomy import MIKELS_8
from emocaliber.data import facts
from emocaliber.data.check import Report, check
from emocaliber.data.facts import FactStore
from emocaliber.data.findings import differences
from emocaliber.data.layouts import Source
from emocaliber.data.sources import PredictionSource
from emocaliber.evaluation.suite import Suite, Task, load_suite
from tests.data import layout_files as files
from tests.data.damage import CASES, Damage, encoded, png


def checked(source: Path, work: Path, **said: object) -> Report:
    with FactStore(work / "facts.sqlite") as store:
        return check(Source(str(source), **said).rows(), store, workers=1)  # type: ignore[arg-type]


def test_the_table_names_thirty_kinds_of_damage_or_more():
    assert len({case.kind for case in CASES}) >= 30
    assert len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_each_damage_gives_the_sentence_that_a_user_needs(case: Damage, tmp_path: Path):
    (tmp_path / "data").mkdir()
    report = checked(case.write(tmp_path / "data"), tmp_path, **case.said)
    assert case.kind in report.counts, [str(problem) for problem in report.problems]
    (problem, *_) = [problem for problem in report.problems if problem.kind == case.kind]
    assert case.where in str(problem.place)
    assert problem.key == case.key
    assert re.search(case.words, str(problem)), str(problem)
    assert "Traceback" not in str(problem)


def mixed(folder: Path) -> tuple[Path, Counter[str]]:
    """A file of good rows and many damages, and how many of each kind it holds."""
    pictures = {
        "cut.png": encoded(Image.effect_noise((40, 40), 90))[:500],
        "empty.png": b"",
        "text.png": b"<svg/>",
        "huge.png": png(50_000, 50_000),
        "dot.png": encoded(Image.new("RGB", (1, 1))),
    }
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    for number in range(6):
        files.put(folder / f"{number}.png", number)
    base = {"candidates": ["joy", "fear"], "label": "joy"}
    lines = [base | {"image": f"{number}.png", "id": str(number)} for number in range(5)]
    lines += [base | {"image": name} for name in pictures]
    lines += [base | {"image": "gone.png"}, base | {"image": "../gone.png"}, base | {"image": "http://x/a.png"}]
    lines += [base | {"image": "5.png", "id": "0"}, base | {"image": "5.png", "label": "awe"}]
    lines += [base | {"image": "5.png", "candidates": "joy"}, base | {"image": "0.png", "split": "test"}]
    path = files.lines(folder / "mixed.jsonl", lines)
    with path.open("a") as file:
        file.write("{broken\n\n[1]\n")
    return path, Counter({
        "unreadable image": 1, "empty image": 1, "not an image": 1, "oversized image": 1, "undersized image": 1,
        "missing image": 2, "image by address": 1, "duplicate id": 1, "label not among candidates": 1,
        "candidates malformed": 1, "same picture in two splits": 1, "not JSON": 1, "not an object": 1,
    })  # fmt: skip


def test_one_pass_over_a_mixed_file_finds_and_counts_every_damage(tmp_path: Path):
    (tmp_path / "data").mkdir()
    path, expected = mixed(tmp_path / "data")
    assert checked(path, tmp_path).counts == expected


@pytest.mark.slow
def test_the_command_prints_sentences_and_counts_and_leaves_files_to_look_at(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "data").mkdir()
    path, expected = mixed(tmp_path / "data")
    assert main(["data", "check", str(path), "--out", str(tmp_path / "out"), "--workers", "2"]) == 2
    output = capsys.readouterr()
    assert "14 problems" in output.err
    assert "Traceback" not in output.out + output.err
    lines = [json.loads(line) for line in (tmp_path / "out" / "problems.jsonl").read_text().splitlines()]
    assert Counter(line["kind"] for line in lines) == expected
    assert json.loads((tmp_path / "out" / "report.json").read_text())["problems"] == dict(expected)
    for name in ("sheet.png", "overlaps.png"):
        assert Image.open(tmp_path / "out" / name).size[0] > 100


def test_clean_data_has_no_problem_and_its_statistics_are_right(tmp_path: Path):
    (tmp_path / "data").mkdir()
    report = checked(files.ferplus(tmp_path / "data"), tmp_path)
    assert not report.problems
    summary = report.statistics.summary()
    assert summary["rows"] == 3
    assert summary["splits"] == {"train": 1, "calibrate": 1, "test": 1}
    assert summary["votes"]["raters"] == {"lowest": 10, "median": 10, "highest": 10}
    assert summary["votes"]["ties"] == 1
    assert summary["width"] == {"lowest": 16, "median": 16, "highest": 16}


def test_ties_and_fitted_distributions_are_counted_as_what_they_are(tmp_path: Path):
    files.put(tmp_path / "1.png", 1)
    files.put(tmp_path / "2.png", 2)
    means = {"joy": {"mean": 3.0, "n": 9}, "fear": {"mean": 1.0, "n": 9}}
    rows = [{"image": "1.png", "votes": means, "label": "joy"}, {"image": "2.png", "votes": {"joy": 2, "fear": 2}}]
    votes = checked(files.lines(tmp_path / "t.jsonl", rows), tmp_path).statistics.summary()["votes"]
    assert votes["asked as"] == {"means (fitted distribution)": 1, "counts": 1}
    assert votes["ties"] == 1


def test_near_duplicates_of_one_side_are_counted_and_are_no_problem(tmp_path: Path):
    for name, side in (("a", 64), ("b", 48)):
        (tmp_path / f"{name}.png").write_bytes(files.picture(1, side))
    rows = [{"image": f"{name}.png", "label": "joy", "candidates": ["joy", "fear"]} for name in "ab"]
    report = checked(files.lines(tmp_path / "t.jsonl", rows), tmp_path)
    assert (report.near_within, report.problems) == (1, [])


def test_what_is_known_of_a_file_is_used_again_until_it_changes(tmp_path: Path):
    path = files.table(tmp_path / "t.csv", ["image", "label"], ["a.png", "joy"], ["b.png", "fear"])
    for name, seed in (("a", 1), ("b", 2)):
        files.put(tmp_path / f"{name}.png", seed)
    first = checked(path, tmp_path)
    with FactStore(tmp_path / "facts.sqlite") as store:
        store.keep(
            [(key, first.seen[0].facts) for (key,) in store._base.execute(f"SELECT key FROM {facts._TABLE}").fetchall()]
        )
    assert {entry.facts.content for entry in checked(path, tmp_path).seen} == {first.seen[0].facts.content}
    files.put(tmp_path / "b.png", 33)
    assert len({entry.facts.content for entry in checked(path, tmp_path).seen}) == 2


def test_several_processes_find_what_one_finds(tmp_path: Path):
    (tmp_path / "data").mkdir()
    path, _ = mixed(tmp_path / "data")
    entry = checked(path, tmp_path)
    with FactStore(tmp_path / "other.sqlite") as store:
        several = check(Source(str(path)).rows(), store, workers=2)
    assert several.problems == entry.problems
    assert several.seen == entry.seen


SUITES = Path(__file__).parents[2] / "eval" / "suites"
ALL_SPLITS = ("train", "calibrate", "test")


def report(folder: Path) -> Report:
    (folder / "data").mkdir()
    with FactStore(folder / "facts.sqlite") as store:
        return check(Source(str(files.emoset(folder / "data"))).rows(), store, workers=1)


def test_data_that_fits_has_no_difference(tmp_path: Path):
    suite = Suite("s", {"EmoSet-8": Task(MIKELS_8.labels, 1)}, {}, splits=ALL_SPLITS)
    assert list(differences(report(tmp_path), suite, Path("s.yaml"))) == []


def test_every_difference_is_named(tmp_path: Path):
    suite = Suite("s", {"EmoSet-8": Task(("awe", "fear"), 5), "FI-8": Task((), 7)}, {}, splits=("train", "test"))
    checked = report(tmp_path)
    listed = {entry.kind: str(entry) for entry in differences(checked, suite, Path("s.yaml"))}
    assert "'calibrate'" in listed["split not in the suite"]
    assert "'sadness'; its labels are awe, fear" in listed["label not in the suite"]
    assert "s.yaml: FI-8: 0 test rows, 7 published" in listed["number of rows"]
    other = Suite("s", {"FI-8": Task(())}, {}, splits=ALL_SPLITS)
    assert [entry.kind for entry in differences(checked, other, Path("s.yaml"))] == ["task not in the suite"]


def test_the_published_number_of_emosets_test_rows_is_asked_for(tmp_path: Path):
    listed = list(differences(report(tmp_path), load_suite(SUITES / "emoset.yaml"), SUITES / "emoset.yaml"))
    assert [entry.what for entry in listed] == ["1 test rows, 17,716 published"]


def test_a_table_of_one_label_is_a_problem_of_a_check_and_not_of_predictions(tmp_path: Path):
    rows = [{"image": files.put(tmp_path / f"{n}.png", n).name, "label": "joy"} for n in range(3)]
    path = files.lines(tmp_path / "t.jsonl", rows)
    (problem,) = checked(path, tmp_path).problems
    assert (problem.kind, problem.droppable) == ("too few classes", False)
    assert "'joy' is the only label" in str(problem)
    assert not checked(path, tmp_path, labels="joy,fear").problems
    source = PredictionSource((str(path),), own_labels=("joy", "fear"))
    assert [s.label for s in source.samples(source.checked().splits)] == ["joy"] * 3


def test_a_label_that_is_not_its_raters_favourite_is_noted(tmp_path: Path):
    for number in range(2):
        files.put(tmp_path / f"{number}.png", number)
    rows = [["0.png", "joy", 1, 4], ["1.png", "joy", 3, 3]]
    path = files.table(tmp_path / "t.csv", ["image", "label", "votes.joy", "votes.fear"], *rows)
    with FactStore(tmp_path / "facts.sqlite") as store:
        report = check(Source(str(path)).rows(), store, workers=1)
    assert [(note.kind, note.place.line) for note in report.notes] == [("label that is not its raters' favourite", 2)]
    assert not report.problems
