"""The data that comes with the package: emoji with human votes, and kaomoji. Described in emocaliber/data/README.md.

Not the builders: scripts/build_emoji.py and scripts/build_kaomoji.py make the files that are read here.

    python -c "from emocaliber.data.embedded import load; print(load('emoji', 'test')[0].votes)"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emocaliber.core.errors import UserError
from emocaliber.core.samples import Sample
from emocaliber.data.parquet import read_samples

DATA = Path(__file__).parent
FILES = {"emoji": DATA / "emoji-sentiment.parquet", "kaomoji": DATA / "kaomoji.parquet"}


def samples_in(data: Sequence[str], splits: Sequence[str] | None = None) -> list[Sample]:
    """The rows of embedded tasks or Parquet files, in order, that belong to the splits, or all; none may be there."""
    return [sample for name in data for sample in read_samples(FILES.get(name) or Path(name), splits)]


def load(task: str, split: str | None = None) -> list[Sample]:
    """The samples of one embedded task: of one split, or of all.

    Raises UserError where there is no such task or split.
    """
    if task not in FILES:
        raise UserError(f"there is no embedded data for task {task!r}; there is {' and '.join(FILES)}")
    return read_samples(FILES[task], split)
