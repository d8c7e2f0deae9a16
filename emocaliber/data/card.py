"""Publishing a file of samples on the Hub: its card, one file per split, and whether its licences allow redistribution.

Licences are counted over the rows. Redistribution is allowed only for licences with a known name, never guessed: a
missing or unknown licence does not allow it.

    emocaliber data convert photos --licence cc-by-4.0 --out photos.parquet      # and photos.parquet.card.md
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from emocaliber import __version__
from emocaliber.core.errors import UserError
from emocaliber.data.convert import COMPRESSION
from emocaliber.data.parquet import OPTIONAL, REQUIRED, iter_samples
from emocaliber.data.parquet_parts import ROWS_WITH_PICTURES
from emocaliber.data.statistics import Statistics

_CREATIVE_COMMONS = {
    "by": ("2.0", "2.5", "3.0", "4.0"), "by-sa": ("3.0", "4.0"), "by-nc": ("2.0", "3.0", "4.0"), "by-nd": ("4.0",),
    "by-nc-nd": ("3.0", "4.0"), "by-nc-sa": ("2.0", "3.0", "4.0"),
}  # fmt: skip
SHAREABLE = frozenset(
    ["apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "cc", "cc0-1.0", "pddl", "odbl",
     "odc-by", "cdla-permissive-1.0", "cdla-permissive-2.0", "cdla-sharing-1.0", "gfdl", "artistic-2.0", "ofl-1.1"]
    + [f"cc-{kind}-{version}" for kind, versions in _CREATIVE_COMMONS.items() for version in versions]
)  # fmt: skip
"""The Hub's names of licences that allow redistribution, some only non-commercially or unchanged."""
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
         (10_000_000, "1M<n<10M"))  # fmt: skip
LARGEST = "10M<n<100M"
NO_LICENCE = "(none stated)"


def hub_licence(licence: str) -> str:
    """The Hub's name of a licence ("CC BY 4.0" is cc-by-4.0); "unknown" if none is stated, else "other"."""
    if not licence.strip():
        return "unknown"
    name = re.sub(r"[\s_]+", "-", licence.strip().casefold())
    return name if name in SHAREABLE else "other"


def refuse_unshareable(licences: Mapping[str, int]) -> None:
    """Raises UserError if rows have no licence, or one that does not allow redistribution."""
    forbidden = {name: count for name, count in licences.items() if hub_licence(name) not in SHAREABLE}
    if forbidden:
        named = ", ".join(f"{count:,} rows: {name or NO_LICENCE}" for name, count in forbidden.items())
        raise UserError(
            f"--push: nothing says that these pictures may be passed on ({named}). Where none is stated and you may,"
            " name the licence (--licence cc-by-4.0, for instance); to send them to a private repository all the same,"
            " give --push-without-licence"
        )


def licences_of(path: Path) -> Counter[str]:
    """How many rows of a file have each licence, as they state it."""
    return Counter(sample.licence for sample in iter_samples(path))


def dataset_card(
    path: Path, name: str, sources: Sequence[str], left_out: Mapping[str, int], *, by_split: bool = False
) -> str:
    """The data set card (README.md) of the file, front matter included. `sources` are the sources given to `data
    convert`, `left_out` counts the dropped rows by kind. `by_split`: the repository has one file per split (see
    `write_repository`)."""
    statistics, licences, labels, voted = Statistics(), Counter[str](), set[str](), Counter[str]()
    for sample in iter_samples(path):
        statistics.add(sample)
        licences[sample.licence] += 1
        labels.update(sample.candidates)
        voted[sample.split] += sample.votes is not None
    splits = list(statistics.splits)
    head: dict[str, Any] = {
        "pretty_name": name,
        "license": sorted({hub_licence(licence) for licence in licences}),
        "task_categories": ["image-classification"],
        "size_categories": [_size(sum(statistics.splits.values()))],
        "tags": ["emotion-recognition", "annotator-disagreement", "emocaliber"][:: 1 if any(voted.values()) else 2],
    }  # fmt: skip
    if by_split:
        places = [{"split": split, "path": data_file(split)} for split in splits]
        head["configs"] = [{"config_name": "default", "data_files": places}]
    from_where = ", ".join(each if each.startswith("hub:") or "://" in each else Path(each).name for each in sources)
    summary = statistics.summary()
    lines = [
        "---",
        yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=120).strip(),
        "---",
        f"# {name}",
        "",
        f"{summary['rows']:,} rows about pictures, of {len(labels)} labels: what annotators said about a picture, not"
        " what anybody felt.",
        f"Source: {from_where}; converted by `emocaliber data convert`, version {__version__}.",
        "",
        "## Labels by split",
        *_label_tables(summary["labels"], splits),
        "",
        "## Raters",
        _raters(summary),
        "",
        "## Licences of the pictures",
        *_table(("licence", "rows"), ((licence or NO_LICENCE, f"{count:,}") for licence, count in licences.items())),
        "",
        "## Left out",
        *(_table(("reason", "rows"), ((kind, f"{count:,}") for kind, count in left_out.items())) if left_out else
          ["Nothing: every row of the source is here."]),
        "",
        "## Columns",
        ", ".join(f"`{column}`" for column in (*REQUIRED, *OPTIONAL)) + ". `cluster` names what belongs together (one"
        " picture, one object): split and resample by it.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def data_file(split: str) -> str:
    """The path of a split's file in the repository."""
    return f"data/{split}.parquet"


def write_repository(path: Path, card: str, folder: Path) -> None:
    """Write the repository's content to `folder`: one file per split, and the card."""
    with pq.ParquetFile(path) as file, ExitStack() as stack:
        schema, writers = file.schema_arrow, dict[str, pq.ParquetWriter]()
        for batch in file.iter_batches(ROWS_WITH_PICTURES, use_threads=False):
            for split in pc.unique(batch["split"]).to_pylist():
                if split not in writers:
                    (folder / data_file(split)).parent.mkdir(exist_ok=True)
                    writer = pq.ParquetWriter(folder / data_file(split), schema, compression=COMPRESSION)
                    writers[split] = stack.enter_context(writer)
                writers[split].write_batch(batch.filter(pc.equal(batch["split"], split)))
    (folder / "README.md").write_text(card, encoding="utf-8")


def _size(rows: int) -> str:
    return next((name for limit, name in SIZES if rows < limit), LARGEST)


def _label_tables(labels: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> Iterable[str]:
    """A table for each task: its labels down, the splits across."""
    tasks: dict[str, dict[str, Mapping[str, int]]] = {}
    for key, counts in labels.items():
        task, _, split = key.rpartition(", ")
        tasks.setdefault(task, {})[split] = counts
    for task, by_split in tasks.items():
        names = sorted({label for counts in by_split.values() for label in counts})
        present = [split for split in splits if split in by_split]
        yield from ("", f"Task `{task}`:", "")
        yield from _table(
            ("label", *present), ((label, *(f"{by_split[s].get(label, 0):,}" for s in present)) for label in names)
        )


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in cells]


def _raters(summary: Mapping[str, Any]) -> str:
    votes = summary.get("votes")
    if votes is None:
        return "No votes: a label each, and nobody says how many agreed."
    raters = votes["raters"]
    asked = ", ".join(f"{kind} {count:,}" for kind, count in votes["asked as"].items())
    return (
        f"{votes['rows']:,} rows have votes ({asked}), of {raters['lowest']} to {raters['highest']} raters (median"
        f" {raters['median']}); in {votes['ties']:,} the favourite is tied. Mean entropy of the votes, from 0 (all"
        f" agree) to 1: {votes['mean normalised entropy']:.3f}."
    )
