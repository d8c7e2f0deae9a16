"""Files in the layouts of the field, as published, for tests to read and to damage."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from emocaliber.core.images import read_image_bytes
from emocaliber.core.samples import Sample
from emocaliber.core.taxonomy import FERPLUS_8, MIKELS_8
from emocaliber.data.layouts import Source
from emocaliber.data.rows import Problem, Row

MIKELS = list(MIKELS_8.labels)
CANDIDATES = [label.capitalize() for label in MIKELS]


def picture(seed: int, side: int = 16, encoding: str = "PNG") -> bytes:
    """A picture unlike that of any other seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC).save(buffer, encoding)
    return buffer.getvalue()


def put(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(picture(seed))
    return path


def lines(path: Path, rows: Iterable[object]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def table(path: Path, *rows: Sequence[object]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def vecbench_row(image: str, label: str = "Awe", **changes: object) -> dict[str, object]:
    question = f"Which emotion might this image evoke? Choose the most likely one from {CANDIDATES}."
    content = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    return {
        "conversations": [{"role": "user", "content": content}],
        "ground_truth": label,
        "candidates": CANDIDATES,
        "task": "FI-8",
    } | changes


STEPS = (
    "<element>A wide valley.</element><human>No people.</human><context>Dawn.</context>"
    "<interaction>Light fills it.</interaction><analysis>It may evoke wonder.</analysis>"
)


def reasoned_row(image: str, label: str = "Awe", *, answer: str = "", **changes: object) -> dict[str, object]:
    """As VEC-CoT's rows: the question, and the reasoning and the answer of the assistant."""
    row = vecbench_row(image, label, **changes)
    said = f"<think>{STEPS}</think><answer>{answer or label}</answer><confidence>0.85</confidence>"
    return row | {"conversations": [*row["conversations"], {"role": "assistant", "content": said}]}  # type: ignore[misc]


def vecbench(folder: Path) -> Path:
    for number in range(3):
        put(folder / "images" / f"{number}.jpg", number)
    unbiased = {"task": "UnbaisedEmo-6", "candidates": ["anger", "fear", "joy", "love", "sadness", "surprise"]}
    return lines(
        folder / "test_8k.jsonl",
        [
            vecbench_row("images/0.jpg"),
            vecbench_row("images/1.jpg", "contentment"),
            vecbench_row("images/2.jpg", "joy", **unbiased),
        ],
    )


def swift(folder: Path) -> Path:
    rows = []
    for number, label in enumerate(["awe", "fear"]):
        put(folder / f"{number}.png", number)
        said = [{"role": "user", "content": "<image>Which emotion?"}, {"role": "assistant", "content": label}]
        rows.append({"messages": said, "images": [f"{number}.png"]})
    return lines(folder / "swift.jsonl", rows)


def emoset(folder: Path) -> Path:
    for place, (split, label) in enumerate([("train", "awe"), ("val", "fear"), ("test", "sadness")]):
        image = f"image/{label}/{label}_0000{place}.jpg"
        put(folder / image, place)
        annotation = f"annotation/{label}/{label}_0000{place}.json"
        (folder / f"{split}.json").write_text(json.dumps([[label, image, annotation]]))
    (folder / "info.json").write_text(json.dumps({"label2idx": {"emotion": dict.fromkeys(MIKELS, 0)}}))
    return folder


def by_class(folder: Path, *names: str, each: int = 2) -> Path:
    for place, name in enumerate(names):
        for number in range(each):
            put(folder / name / f"{number}.jpg", 10_000 * place + number)
    return folder


def webemo(folder: Path) -> Path:
    put(folder / "images" / "a b.jpg", 1)
    put(folder / "images" / "c.jpg", 2)
    (folder / "train25.txt").write_text("images/a b.jpg cheerfullness\n")
    (folder / "test25.txt").write_text("images/c.jpg irritabilty\n")
    return folder


def artphoto(folder: Path) -> Path:
    put(folder / "amusement_0236.jpg", 1)
    put(folder / "sad_0007.jpg", 2)
    (folder / "ReadMe.rtf").write_text("about")
    return folder


def abstract(folder: Path) -> Path:
    put(folder / "abstract_0001.jpg", 1)
    put(folder / "abstract_0002.jpg", 2)
    names = ["Amusement", "Anger", "Awe", "Content", "Disgust", "Excitement", "Fear", "Sad"]
    rows = [["''", *(f"'{name}'" for name in names)], ["'abstract_0001.jpg'", 5, 1, 0, 2, 0, 3, 1, 2]]
    rows.append(["'abstract_0002.jpg'", 0, 0, 4, 4, 0, 3, 1, 2])
    (folder / "ABSTRACT_groundTruth.csv").write_text("".join(",".join(map(str, row)) + "\n" for row in rows))
    return folder


def emotion6(folder: Path) -> Path:
    names = ["anger", "disgust", "fear", "joy", "sadness", "surprise", "neutral"]
    header = ["[image_filename]", "[valence]", "[arousal]", *(f"[prob. {name}]" for name in names)]
    shares = [[0.133333, 0.7, 0, 0.0666667, 0.1, 0, 0], [0.45, 0, 0, 0.5, 0.05, 0, 0]]
    lines = ["\t".join(header)]
    for number, row in enumerate(shares):
        put(folder / "images" / "disgust" / f"{number}.jpg", number)
        lines.append("\t".join(map(str, [f"disgust/{number}.jpg", 2.5, 3.8, *row])))
    (folder / "ground_truth.txt").write_text("".join(line + "\r\n" for line in lines))
    return folder


def fer2013(folder: Path) -> Path:
    grey = np.random.default_rng(0).integers(0, 256, (2, 2304))
    rows = [[n, " ".join(map(str, grey[n])), ("Training", "PrivateTest")[n]] for n in range(2)]
    return table(folder / "fer2013.csv", ["emotion", "pixels", "Usage"], *rows)


def ferplus(folder: Path) -> Path:
    put(folder / "FER2013Train" / "fer0000000.png", 1)
    put(folder / "FER2013Valid" / "fer0000001.png", 2)
    put(folder / "FER2013Test" / "fer0000002.png", 3)
    table(
        folder / "fer2013new.csv",
        ["Usage", "Image name", *FERPLUS_8.labels, "unknown", "NF"],
        ["Training", "fer0000000.png", 4, 0, 0, 1, 3, 2, 0, 0, 0, 0],
        ["PublicTest", "fer0000001.png", 0, 6, 0, 0, 0, 0, 0, 0, 4, 0],
        ["PrivateTest", "fer0000002.png", 1, 1, 1, 1, 0, 0, 0, 0, 6, 0],
        ["Training", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
    )
    return folder


def ferplus_twins(folder: Path) -> Path:
    """FER+ with one face in train (twice) and test, whose own votes differ, and another face in each."""
    faces = [("Train", 0, 1, [8, 0, 0, 2, 0, 0, 0, 0, 0, 0]), ("Train", 1, 1, [3, 0, 0, 5, 0, 0, 0, 0, 1, 1]),
             ("Train", 2, 2, [0, 9, 0, 0, 0, 0, 0, 0, 1, 0]), ("Test", 3, 1, [6, 0, 0, 3, 0, 0, 0, 0, 1, 0]),
             ("Test", 4, 3, [0, 0, 9, 0, 0, 0, 0, 0, 1, 0])]  # fmt: skip
    (folder / "FER2013Valid").mkdir(parents=True)
    (folder / "FER2013Valid" / "label.csv").write_text("")
    merged = [["Usage", "Image name", *FERPLUS_8.labels, "unknown", "NF"]]
    for part, number, seed, votes in faces:
        name = f"fer000000{number}.png"
        put(folder / f"FER2013{part}" / name, seed)
        with (folder / f"FER2013{part}" / "label.csv").open("a", newline="") as file:
            csv.writer(file).writerow([name, "(0, 0, 48, 48)", *votes])
        same = next(of for _, _, shown, of in faces if shown == seed)
        merged.append([{"Train": "Training", "Test": "PrivateTest"}[part], name, *map(str, same)])
    table(folder / "fer2013new.csv", *merged)
    return folder


def ferplus_counts(neutral: int, sadness: int) -> dict[str, int]:
    """Ten answers, those that are neither under `unknown`."""
    others = 10 - neutral - sadness
    return (
        dict.fromkeys(FERPLUS_8.labels, 0)
        | {"neutral": neutral, "sadness": sadness}
        | ({"unknown": others} if others else {})
    )


def with_bytes(sample: Sample) -> Sample:
    """The sample with its picture in memory, to compare with."""
    return replace(sample, image=read_image_bytes(sample.image))


def read(source: Path | str, **said: object) -> list[Sample]:
    """The samples of a source without a problem in it."""
    entries = list(Source(str(source), **said).rows())  # type: ignore[arg-type]
    assert not [str(entry) for entry in entries if isinstance(entry, Problem)]
    return [entry.sample for entry in entries if isinstance(entry, Row)]


def problems(source: Path | str, **said: object) -> list[Problem]:
    return [entry for entry in Source(str(source), **said).rows() if isinstance(entry, Problem)]  # type: ignore[arg-type]
