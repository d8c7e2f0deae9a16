"""Build emocaliber/data/emoji-sentiment.parquet: 100 emoji in ten drawing styles, with human sentiment counts.

Not a loader (see emocaliber.data.embedded). The source folder holds `emoji.jsonl`, a row a drawing, and the PNG
files that its rows name; emocaliber/data/README.md says where both come from. A second run writes the same rows.

    python scripts/build_emoji.py ../shared/data/emoji
"""

from __future__ import annotations

import argparse
import io
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from emocaliber.core.errors import UserError
from emocaliber.core.taxonomy import SENTIMENT_3
from emocaliber.data.convert import write_rows
from emocaliber.data.embedded import FILES
from emocaliber.data.leaks import check_disjoint
from emocaliber.data.parquet import read_samples

TRAINED_STYLES = {"noto", "fluent", "fluent-flat", "fluent-3d", "emojione1", "emojione2"}
ONE_COLOUR_STYLE = "fluent-hc"
FOLD_SPLITS = {0: "test", 1: "calibrate", 2: "train", 3: "train"}
VOTES_SOURCE = "Emoji Sentiment Ranking 1.0"
EXTRA = {
    "style": "string",
    "code": "string",
    "emoji": "string",
    "name": "string",
    "subcategory": "string",
    "fold": "int8",
    "attribution": "string",
    "source": "string",
    "votes_source": "string",
}

Drawing = dict[str, Any]


def place(fold: int, style: str) -> tuple[str, str]:
    """Split and group of a drawing.

    The votes of an emoji outside fold 0 are taught or calibrated on, so that a new style of it tests the drawing and
    not the emoji: it is `known`, never `test`.
    """
    if style in TRAINED_STYLES:
        return FOLD_SPLITS[fold], "known emoji" if FOLD_SPLITS[fold] == "train" else "new emoji"
    if fold == 0:
        return "test", "new emoji, held-out style"
    return "known", "known emoji, one colour" if style == ONE_COLOUR_STYLE else "known emoji, held-out style"


def dominant(drawing: Drawing) -> str:
    """The label with the most votes. Raises UserError on a tie: no label is dominant then."""
    votes: dict[str, int] = drawing["votes"]
    most = max(votes.values())
    labels = [label for label, count in votes.items() if count == most]
    if len(labels) > 1:
        raise UserError(f"emoji.jsonl: {drawing['code']}: {' and '.join(labels)} tie at {most}; leave the emoji out")
    return labels[0]


def smallest(path: Path) -> tuple[bytes, str]:
    """The picture without loss, as PNG or WEBP, whichever takes fewer bytes, and the file name's ending."""
    image = Image.open(path).convert("RGB")
    encoded = []
    for ending, options in (("png", {"optimize": True}), ("webp", {"lossless": True, "quality": 100, "method": 6})):
        buffer = io.BytesIO()
        image.save(buffer, ending, **options)
        encoded.append((buffer.getvalue(), ending))
    return min(encoded, key=lambda candidate: len(candidate[0]))


def rows(source: Path) -> Iterator[dict[str, object]]:
    """One row a drawing, in the order of its split, code and style."""
    drawings = [json.loads(line) for line in (source / "emoji.jsonl").read_text(encoding="utf-8").splitlines()]
    for drawing in sorted(drawings, key=lambda d: (place(d["fold"], d["vendor"]), d["code"], d["vendor"])):
        split, group = place(drawing["fold"], drawing["vendor"])
        name = f"emoji-{drawing['code']}-{drawing['vendor']}"
        encoded, ending = smallest(source / drawing["image"])
        yield {
            "id": name,
            "image": {"bytes": encoded, "path": f"{name}.{ending}"},
            "task": "emoji",
            "label": dominant(drawing),
            "votes": drawing["votes"],
            "candidates": list(SENTIMENT_3.labels),
            "split": split,
            "group": group,
            "cluster": drawing["code"],
            "style": drawing["vendor"],
            "licence": drawing["license"],
            "votes_source": VOTES_SOURCE,
            **{key: drawing[key] for key in ("code", "emoji", "name", "subcategory", "fold", "attribution", "source")},
        }


def main() -> None:
    """Write the table, check its splits, and print what is in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder with emoji.jsonl and its images")
    write_rows(FILES["emoji"], rows(parser.parse_args().source), EXTRA)
    samples = read_samples(FILES["emoji"])
    check_disjoint(samples)
    print(f"{FILES['emoji'].name}: {len(samples)} rows, {FILES['emoji'].stat().st_size / 1e6:.2f} MB")
    for (split, group), number in sorted(Counter((sample.split, sample.group) for sample in samples).items()):
        emoji = len({sample.cluster for sample in samples if (sample.split, sample.group) == (split, group)})
        print(f"  {split:10} {group:28} {number:4} drawings of {emoji:3} emoji")


if __name__ == "__main__":
    main()
