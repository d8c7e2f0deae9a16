"""Suite and reference files: the committed ones load, bad ones are errors that say how to mend them."""

from __future__ import annotations

from pathlib import Path

import pytest

from emocaliber.core.errors import UserError
from emocaliber.data.embedded import load
from emocaliber.data.layouts import LAYOUTS
from emocaliber.data.rows import SPLITS
from emocaliber.evaluation.suite import load_reference, load_suite

EVAL = Path(__file__).parents[2] / "eval"


@pytest.mark.parametrize("path", sorted((EVAL / "reference").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_committed_reference_names_its_source(path: Path):
    figures = load_reference(path)
    assert figures
    assert all("arXiv" in figure.source for figure in figures)


def test_the_tiny_suite_fits_the_embedded_data():
    suite = load_suite(EVAL / "suites" / "tiny.yaml")
    for task, spec in suite.tasks.items():
        samples = load(task)
        assert {sample.label for sample in samples} - {None} == set(spec.labels)
        assert {sample.group for sample in samples} == {name for name, tasks in suite.groups.items() if task in tasks}


def test_vecbench_has_the_published_number_of_rows():
    suite = load_suite(EVAL / "suites" / "vecbench.yaml")
    assert sum(task.rows or 0 for task in suite.tasks.values()) == 8035
    assert len(suite.tasks["WebEmo-25"].labels) == 25


@pytest.mark.parametrize("path", sorted((EVAL / "suites").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_committed_suite_names_a_layout_that_is_read_and_splits_that_there_are(path: Path):
    suite = load_suite(path)
    assert suite.layout is None or suite.layout in LAYOUTS
    assert set(suite.splits) <= set(SPLITS)
    assert {task for tasks in suite.groups.values() for task in tasks} == set(suite.tasks)
    of_layout = LAYOUTS[suite.layout].task if suite.layout else None
    assert of_layout is None or of_layout in suite.tasks


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ntasks: {}\n", "its keys must be exactly"),
        ("name: x\ntasks: []\ngroups: {}\n", "'tasks' must be a mapping"),
        ("name: x\ntasks: {a: {labels: [p, p]}}\ngroups: {}\n", "labels of task 'a'"),
        ("name: x\ntasks: {a: {labels: [p, q], n: 3}}\ngroups: {}\n", "task 'a' must have 'labels'"),
        ("name: x\ntasks: {a: {labels: [p, q], rows: many}}\ngroups: {}\n", "'rows' of task 'a'"),
        ("name: x\ntasks: {a: {labels: [p, q]}}\ngroups: {g: [b]}\n", r"group 'g' lists \['b'\]"),
        ("name: x\ntasks: {a: {taxonomy: moods}}\ngroups: {}\n", "taxonomy 'moods' of task 'a' is not one of"),
        ("name: x\ntasks: {a: {taxonomy: ekman-6, labels: [p, q]}}\ngroups: {}\n", "'labels' or 'taxonomy'"),
        ("name: x\ntasks: {}\ngroups: {}\nsplits: test\n", "'splits' must be a list"),
        ("name: [", "is not YAML"),
    ],
)
def test_a_bad_suite_is_an_error_that_names_the_key(tmp_path: Path, text: str, message: str):
    path = tmp_path / "suite.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_suite(path)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("{kind: task, name: a, aggregation: pooled, metric: acc, value: 0.5}", "unknown metric 'acc'"),
        ("{kind: tasks, name: a, aggregation: pooled, metric: ece, value: 0.5}", "'kind' is one of"),
        ("{kind: task, name: a, aggregation: pooled, metric: ece, value: 5}", "must be a fraction"),
        ("{kind: task, name: a, metric: ece, value: 0.5}", "keys must be exactly"),
    ],
)
def test_a_bad_figure_is_an_error_that_names_it(tmp_path: Path, figure: str, message: str):
    path = tmp_path / "reference.yaml"
    path.write_text(f"system: s\nsource: arXiv\nfigures:\n  - {figure}\n")
    with pytest.raises(UserError, match=f"figure 1.*{message}"):
        load_reference(path)


def test_a_file_that_is_not_there_is_an_error_that_names_it(tmp_path: Path):
    with pytest.raises(UserError, match=r"nothing\.yaml cannot be read"):
        load_suite(tmp_path / "nothing.yaml")
