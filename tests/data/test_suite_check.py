"""A suite beside the data: what does not agree is said, with the suite's file and key."""

from __future__ import annotations

from pathlib import Path

from emocaliber.core.taxonomy import MIKELS_8
from emocaliber.data.check import Report, check
from emocaliber.data.facts import FactStore
from emocaliber.data.layouts import Source
from emocaliber.data.suite_check import differences
from emocaliber.evaluation.suite import Suite, Task, load_suite
from tests.data import layout_files as files

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
    found = {one.kind: str(one) for one in differences(checked, suite, Path("s.yaml"))}
    assert "'calibrate'" in found["split not in the suite"]
    assert "'sadness'; its labels are awe, fear" in found["label not in the suite"]
    assert "s.yaml: FI-8: 0 test rows, 7 published" in found["number of rows"]
    other = Suite("s", {"FI-8": Task(())}, {}, splits=ALL_SPLITS)
    assert [one.kind for one in differences(checked, other, Path("s.yaml"))] == ["task not in the suite"]


def test_the_published_number_of_emosets_test_rows_is_asked_for(tmp_path: Path):
    found = list(differences(report(tmp_path), load_suite(SUITES / "emoset.yaml"), SUITES / "emoset.yaml"))
    assert [one.what for one in found] == ["1 test rows, 17,716 published"]
