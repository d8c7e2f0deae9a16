"""Two reasons for doubt for files of predictions: fitted on calibration rows and their pictures, applied to others.

The pictures are those of a Parquet file or of embedded data, found by the rows' ids; what the model was taught is its
split train. Without pictures only the doubt about people is fitted.

    emocaliber recalibrate fit calibration.jsonl --map doubt --pictures photos.parquet --model DIR --out doubt.json
    emocaliber recalibrate apply doubt.json test.jsonl --pictures photos.parquet --out with-doubt.jsonl
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from emocaliber.calibration.doubt import DoubtMap, fit_doubt
from emocaliber.calibration.files import read_doubt, write_doubt
from emocaliber.core.errors import UserError
from emocaliber.core.images import ImageError, load_image
from emocaliber.core.predictions import Prediction
from emocaliber.core.samples import ImageSource, Sample
from emocaliber.data.embedded import FILES, check_source
from emocaliber.data.parquet import read_samples
from emocaliber.models.location import check_model, model_folder
from emocaliber.reading.tables import RECOGNISED, Columns
from emocaliber.runs.recalibration import RowsFile

Floats = npt.NDArray[np.float64]
Progress = Callable[[str], None]
MOST = 3000
"""Training pictures, and calibration pictures, that are looked at, drawn at random where there are more."""
AT_ONCE = 32


@dataclass(frozen=True)
class AppliedDoubt:
    """How many rows have which reason ("" for none), and whether their pictures were looked at."""

    fitted: DoubtMap
    reasons: Counter[str]
    has_looked: bool


def fit_doubt_file(
    calibration: Sequence[Path],
    out: Path,
    *,
    pictures: str | None,
    model: str | None,
    false_alarms: float,
    columns: Columns = RECOGNISED,
    on_progress: Progress = lambda _: None,
) -> tuple[DoubtMap, list[str]]:
    """Fit a map on all rows of these files and write it; returns the map and notes. Raises UserError if a picture or
    the split train is missing, or no row is suitable for the fit."""
    if not 0 < false_alarms < 1:
        raise UserError(f"--false-alarms {false_alarms:g}: give a share between 0 and 1, such as 0.05")
    if (pictures is None) != (model is None):
        raise UserError("--pictures and --model go together: whose tower looks at which pictures")
    files = [RowsFile.read(path, columns) for path in calibration]
    rows, hashes = [row for file in files for row in file.rows], [mark for file in files for mark in file.hashes]
    train = fresh = None
    if pictures is not None and model is not None:
        check_model(model)
        look = Looking(model, on_progress)
        check_source(pictures, "--pictures")
        samples = _pictures(pictures)
        taught = [sample.image for sample in samples if sample.split == "train"]
        if not taught:
            raise UserError(f"--pictures {pictures} has no row of split train: what the model was taught is not there")
        image_of = images_of(rows, samples, pictures)
        train = look.features(_some(taught), "training picture")
        fresh = look.features(_some([image_of[row.id] for row in rows]), "calibration picture")
    try:
        fitted, notes = fit_doubt(rows, hashes, train, fresh, model=model or "", false_alarms=false_alarms)
    except ValueError as error:
        raise UserError(f"{', '.join(map(str, calibration))}: {error}") from None
    write_doubt(out, fitted)
    return fitted, notes


def apply_doubt_file(
    path: Path,
    predictions: Path,
    out: Path,
    *,
    pictures: str | None,
    columns: Columns = RECOGNISED,
    on_progress: Progress = lambda _: None,
) -> AppliedDoubt:
    """Write the rows of a prediction file with their doubts. A table gets a column `reason`.

    Raises UserError if a row was used to fit the map, or has no picture.
    """
    fitted = read_doubt(path)
    file = RowsFile.unseen(predictions, columns, path, fitted.fitted_on)
    features = None
    if pictures is not None and fitted.familiar is not None:
        check_source(pictures, "--pictures")
        image_of = images_of(file.rows, _pictures(pictures), pictures)
        look = Looking(fitted.familiar.model, on_progress)
        features = look.features([image_of[row.id] for row in file.rows], "picture")
    rows = fitted.apply(file.rows, features)
    file.write(out, rows, {"reason": [row.reason or "" for row in rows]})
    return AppliedDoubt(fitted, Counter(row.reason or "" for row in rows), features is not None)


class Looking:
    """A model's vision tower, loaded when it first looks. Raises UserError where it cannot be loaded."""

    def __init__(self, model: str, on_progress: Progress = lambda _: None) -> None:
        self._model, self._on_progress, self._tower = model, on_progress, None
        self._lock = Lock()

    def features(self, images: Sequence[ImageSource], what: str = "picture") -> Floats:
        """The features [n, width] of pictures, NaN where one cannot be read."""
        tower: Any = self._loaded()
        parts = []
        for start in range(0, len(images), AT_ONCE):
            parts.append(tower.features([_loaded_image(image) for image in images[start : start + AT_ONCE]]))
            self._on_progress(f"{what} {min(len(images), start + AT_ONCE):,} of {len(images):,}")
        width = max(part.shape[1] for part in parts)
        filled = [part if part.shape[1] else np.full((len(part), width), np.nan) for part in parts]
        return np.concatenate(filled)

    def look(self, images: Sequence[Image.Image | None]) -> Floats:
        """The features [n, width] of pictures that are loaded; NaN for None. Safe to call from several threads."""
        features: Floats = self._loaded().features(images)
        return features

    def _loaded(self) -> Any:
        with self._lock:
            return self._load()

    def _load(self) -> Any:
        if self._tower is None:
            from emocaliber.models.vision import VisionTower

            try:
                self._tower = VisionTower(model_folder(self._model))  # type: ignore[assignment]
            except (OSError, ValueError) as error:
                raise UserError(f"{self._model} cannot be loaded to look at pictures: {error}") from None
        return self._tower


def _pictures(name: str) -> list[Sample]:
    """The samples of embedded data or of a Parquet file."""
    return read_samples(FILES.get(name) or Path(name))


def images_of(rows: Iterable[Prediction], samples: Iterable[Sample], pictures: str) -> Mapping[str, ImageSource]:
    """The image of each row, looked up by id. Raises UserError naming a row without one."""
    image_of = {sample.id: sample.image for sample in samples}
    if missing := next((row.id for row in rows if row.id not in image_of), None):
        raise UserError(
            f"row {missing!r} has no picture in {pictures}; give the data that the predictions were made on"
        )
    return image_of


def _loaded_image(image: ImageSource) -> Any:
    try:
        return load_image(image)
    except ImageError:
        return None


def _some(images: Sequence[ImageSource]) -> list[ImageSource]:
    chosen = np.random.default_rng(0).permutation(len(images))[:MOST]
    return [images[place] for place in sorted(chosen.tolist())]
