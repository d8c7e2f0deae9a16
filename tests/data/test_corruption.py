"""Corruption of images starts at nothing, is repeatable and grows; copies to learn from keep all but the picture."""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emocaliber.cli import main
from emocaliber.core.errors import UserError
from emocaliber.core.images import check_image, load_image
from emocaliber.data.corruption import (
    IMAGE_CORRUPTIONS,
    ImageCorruption,
    corrupted_copies,
    corrupted_image,
    corrupted_sample,
)
from emocaliber.data.embedded import FILES, load
from emocaliber.data.layouts import Source
from emocaliber.data.leaks import check_disjoint
from emocaliber.data.parquet import read_samples
from emocaliber.data.rows import Place, Row, rows_only

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))


@pytest.mark.parametrize("kind", IMAGE_CORRUPTIONS)
def test_an_image_changes_more_at_a_higher_level_and_keeps_its_size(kind: ImageCorruption):
    def changed(level: float) -> float:
        corrupted = corrupted_image(PICTURE, kind, level, seed=3)
        assert corrupted.size == PICTURE.size
        return float(np.abs(np.asarray(corrupted, float) - np.asarray(PICTURE, float)).mean())

    assert changed(0.0) == 0 < changed(0.2) < changed(0.8)
    assert changed(0.2) == changed(0.2)


def test_a_sample_keeps_everything_but_its_picture_and_a_broken_one_stays_as_it_is():
    sample = load("emoji", "test")[0]
    corrupted = corrupted_sample(sample, "occlusion", 0.3)
    assert corrupted.image != sample.image
    assert replace(corrupted, image=sample.image) == sample
    assert corrupted_sample(sample, "occlusion", 0.3) == corrupted
    broken = replace(sample, image=b"no picture")
    assert corrupted_sample(broken, "blur", 1.0) is broken


def test_copies_are_of_all_rows_but_the_test_split_and_stay_on_their_originals_side(tmp_path: Path):
    assert main(["data", "corrupt", str(FILES["emoji"]), "--out", str(tmp_path / "c.parquet")]) == 0
    rows = [row.sample for row in rows_only(Source(str(FILES["emoji"])).rows())]
    copies = read_samples(tmp_path / "c.parquet")
    known = {row.id: row for row in rows}
    assert len(copies) == sum(row.split != "test" for row in rows)
    for copy in copies:
        original = known[copy.id.rpartition("~")[0]]
        assert replace(copy, id=original.id, image=original.image) == original
        assert copy.image != original.image
    check_disjoint([*rows, *copies])


def test_every_kind_falls_on_a_third_and_a_square_lies_anywhere():
    white = io.BytesIO()
    Image.new("RGB", (60, 40), "white").save(white, "PNG")
    plain = replace(load("emoji", "train")[0], image=white.getvalue())
    kinds: Counter[str] = Counter()
    places = []
    for copy in corrupted_copies(Row(Place("any"), replace(plain, id=f"{n}")) for n in range(600)):
        kind = copy.sample.id.rpartition("~")[2]
        kinds[kind] += 1
        covered = np.flatnonzero((np.asarray(load_image(copy.sample.image)) == 128).all(2).any(1))
        if kind == "occlusion" and 0 < len(covered) < 30:
            places.append(covered[0] / (40 - len(covered)))
    assert set(kinds) == set(IMAGE_CORRUPTIONS)
    assert min(kinds.values()) > 0.28 * 600
    assert min(places) < 0.1
    assert max(places) > 0.9


def test_a_file_of_test_rows_alone_has_nothing_to_learn_from():
    with pytest.raises(UserError, match="no rows outside the split test"):
        list(corrupted_copies([Row(Place("any"), load("emoji", "test")[0])]))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_picture_that_cannot_be_read_is_named(workers: int):
    broken = Row(Place("faces.csv", 7), replace(load("emoji", "train")[0], image=b"no picture"))
    with pytest.raises(UserError, match=r"faces.csv, line 7: image: .*replace it with"):
        list(corrupted_copies([broken], workers))


def test_copies_are_the_same_from_several_processes_and_photographs_stay_jpeg():
    samples = load("emoji", "train")[:200]
    photo = io.BytesIO()
    PICTURE.save(photo, "JPEG")
    rows = [Row(Place("any"), plain) for plain in [*samples, replace(samples[0], id="photo", image=photo.getvalue())]]
    copies = list(corrupted_copies(rows, 2))
    assert copies == list(corrupted_copies(rows))
    assert isinstance(copies[-1].sample.image, bytes)
    assert check_image(copies[-1].sample.image)[0] == "JPEG"
