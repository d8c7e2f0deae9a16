"""Rationales that a template writes from Emotion6's ratings, to walk the road of reasoning without a written data set.

Not reasoning about a picture: nothing is said of what it shows, only what its 15 raters said of it, in the form of
EmoCaliber's five steps. A model that is taught with them learns to state valence, arousal and shares before it answers.

    unzip -q emotion6.zip -d out/emotion6          # ground_truth.txt, images/
    emocaliber data split out/emotion6 --shares 3:1:1 --out out/emotion6.parquet
    python scripts/template_rationales.py out/emotion6/ground_truth.txt out/emotion6.parquet \\
        --limit train=480 calibrate=64 unlabelled=64 test=64 --out out/reasoned.parquet
    emocaliber train recipes/real/1-label.yaml "data=[out/reasoned.parquet]" template=reasoning-label ...
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from emocaliber.core.errors import UserError
from emocaliber.reading import STEPS

Rating = tuple[float, float]
"""Valence and arousal, 1 to 9."""

VALENCE = {2.5: "very unpleasant", 4.25: "unpleasant", 5.75: "neither pleasant nor unpleasant", 7.5: "pleasant"}
AROUSAL = {3.5: "calm", 5.0: "a little stirred", 6.5: "stirred"}
SHARES = {0.2: "few", 0.4: "some", 0.6: "half", 0.85: "most"}


def spoken(value: float, words: Mapping[float, str], above: str) -> str:
    """The word of the first bound that the value does not exceed, or `above`."""
    return next((word for bound, word in words.items() if value <= bound), above)


def rationale(rating: Rating, votes: Mapping[str, int]) -> str:
    """The five steps of one picture. `votes` are counts by label, at least one of them above 0."""
    first, *others = Counter(votes).most_common()
    total = sum(votes.values())
    second = next(((label, count) for label, count in others if count), None)
    shares = f"{spoken(first[1] / total, SHARES, 'nearly all').capitalize()} feel {first[0]}"
    if second is not None:
        shares += f", {spoken(second[1] / total, SHARES, 'nearly all')} {second[0]}"
    close = second is not None and first[1] - second[1] <= total / 10
    words = {
        "element": f"It is {spoken(rating[0], VALENCE, 'very pleasant')}.",
        "human": "Nobody is named.",
        "context": f"Viewers are {spoken(rating[1], AROUSAL, 'excited')}.",
        "interaction": f"{shares}.",
        "analysis": f"{first[0].capitalize()} fits" + (f", {second[0]} nearly." if close and second else " best."),
    }
    return "".join(f"<{name}>{words[name]}</{name}>" for name in STEPS)


def read_ratings(path: Path) -> dict[str, Rating]:
    """Valence and arousal by the picture's name. Raises UserError naming the line that is none of Emotion6's."""
    ratings: dict[str, Rating] = {}
    for number, line in enumerate(path.read_text().splitlines()[1:], start=2):
        fields = line.split()
        try:
            ratings[fields[0]] = (float(fields[1]), float(fields[2]))
        except (IndexError, ValueError):
            raise UserError(f"{path}, line {number}: {line[:60]!r} holds no name, valence and arousal") from None
    return ratings


def reasoned(table: pa.Table, ratings: Mapping[str, Rating], limits: Mapping[str, int]) -> pa.Table:
    """The rows of a table of samples that have votes, as many of each split as `limits` says, with rationales.

    Raises UserError naming a row that has no rating.
    """
    taken: Counter[str] = Counter()
    places, texts = [], []
    columns = (table[name].to_pylist() for name in ("id", "split", "votes"))
    for place, (name, split, counts) in enumerate(zip(*columns, strict=True)):
        votes = {entry["label"]: entry["count"] for entry in counts or ()}
        if not any(votes.values()) or taken[split] >= limits.get(split, len(table)):
            continue
        if name not in ratings:
            raise UserError(f"row {place}: id: {name!r} is no picture of the ratings' file")
        taken[split] += 1
        places.append(place)
        texts.append(rationale(ratings[name], votes))
    chosen = table.take(places)
    if "rationale" in chosen.column_names:
        chosen = chosen.drop_columns("rationale")
    return chosen.append_column("rationale", pa.array(texts, pa.string()))


def main() -> None:
    """Write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ratings", type=Path, help="Emotion6's ground_truth.txt")
    parser.add_argument("data", type=Path, help="Parquet file of its samples, by `emocaliber data convert` or `split`")
    parser.add_argument("--limit", nargs="+", default=[], metavar="SPLIT=N", help="the first N rows of a split alone")
    parser.add_argument("--out", type=Path, required=True, help="Parquet file to write")
    arguments = parser.parse_args()
    limits = {split: int(count) for split, _, count in (text.partition("=") for text in arguments.limit)}
    table = reasoned(pq.read_table(arguments.data), read_ratings(arguments.ratings), limits)
    pq.write_table(table, arguments.out, row_group_size=64)
    print(
        f"{len(table)} rows: {dict(Counter(table['split'].to_pylist()))}; the first rationale: {table['rationale'][0]}"
    )


if __name__ == "__main__":
    main()
