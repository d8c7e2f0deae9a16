"""Build emocaliber/data/kaomoji.parquet: kaomoji drawn as pictures, with one of ten emotions each.

Not a loader (see emocaliber.data). Needs the package kaomoji-dataset 1.0.6 (CC BY 4.0) and the Debian fonts that
scripts.tiny_world.rendering names; everything is seeded by content hashes, so a second run writes the same rows.

    python -m scripts.build_kaomoji
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.data.convert import write_rows
from scripts.tiny_world.rendering import HELD_OUT_STYLES, TRAINED_STYLES, Style, draw

OUT = Path(__file__).parent.parent / "emocaliber" / "data" / "kaomoji.parquet"
LICENCE = "CC-BY-4.0"
TIERS = ("core", "extended", "mixed", "verbose")
COLUMNS = 20  # half-width columns that fit into 280 pixels
TEST_SHARE, CALIBRATE_SHARE = 0.26, 0.22
LARGEST_CLASS_SHARE = 0.21  # "happy" would be .35 of the core faces: thinned in calibrate and test
TRAIN_CAP_CORE = TRAIN_CAP_OTHER = 700  # labelled rows a class, by tier
UNLABELLED = 10_500

# Left out of the near-duplicate key: brackets, arms, decoration. What stays is the face.
DECORATION = set(
    "()（）[]［］{}｛｝〔〕【】「」『』<>＜＞《》〈〉|｜ノﾉヽヾ／/＼\\oO0οО┐┌└┘╭╮╯╰٩۶ᕙᕗᕦᕤ૮აっづつ⊂⊃彡ミ三ｏζσツシ"
    "*＊☆★♪♫♬✧✩✿❀｡。.．,，~～〜゛゜!！?？…→←-ー―─━"
)


@dataclass(frozen=True)
class Face:
    """One kaomoji: text, emotion (None where no word, or another word, is given), tier and near-duplicate key.

    `shows` is what the face does and what is with it (greeting, food, a cat), empty where nothing is said: no emotion.
    """

    text: str
    label: str | None
    tier: str
    key: str
    shows: str


def folded(text: str) -> str:
    """Full-width and half-width forms alike, spaces gone: texts that fold alike are one item."""
    return "".join(unicodedata.normalize("NFKC", text).split())


def near_duplicate_key(text: str) -> str:
    """The face without marks, brackets, arms, decoration and repeats; the folded text where nothing is left."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", folded(text)) if not unicodedata.combining(c)).casefold()
    core = "".join(c for c in plain if c not in DECORATION and not c.isspace()) or plain
    return re.sub(r"(.)\1+", r"\1", core)


def is_face(text: str) -> bool:
    """Short enough to draw, at least three signs, no spelt word of four letters or more."""
    return len(folded(text)) >= 3 and not re.search(r"[A-Za-z]{4,}", unicodedata.normalize("NFKC", text))


