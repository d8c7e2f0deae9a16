"""The data sets shipped with the package: emoji with human votes, and kaomoji (see emocaliber/data/README.md).

The files are built by scripts/build_emoji.py and scripts/build_kaomoji.py.

    python -c "from emocaliber.data.embedded import load; print(load('emoji', 'test')[0].votes)"
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from emocaliber.core.errors import UserError, did_you_mean
from emocaliber.core.samples import Sample

if TYPE_CHECKING:
    from emocaliber.data.sample_table import SampleTable

DATA = Path(__file__).parent
FILES = {"emoji": DATA / "emoji-sentiment.parquet", "kaomoji": DATA / "kaomoji.parquet"}


def samples_in(data: Sequence[str]) -> SampleTable:
    """The rows of embedded tasks or Parquet files, in order; samples are created on access."""
    from emocaliber.data.sample_table import SampleTable  # heavy: commands take the tasks' names for their help

    return SampleTable(FILES.get(name) or Path(name) for name in data)


def load(task: str, split: str | None = None) -> list[Sample]:
    """The samples of one embedded task, of one split or all. Raises UserError if there is no such task or split."""
    from emocaliber.data.parquet import read_samples  # heavy, as above

    if task not in FILES:
        raise UserError(f"there is no embedded data for task {task!r}; there is {' and '.join(FILES)}")
    return read_samples(FILES[task], split)


def check_source(name: str, option: str) -> None:
    """Raises UserError, with the command that helps, if `name` is neither embedded data nor a Parquet file."""
    path = Path(name)
    if name in FILES or (path.is_file() and path.suffix == ".parquet"):
        return
    if path.exists():
        what = "a folder" if path.is_dir() else "not a Parquet file"
        target = f"{name.rstrip('/')}.parquet" if path.is_dir() else path.with_suffix(".parquet")
        raise UserError(
            f"{option}: {name} is {what}; write it as one first: `emocaliber data convert {name} --out {target}`"
        )
    beside = [str(file) for file in path.parent.glob("*.parquet")] if path.parent.is_dir() else []
    raise UserError(
        f"{option}: there is no file {name!r}{did_you_mean(name, [*FILES, *beside])} ({' and '.join(FILES)} are"
        " embedded; `emocaliber data convert` writes a Parquet file of other data)"
    )
