"""Files of views are read whole or refused with the key that is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from emocaliber.baselines.view_files import read_views, write_views
from emocaliber.core.errors import UserError

SOUND: dict[str, Any] = {
    "audio_train": np.arange(8.0).reshape(4, 2),
    "audio_test": np.ones((2, 2)),
    "label_train": np.array([0, 1, 10, 2]),
    "label_test": np.array([1, 0]),
    "votes_train": np.eye(4)[[0, 1, 3, 2]],
    "id_test": np.array(["a", "b"]),
}


def _file(folder: Path, **changed: Any) -> Path:
    content = {name: value for name, value in {**SOUND, **changed}.items() if value is not None}
    np.savez(folder / "views.npz", **content)
    return folder / "views.npz"


def test_the_keys_of_an_npz_become_views_labels_votes_and_ids(tmp_path: Path):
    view_set = read_views(_file(tmp_path))
    assert view_set.classes == ("0", "1", "2", "10")
    assert list(view_set.splits["train"].views) == ["audio"]
    assert view_set.splits["test"].ids.tolist() == ["a", "b"]
    assert view_set.splits["train"].ids[0] == "views/train/0"
    assert view_set.splits["train"].votes is not None
    assert view_set.splits["test"].votes is None


def test_what_is_written_is_read_again(tmp_path: Path):
    first = read_views(_file(tmp_path))
    write_views(tmp_path / "again.npz", first)
    again = read_views(tmp_path / "again.npz")
    assert (again.task, again.classes) == (first.task, first.classes)
    assert np.array_equal(again.splits["train"].views["audio"], first.splits["train"].views["audio"])
    assert again.splits["test"].ids.tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"label_train": None}, "'label_train' is missing"),
        ({"audio": np.ones((4, 2))}, "'audio' is not understood"),
        ({"audio_valid": np.ones((4, 2))}, "'audio_valid' is not understood"),
        ({"label_test": np.array([1, 0, 0])}, "'label_test' has 3 rows"),
        ({"votes_train": np.ones((4, 3))}, "counts for 4 labels"),
        ({"classes": np.array(["0", "1"])}, "label '10' is not in 'classes'"),
        ({"audio_test": np.array([["x", "y"], ["z", "z"]])}, "not numbers"),
        ({"audio_test": np.array([[1.0, 1e300], [1.0, 2.0]])}, "too large for 32-bit floats"),
        ({"text_train": np.ones((3, 2))}, "split 'train': view 'text' has shape"),
        ({"text_test": np.ones((2, 2))}, "'text_test' has no 'text_train' to learn from"),
        ({"audio_test": np.ones((2, 3))}, "'audio_test' has 3 numbers a row, 'audio_train' has 2"),
        ({"audio_test": np.array([[1.0, np.nan], [1.0, 2.0]])}, "split 'test': view 'audio', row 0: partly NaN"),
        ({"audio_train": None}, "split 'train': there is no view"),
        ({"label_train": np.zeros((4, 2), int)}, "'label_train' has shape"),
        ({"audio_test": np.ones((0, 2)), "label_test": np.array([], int), "id_test": None}, "'test' has no row"),
        ({"classes": np.array(["0", "1", "2", "10", "10"])}, "'classes' names a label twice"),
        ({"id_test": np.array(["a", "a"])}, "'id_test' names 'a' twice"),
        ({"votes_train": np.full((4, 4), 0.25)}, "'votes_train' holds shares"),
        ({"votes_train": np.full((4, 4), np.nan)}, "'votes_train' must hold counts"),
        ({"id_test": np.array([{}, {}], dtype=object)}, r"'id_test' holds Python objects.*astype"),
    ],
)
def test_a_wrong_key_is_named(tmp_path: Path, changed: dict[str, Any], what: str):
    path = _file(tmp_path, **changed)
    with pytest.raises(UserError, match=what) as raised:
        read_views(path)
    assert str(path) in str(raised.value)


def test_what_is_no_npz_is_refused(tmp_path: Path):
    (tmp_path / "text.npz").write_text("nothing")
    with pytest.raises(UserError, match=r"not a readable \.npz"):
        read_views(tmp_path / "text.npz")
    with pytest.raises(UserError, match="no such file"):
        read_views(tmp_path / "absent.npz")


def _parquet(folder: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), folder / "corpus.parquet")
    return folder / "corpus.parquet"


def _utterance(name: str, split: str, label: str, text: list[float] | None) -> dict[str, Any]:
    votes = [{"label": label, "count": 2}, {"label": "neutral", "count": 1}]
    views = {"view.audio": [0.1, 0.2, 0.3], "view.text": text}
    return {"id": name, "split": split, "label": label, "cluster": name[:3], "votes": votes, **views}


def test_a_corpus_in_parquet_is_read_with_its_votes_and_missing_views(tmp_path: Path):
    rows = [
        _utterance("s01_1", "train", "happy", [1.0, 2.0]),
        _utterance("s01_2", "train", "sad", None),
        _utterance("s02_1", "test", "sad", [3.0, 4.0]),
    ]
    view_set = read_views(_parquet(tmp_path, rows))
    train = view_set.splits["train"]
    assert view_set.classes == ("happy", "neutral", "sad")
    assert np.isnan(train.views["text"]).tolist() == [[False, False], [True, True]]
    assert train.votes is not None
    assert train.votes.tolist() == [[2, 1, 0], [0, 1, 2]]
    assert train.clusters.tolist() == ["s01", "s01"]


def test_a_view_that_a_whole_split_lacks_is_left_out_of_it(tmp_path: Path):
    rows = [_utterance("1", "train", "happy", [1.0]), _utterance("2", "train", "sad", [2.0])]
    view_set = read_views(_parquet(tmp_path, [*rows, _utterance("3", "test", "sad", None)]))
    assert list(view_set.splits["test"].views) == ["audio"]


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"view.text": [1.0, 2.0]}, r"'view\.text', row 1: 2 numbers, others have 1"),
        ({"label": None}, "'label', row 1: empty"),
        ({"split": "dev"}, "'split', row 1: 'dev'; write one of train, calibrate, test"),
        ({"id": "s01"}, "'id_train' names 's01' twice"),
    ],
)
def test_a_wrong_row_of_a_corpus_is_named(tmp_path: Path, changed: dict[str, Any], what: str):
    rows = [_utterance(name, "train", "sad", [1.0]) for name in ("s01", "s02")]
    path = _parquet(tmp_path, [rows[0], rows[1] | changed, _utterance("s03", "test", "happy", [1.0])])
    with pytest.raises(UserError, match=what) as raised:
        read_views(path)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize(
    ("column", "what"),
    [
        ({"view.text": ["a"]}, r"'view\.text' must hold a list of numbers"),
        ({"votes": ["happy"]}, "'votes' must hold a list of"),
    ],
)
def test_a_column_of_another_type_is_named(tmp_path: Path, column: dict[str, Any], what: str):
    with pytest.raises(UserError, match=what):
        read_views(_parquet(tmp_path, [_utterance("1", split, "sad", [1.0]) | column for split in ("train", "test")]))


@pytest.mark.parametrize(
    "labels",
    [[b"joy", b"fear", b"awe", b"joy"], ["joy", "fear ", "awe", " Joy"], [1.0, 2.0, 3.0, 1.0], [1, 2, 3, 1]],
)
def test_labels_of_any_kind_are_read_as_text(tmp_path: Path, labels: list[Any]):
    tests = np.array(labels[:2]) if not isinstance(labels[0], float) else np.array([1, 2])
    changed = {"label_train": np.array(labels), "label_test": tests, "votes_train": None}
    view_set = read_views(_file(tmp_path, **changed))
    assert len(view_set.classes) == 3
    assert set(view_set.classes) in ({"joy", "fear", "awe"}, {"1", "2", "3"})
    assert set(view_set.splits["test"].labels) <= set(view_set.classes)


@pytest.mark.parametrize(
    ("labels", "what"),
    [(np.array([0.0, np.nan, 1, 2]), r"'label_train', row 1: nan is no label"),
     (np.array(["joy", "nan", "awe", "joy"]), r"row 1: 'nan' is no label"),
     (np.array([b"joy", "b\u00f6se".encode("latin1"), b"awe", b"joy"]), "row 1: .*is not UTF-8")],
)  # fmt: skip
def test_a_missing_or_unreadable_label_is_refused_with_its_row(tmp_path: Path, labels: Any, what: str):
    with pytest.raises(UserError, match=what):
        read_views(_file(tmp_path, label_train=labels, label_test=labels[[0, 2]], votes_train=None))


def test_a_matlab_file_is_read_with_the_names_of_tmc(tmp_path: Path):
    from scipy.io import savemat

    joy = np.array(["joy", "fear"], dtype=object)
    content = {"x1_train": np.eye(2), "x1_test": np.ones((2, 2)), "gt_train": joy[:, None], "gt_test": joy[:, None]}
    savemat(tmp_path / "views.mat", content)
    view_set = read_views(tmp_path / "views.mat")
    assert view_set.classes == ("fear", "joy")
    assert view_set.splits["train"].labels.tolist() == ["joy", "fear"]
    savemat(tmp_path / "views.mat", content | {"gt_train": np.array([[1], [40]]), "gt_test": np.array([[40], [1]])})
    assert read_views(tmp_path / "views.mat").classes == ("1", "40")


LABELS = ["joy", "fear", "joy"]


def _cells(*values: Any) -> npt.NDArray[Any]:
    """A cell array."""
    cells = np.empty(len(values), object)
    cells[:] = values
    return cells


ARRAYS = [
    np.array(LABELS),
    np.array([b"joy", b"fear ", b"joy"]),
    np.array(LABELS)[:, None],
    np.array(LABELS)[None],
    np.array(["Joy", " fear", "joy"]),
]
# Python objects, which `.npz` files may not hold.
CELLS = [
    _cells(*LABELS),
    _cells(*LABELS)[:, None],
    _cells(*(_cells(label) for label in LABELS)),
    _cells(b"joy", b"fear", b"joy"),
]


@pytest.mark.parametrize(
    ("suffix", "labels"),
    [(".npz", array) for array in ARRAYS] + [(".mat", array) for array in ARRAYS + CELLS],
)
def test_labels_are_the_same_in_every_form_that_they_are_published_in(
    tmp_path: Path, labels: npt.NDArray[Any], suffix: str
):
    content = {f"x_{split}": np.eye(3) for split in ("train", "test")}
    content |= {"gt_train": labels, "gt_test": labels}
    path = tmp_path / f"views{suffix}"
    np.savez(path, **content) if suffix == ".npz" else savemat(path, content)
    view_set = read_views(path)
    assert [label.casefold() for label in view_set.splits["train"].labels] == LABELS
    assert len(view_set.classes) == 2


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        (_cells("joy", "fear", ""), r"row 2: '' is no label"),
        (_cells("joy", "fear", np.zeros((0, 0))), r"row 2: '' is no label"),
        (_cells("joy", "fear", np.nan), r"row 2: 'nan' is no label"),
        (np.array([1.0, np.nan, 2.0]), r"row 1: nan is no label"),
        (np.array([1.0, np.inf, 2.0]), r"row 1: inf is no label"),
        (np.array([0.0, 0.5, 1.0]), r"row 1: 0.5 is no label"),
        (np.array([0, 1, -1]), r"row 2: -1 is no class beside 0"),
        (_cells("joy", "fear", "unlabelled"), r"row 2: 'unlabelled' is no label"),
        (np.array(["joy"] * 3), r"all labels are 'joy'"),
    ],
)
def test_labels_that_are_missing_or_all_alike_are_refused(tmp_path: Path, labels: npt.NDArray[Any], what: str):
    content = {"x_train": np.eye(3), "x_test": np.eye(3), "label_train": labels, "label_test": labels}
    savemat(tmp_path / "views.mat", content)
    with pytest.raises(UserError, match=what):
        read_views(tmp_path / "views.mat")


@pytest.mark.parametrize(("numbers", "named"), [([0, 1, 0], "awe"), ([1, 2, 3], "awe"), ([2, 0, 1], "joy")])
def test_numbers_beside_classes_are_places_among_them(tmp_path: Path, numbers: list[int], named: str):
    content = {"x_train": np.eye(3), "x_test": np.eye(3), "classes": np.array(["awe", "fear", "joy"])}
    np.savez(tmp_path / "v.npz", label_train=np.array(numbers), label_test=np.array(numbers, float), **content)
    assert read_views(tmp_path / "v.npz").splits["test"].labels[0] == named


def test_numbers_beyond_the_classes_are_refused(tmp_path: Path):
    content = {"x_train": np.eye(3), "x_test": np.eye(3), "classes": np.array(["awe", "fear", "joy"])}
    np.savez(tmp_path / "v.npz", label_train=np.array([1, 2, 7]), label_test=np.array([1, 2, 7]), **content)
    with pytest.raises(UserError, match="numbers up to 7, and 'classes' names 3"):
        read_views(tmp_path / "v.npz")


def test_truth_values_in_one_split_and_numbers_in_another_are_refused(tmp_path: Path):
    content = {"x_train": np.eye(2), "x_test": np.eye(2), "label_train": [True, False], "label_test": [1, 0]}
    np.savez(tmp_path / "views.npz", **content)
    with pytest.raises(UserError, match="True and False in one split"):
        read_views(tmp_path / "views.npz")
    np.savez(tmp_path / "views.npz", **content | {"label_train": [-1, 1], "label_test": [1, -1]})
    assert read_views(tmp_path / "views.npz").classes == ("-1", "1")