def rank(text: str) -> float:
    """A number in [0, 1) that depends on the text alone: the seed of every choice here."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:12], 16) / 16**12


def read_faces() -> list[Face]:
    """One Face for each distinct folded text; a text whose entries tie between two emotions is dropped."""
    source = files("kaomoji_dataset") / "data" / "kaomoji.jsonl.gz"
    entries = defaultdict(list)
    for line in gzip.decompress(source.read_bytes()).decode().splitlines():
        entry = json.loads(line)
        if entry["display_width"] <= COLUMNS and is_face(entry["text"]):
            entries[folded(entry["text"])].append(entry)
    faces = []
    for text, group in entries.items():
        words = Counter(e["emotion"][0] for e in group if e["emotion"]).most_common(2)
        if len(words) == 2 and words[0][1] == words[1][1]:
            continue
        label = words[0][0] if words and words[0][0] in KAOMOJI_10.labels else None
        tier = min((e["tier"] for e in group), key=TIERS.index)
        faces.append(Face(group[0]["text"], label, tier, near_duplicate_key(text), shown(group)))
    return sorted(faces, key=lambda f: rank(f.text))


def shown(group: list[dict[str, Any]]) -> str:
    """The first word of intent and the first of subject of the first entry that has one, for example "hug heart"."""
    words = (" ".join([*entry["intent"][:1], *entry["subject"][:1]]) for entry in group)
    return next(filter(None, words), "")


def thinned(faces: list[Face]) -> list[Face]:
    """The faces with "happy" cut down to its declared share."""
    others = [f for f in faces if f.label != "happy"]
    happy = [f for f in faces if f.label == "happy"]
    return others + happy[: round(len(others) * LARGEST_CLASS_SHARE / (1 - LARGEST_CLASS_SHARE))]


def split_faces(faces: Iterable[Face]) -> dict[str, list[Face]]:
    """train, unlabelled, calibrate, test. Whole near-duplicate groups go to one side; only core faces are judged on."""
    sides: dict[str, list[Face]] = {"train": [], "unlabelled": [], "calibrate": [], "test": []}
    taught: Counter[tuple[str, bool]] = Counter()
    for face in faces:
        place = rank(face.key)
        judged = face.tier == "core" and face.label is not None
        if place < TEST_SHARE + CALIBRATE_SHARE:
            if judged:
                sides["test" if place < TEST_SHARE else "calibrate"].append(face)
            continue
        core = face.tier == "core"
        if face.label is not None and taught[face.label, core] < (TRAIN_CAP_CORE if core else TRAIN_CAP_OTHER):
            taught[face.label, core] += 1
            sides["train"].append(face)
        else:
            sides["unlabelled"].append(replace(face, label=None))
    sides["test"], sides["calibrate"] = thinned(sides["test"]), thinned(sides["calibrate"])
    sides["unlabelled"] = sorted(sides["unlabelled"], key=lambda f: TIERS.index(f.tier))[:UNLABELLED]
    return sides


def encoded(text: str, style: Style) -> bytes:
    """The picture as lossless WEBP with four grey levels."""
    pixels, _ = draw(text, style)
    levels = (np.round(pixels / 85) * 85).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "WEBP", lossless=True, quality=75, method=4)
    return buffer.getvalue()


def rows_of(split: str, faces: list[Face]) -> list[dict[str, Any]]:
    """Rows of the table: a labelled training face is drawn in one trained style, others in every style of theirs."""
    rows: list[dict[str, Any]] = []
    for face in faces:
        digest = hashlib.sha256(folded(face.text).encode()).hexdigest()[:12]
        if split == "train":
            styles: tuple[Style, ...] = (TRAINED_STYLES[int(digest, 16) % len(TRAINED_STYLES)],)
        else:
            styles = TRAINED_STYLES + (HELD_OUT_STYLES if split == "test" else ())
        for style in styles:
            rows.append(_row(split, face, style, digest))
    return rows


def _row(split: str, face: Face, style: Style, digest: str) -> dict[str, Any]:
    name = f"kaomoji-{digest}-{style.name}"
    return {
        "id": name,
        "image": {"bytes": encoded(face.text, style), "path": f"{name}.webp"},
        "task": "kaomoji",
        "label": face.label,
        "candidates": list(KAOMOJI_10.labels),
        "split": split,
        "group": "held-out style" if style in HELD_OUT_STYLES else "trained styles",
        "cluster": face.key,
        "text": face.text,
        "shows": face.shows,
        "style": style.name,
        "tier": face.tier,
        "licence": LICENCE,
    }


def main() -> None:
    """Write the table and print what is in it."""
    rows = [row for split, faces in split_faces(read_faces()).items() for row in rows_of(split, faces)]
    write_rows(OUT, rows, {"text": "string", "shows": "string", "style": "string", "tier": "string"})
    print(f"{OUT.name}: {len(rows)} rows, {OUT.stat().st_size / 1e6:.2f} MB")
    for (split, style), n in sorted(Counter((r["split"], r["style"]) for r in rows).items()):
        print(f"  {split:11} {style:10} {n:6}")
    for split in ("train", "calibrate", "test"):
        labels = Counter(r["label"] for r in rows if r["split"] == split)
        print(f"  {split}: " + ", ".join(f"{label} {n}" for label, n in labels.most_common()))


if __name__ == "__main__":
    main()
