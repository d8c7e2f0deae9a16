"""Kinds of damage, each written to disk with the sentence that a user needs.

A case writes a source under a folder and says: the kind that the check counts, where the problem stands (a part of the
path, with the line or row), its key, and words of the sentence and of the way to mend it.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.data import layout_files as files


@dataclass(frozen=True)
class Damage:
    """One case. `write` returns the source."""

    name: str
    write: Callable[[Path], Path]
    kind: str
    where: str
    key: str
    words: str
    said: dict[str, Any] = field(default_factory=dict)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes, pixels: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")


def bad_picture(content: bytes, name: str = "b.png") -> Callable[[Path], Path]:
    """A table whose second row names this file."""

    def write(folder: Path) -> Path:
        files.put(folder / "a.png", 1)
        (folder / name).write_bytes(content)
        return files.table(folder / "t.csv", ["image", "label"], ["a.png", "joy"], [name, "fear"])

    return write


def row(**changes: object) -> Callable[[Path], Path]:
    """JSON Lines whose second row differs from a good one by these keys (None: left out)."""

    def write(folder: Path) -> Path:
        good = {"image": "a.png", "label": "joy", "candidates": ["joy", "fear"]}
        files.put(folder / "a.png", 1)
        files.put(folder / "b.png", 2)
        changed = {key: value for key, value in (good | {"image": "b.png"} | changes).items() if value is not None}
        return files.lines(folder / "t.jsonl", [good, changed])

    return write


def text(content: str | bytes, name: str = "t.jsonl") -> Callable[[Path], Path]:
    """A file of good line, then this."""

    def write(folder: Path) -> Path:
        files.put(folder / "a.png", 1)
        good = b'{"image": "a.png", "label": "joy", "candidates": ["joy", "fear"]}\n'
        good = b"image,label\na.png,joy\n" if name.endswith(".csv") else good
        (folder / name).write_bytes(good + (content.encode() if isinstance(content, str) else content))
        return folder / name

    return write


def vecbench(**changes: object) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        files.put(folder / "a.png", 1)
        good = files.vecbench_row("a.png")
        changed = {k: v for k, v in (good | changes).items() if v is not None}
        return files.lines(folder / "test.jsonl", [good, changed])

    return write


def swift(content: str, images: list[str], answer: str = "awe") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        path = files.swift(folder)
        said = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        with path.open("a") as file:
            file.write(json.dumps({"messages": said if answer else said[:1], "images": images}) + "\n")
        return path

    return write


def folder(change: Callable[[Path], object]) -> Callable[[Path], Path]:
    """A folder by class, changed."""

    def write(path: Path) -> Path:
        files.by_class(path / "photos", "happy", "sad")
        change(path / "photos")
        return path / "photos"

    return write


def broken_parquet(path: Path) -> Path:
    (path / "t.parquet").write_bytes(b"PAR1 and no more")
    return path / "t.parquet"


def parquet_picture(path: Path) -> Path:
    rows = {"image": [{"bytes": files.picture(1), "path": None}, {"bytes": b"GIF89a", "path": None}],
            "label": ["joy", "fear"]}  # fmt: skip
    pq.write_table(pa.table(rows), path / "t.parquet")
    return path / "t.parquet"


def two_splits(second: Callable[[bytes], bytes], **changes: str) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        first = files.picture(1, side=64)
        (path / "a.png").write_bytes(first)
        (path / "b.png").write_bytes(second(first))
        rows = [{"image": "a.png", "label": "joy", "split": "train"}, {"image": "b.png", "label": "joy",
                "split": "test"} | changes]  # fmt: skip
        return files.lines(path / "t.jsonl", [row | {"candidates": ["joy", "fear"]} for row in rows])

    return write


def smaller(content: bytes) -> bytes:
    return encoded(Image.open(io.BytesIO(content)).resize((48, 48)), "JPEG", quality=80)


def sparse(path: Path) -> Path:
    source = bad_picture(b"")(path)
    with (path / "b.png").open("wb") as file:
        file.truncate(100_000_001)
    return source


def emoset_entry(path: Path) -> Path:
    files.emoset(path)
    (path / "test.json").write_text(json.dumps([["awe"]]))
    return path


def emoset_label(path: Path) -> Path:
    files.emoset(path)
    (path / "test.json").write_text(json.dumps([["joy", "image/awe/awe_00000.jpg", "x.json"]]))
    return path


def ferplus_count(path: Path) -> Path:
    files.ferplus(path)
    source = path / "fer2013new.csv"
    source.write_text(source.read_text().replace("Training,fer0000000.png,4", "Training,fer0000000.png,four"))
    return path


def abstract_fields(path: Path) -> Path:
    files.abstract(path)
    source = path / "ABSTRACT_groundTruth.csv"
    source.write_text(source.read_text() + "'abstract_0003.jpg',1,2\n")
    return path


def webemo_number(path: Path) -> Path:
    files.webemo(path)
    (path / "test25.txt").write_text("images/c.jpg 7\n")
    return path


NOISE = Image.effect_noise((40, 40), 90).convert("RGB")
MOVING = encoded(NOISE, "WEBP", save_all=True, append_images=[NOISE.rotate(90)])

CASES = [
    # what a table's rows can be
    Damage("image missing", row(image="gone.png"), "missing image", "t.jsonl, line 2", "image",
           "gone.png.*add the file"),
    Damage("no image named", row(image=None), "no image named", "t.jsonl, line 2", "image", "path under the data root"),
    Damage("image column misspelt", row(image=None, imagee="b.png"), "no image named", "line 2", "image",
           "rename 'imagee' to 'image'"),
    Damage("label not among candidates", row(label="awe"), "label not among candidates", "t.jsonl, line 2", "label",
           "'awe'.*correct it, or the candidates joy, fear"),
    Damage("no label", row(label=None), "no label", "t.jsonl, line 2", "label",
           "neither a label nor votes.*unlabelled"),
    Damage("label of the wrong type", row(label=["joy", "fear"]), "wrong type", "line 2", "label",
           "write the label's name"),
    Damage("candidates as a string", row(candidates="joy, fear"), "candidates malformed", "line 2", "candidates",
           "write a list"),
    Damage("candidate repeated", row(candidates=["joy", "Joy "]), "candidate repeated", "line 2", "candidates",
           "list each label once"),
    Damage("one candidate", row(candidates=["joy"]), "too few candidates", "line 2", "candidates", "two or more"),
    Damage("duplicate id", row(id="t/1"), "duplicate id", "t.jsonl, line 2", "id", "t/1.*line 1.*its own"),
    Damage("unknown split", row(split="training data"), "unknown split", "line 2", "split", "write one of train"),
    Damage("id of the wrong type", row(id={"a": 1}), "wrong type", "line 2", "id", "one plain value"),
    # votes
    Damage("vote for another label", row(votes={"awe": 3}), "vote for an unknown label", "line 2", "votes",
           "'awe'.*joy, fear"),
    Damage("negative count", row(votes={"joy": -3}), "votes malformed", "line 2", "votes", "whole number, 0 or more"),
    Damage("half a vote", row(votes={"joy": 2.5}), "votes malformed", "line 2", "votes", "whole number"),
    Damage("nobody voted", row(votes={"joy": 0}), "no vote", "line 2", "votes", "leave the votes out"),
    Damage("more votes than raters", row(votes={"joy": 30}, raters=20), "votes malformed", "line 2", "votes",
           "30 votes.*20 raters"),
    Damage("a rater twice", row(votes=[{"rater": "a", "label": "joy"}] * 2), "votes malformed", "line 2", "votes",
           "one answer a rater"),
    Damage("a mean without raters", row(votes={"joy": {"mean": 2.0, "sd": 1.0}}), "votes malformed", "line 2", "votes",
           "give their number as n"),
    # lines of files
    Damage("broken JSON", text('{"image": "a.png", \n'), "not JSON", "t.jsonl, line 2", "", "whole object a line"),
    Damage("NaN in JSON", text('{"image": "a.png", "label": NaN}\n'), "no label", "line 2", "label", "is missing"),
    Damage("a list for an object", text('["a.png", "joy"]\n'), "not an object", "t.jsonl, line 2", "", "write {...}"),
    Damage("JSON not UTF-8", text(b'{"image": "a.png", "label": "\xe9"}\n'), "not UTF-8", "line 2", "", "as UTF-8"),
    Damage("CSV with a field too few", text("b.png\n", "t.csv"), "wrong number of fields", "t.csv, line 3", "",
           "1 fields, and the header has 2"),
    Damage("CSV with a field too many", text("b.png,joy,1\n", "t.csv"), "wrong number of fields", "t.csv, line 3", "",
           "3 fields, and the header has 2"),
    Damage("CSV not UTF-8", text(b"b.png,\xe9\n", "t.csv"), "not UTF-8", "t.csv, line 3", "", "save the file as UTF-8"),
    Damage("votes that are no JSON", lambda p: files.table(p / "t.csv", ["image", "votes"], ["a.png", "joy: 3"]),
           "cell is not JSON", "t.csv, line 2", "votes", "joy"),
    Damage("broken Parquet", broken_parquet, "not Parquet", "t.parquet", "", "write it anew"),
    Damage("Parquet with a bad picture", parquet_picture, "not an image", "t.parquet, row 2", "image",
           "PNG, JPEG, WEBP"),
    Damage("no rows", lambda p: files.lines(p / "t.jsonl", []), "no rows", "the source", "", "no row"),
    # pictures
    Damage("cut short", bad_picture(encoded(NOISE)[:700]), "unreadable image", "t.csv, line 3", "image",
           "replace the file"),
    Damage("empty file", bad_picture(b""), "empty image", "t.csv, line 3", "image", "b.png: the file is empty"),
    Damage("text renamed", bad_picture(b"no picture at all"), "not an image", "t.csv, line 3", "image",
           "PNG, JPEG, WEBP"),
    Damage("too many pixels", bad_picture(png(50_000, 50_000)), "oversized image", "t.csv, line 3", "image",
           "more than the 40,000,000 pixels allowed.*scale it down"),
    Damage("too many bytes", sparse, "oversized image", "t.csv, line 3", "image", "100,000,001 bytes.*scale it down"),
    Damage("too small", bad_picture(encoded(NOISE.resize((2, 2)))), "undersized image", "line 3", "image", "2 x 2"),
    Damage("a strip", bad_picture(encoded(NOISE.resize((1000, 4)))), "undersized image", "line 3", "image", "1000 x 4"),
    Damage("an animation", bad_picture(MOVING, "b.webp"), "animated image", "line 3", "image",
           "2 frames.*still picture"),
    # where pictures lie
    Damage("outside the root", row(image="../a.png"), "missing image", "line 2", "image", r"\.\./a.png"),
    Damage("a name without end", row(image="x" * 5000), "missing image", "line 2", "image", "^.{0,600}$"),
    Damage("a field without end", text("b.png," + "x" * 200_000 + "\n", "t.csv"), "not CSV", "t.csv, line 3", "",
           "field larger than field limit"),
    Damage("an absolute path", row(image="/etc/hostname"), "image outside the root", "line 2", "image",
           "copy the file under the data root"),
    Damage("an address", row(image="https://example.org/a.png"), "image by address", "line 2", "image",
           "download it first"),
    Damage("a folder for a picture", row(image="."), "missing image", "line 2", "image", "not a regular file"),
    # overlaps
    Damage("the same picture in two splits", two_splits(lambda same: same), "same picture in two splits", "line 2",
           "image", "t.jsonl, line 1.*put both into one split"),
    Damage("nearly the same picture in two splits", two_splits(smaller), "near-duplicate in two splits", "line 2",
           "image", "nearly the same picture as .*t.jsonl, line 1"),
    Damage("a subject in two splits", two_splits(lambda _: files.picture(9, 64), cluster="t/1"),
           "cluster in two splits",
           "line 2", "cluster", "'t/1'.*emocaliber data split"),
    Damage("one picture with two labels", two_splits(lambda same: same, split="train", label="fear"),
           "two labels for one picture", "line 2", "label", "'fear', but .*line 1.*'joy'"),
    # conversations
    Damage("unknown task", vecbench(task="FI-9"), "unknown task", "test.jsonl, line 2", "task", "write one of FI-2"),
    Damage("no ground truth", vecbench(ground_truth=None), "key missing", "line 2", "ground_truth", "published file"),
    Damage("no image in the conversation", vecbench(conversations=[{"role": "user", "content": "Which?"}]),
           "no image named", "line 2", "conversations", "0 images"),
    Damage("a conversation of text", vecbench(conversations="Which?"), "conversation malformed", "line 2",
           "conversations", "role and content"),
    Damage("images without marks", swift("Which?", ["0.png", "1.png"]), "placeholders differ", "swift.jsonl, line 3",
           "images", "2 images for 0 <image>.*once for each image"),
    Damage("marks without images", swift("<image><image>", ["0.png"]), "placeholders differ", "line 3", "images",
           "1 images for 2 <image>"),
    Damage("two images", swift("<image><image>", ["0.png", "1.png"]), "several images", "line 3", "images",
           "one image a row"),
    Damage("no answer", swift("<image>", ["0.png"], ""), "no label", "line 3", "messages", "add the answer"),
    # folders
    Damage("an image without a class", folder(lambda p: files.put(p / "x.png", 3)), "image without a class",
           "photos/x.png", "", "move it into one"),
    Damage("a text among the images", folder(lambda p: (p / "sad" / "notes.txt").write_text("x")), "not an image file",
           "photos/sad/notes.txt", "", "take it out of the class"),
    Damage("an empty class", folder(lambda p: (p / "shy").mkdir()), "empty class", "photos/shy", "",
           "remove the folder"),
    Damage("one class", lambda p: files.by_class(p, "happy"), "too few classes", "", "", "two or more are needed"),
    Damage("a class outside the taxonomy", folder(lambda p: files.by_class(p, "fear")), "label not among candidates",
           "photos/happy", "", "rename the folder", {"layout": "fi"}),
    Damage("a folder beside splits", lambda p: files.by_class(p, "train/a", "train/b", "holdout/a"), "unknown split",
           "holdout", "", "name it one of"),
    Damage("a link to a folder", folder(lambda p: (p / "sad" / "more").symlink_to(p / "happy")), "link to a folder",
           "photos/sad/more", "", "copy the folder"),
    # published sets
    Damage("EmoSet entry cut short", emoset_entry, "entry malformed", "test.json, item 1", "", "from the release"),
    Damage("EmoSet with a foreign label", emoset_label, "label not among candidates", "test.json, item 1", "label",
           "'joy'"),
    Damage("FER+ count in words", ferplus_count, "votes malformed", "fer2013new.csv, line 2", "neutral", "'four'"),
    Damage("Abstract line cut short", abstract_fields, "wrong number of fields", "groundTruth.csv, line 4", "",
           "3 fields"),
    Damage("WEBEmo label by number", webemo_number, "label not among candidates", "test25.txt, line 1", "label",
           "classes.txt"),
]  # fmt: skip
