"""The parts of a rated set share no picture, and what stage 2 asks about has no answer in it."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
from PIL import Image

from emocaliber.core.images import load_image
from emocaliber.core.samples import Sample
from eval.benchmarks.real_parts import UNSEEN_CORRUPTIONS, corrupt_every_way, cut_parts

LABELS = ("joy", "fear")


def sample(number: int, split: str) -> Sample:
    pixels = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    name = f"{split}-{number}"
    return Sample(name, file.getvalue(), "faces", LABELS, "joy", split, "", name, votes={"joy": 7, "fear": 3})


def parts() -> dict[str, list[Sample]]:
    splits = {"train": 60, "calibrate": 40, "test": 12}
    rows = [sample(number, split) for split, count in splits.items() for number in range(count)]
    return cut_parts(rows, kept=20, test=10, corrupted=4)


def test_no_picture_is_learned_from_twice_or_judged_after_it_was_learned_from() -> None:
    found = parts()
    learned = {name: {row.cluster for row in found[name] if row.split != "calibrate"} for name in ("taught", "asked")}
    held = {name: {row.cluster for row in found[name] if row.split == "calibrate"} for name in ("asked", "calibrate")}
    clusters = [*learned.values(), *held.values(), *({row.cluster for row in found[n]} for n in ("fresh", "test"))]
    assert sum(map(len, clusters)) == len(set.union(*clusters))
    assert all(clusters)
    assert {row.cluster for row in found["shifted"]} <= {row.cluster for row in found["test"]}


def test_a_third_of_what_is_learned_from_is_a_copy_in_the_place_of_its_original() -> None:
    rows = [row for row in parts()["taught"] if row.split == "train"]
    copied = [row for row in rows if "~" in row.id]
    assert len(copied) == round(len(rows) / 3)
    assert len({row.cluster for row in rows}) == len(rows)
    assert all(row.votes == {"joy": 7, "fear": 3} for row in copied)


def test_what_stage_2_asks_about_has_neither_label_nor_votes() -> None:
    unlabelled = [row for row in parts()["asked"] if row.split == "unlabelled"]
    assert len(unlabelled) == 20
    assert all(row.label is None and row.votes is None for row in unlabelled)


def test_every_corruption_changes_the_picture_and_keeps_what_is_known_of_it() -> None:
    original = sample(0, "test")
    copies = corrupt_every_way([original])
    assert [row.group for row in copies] == ["noise", "occlusion", "blur", *UNSEEN_CORRUPTIONS]
    for row in copies:
        assert replace(row, image=b"", id="", group="") == replace(original, image=b"", id="", group="")
        assert load_image(row.image).size == (24, 24)
        assert not np.array_equal(load_image(row.image), load_image(original.image))
