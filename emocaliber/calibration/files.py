"""JSON files of fitted recalibrators, prediction sets and doubts, with hashes of the rows that they were fitted on.

emocaliber recalibrate fit calibration.jsonl --out map.json
emocaliber recalibrate apply map.json predictions.jsonl --out recalibrated.jsonl
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from emocaliber.calibration.doubt import FORMAT as DOUBT_FORMAT
from emocaliber.calibration.doubt import DoubtMap
from emocaliber.calibration.fit import EVERY_KIND, Kind, Map, Recalibrator, Signal
from emocaliber.calibration.learners import Linear, Probe, SignalsMap
from emocaliber.calibration.maps import Beta, Isotonic, Platt, Temperature
from emocaliber.calibration.matrix import Matrix
from emocaliber.calibration.sets import FORMAT as SETS_FORMAT
from emocaliber.calibration.sets import SetMap
from emocaliber.calibration.targets import Target
from emocaliber.calibration.venn_abers import VennAbers
from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.predictions import Prediction, Share

FORMAT = "emocaliber recalibration 2"
SETS_FILE, DOUBT_FILE = "sets.json", "doubt.json"
"""The names of the files fitted for an adapter, in its folder."""
_Schema = TypeVar("_Schema", bound=msgspec.Struct)


class _Format(msgspec.Struct):
    """The key that every file has."""

    format: str


class Stored(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"venn_abers": "venn-abers"}
):
    """One map, fitted on `rows` rows; exactly one of the other fields is set: `temperature`, `platt` (a, b), `beta`
    (a, b, c), `isotonic` (x, y), or a structured map."""

    rows: Annotated[int, msgspec.Meta(ge=1)]
    temperature: Annotated[float, msgspec.Meta(gt=0.0)] | None = None
    platt: tuple[float, float] | None = None
    beta: tuple[float, float, float] | None = None
    isotonic: tuple[tuple[Share, ...], tuple[Share, ...]] | None = None
    venn_abers: VennAbers | None = None
    matrix: Matrix | None = None
    probe: Probe | None = None
    signals: SignalsMap | None = None


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The file's content. `fitted_on` are hashes of the calibration rows, on which the maps must not be evaluated.
    A file without a `target` was fitted to the labels."""

    format: str
    signal: Signal
    kind: Kind
    overall: Stored
    tasks: dict[str, Stored]
    fitted_on: tuple[str, ...]
    target: Target = "label"


def write_map(path: Path, fitted: Recalibrator, calibration: Sequence[Prediction], hashes: Sequence[str]) -> None:
    """Write the maps and the `hashes` of all `calibration` rows, atomically."""
    file = File(
        FORMAT,
        fitted.signal,
        fitted.kind,
        _store_map(fitted.overall, len(calibration)),
        {task: _store_map(own, sum(row.task == task for row in calibration)) for task, own in fitted.tasks.items()},
        tuple(sorted(set(hashes))),
        fitted.target,
    )
    write_atomically(path, [msgspec.json.format(msgspec.json.encode(file), indent=1), b"\n"])


def write_sets(path: Path, fitted: SetMap) -> None:
    """Write the sets' file atomically."""
    write_atomically(path, [msgspec.json.format(msgspec.json.encode(fitted), indent=1), b"\n"])


def write_doubt(path: Path, fitted: DoubtMap) -> None:
    """Write the map of the two doubts atomically."""
    write_atomically(path, [msgspec.json.encode(fitted), b"\n"])


def read_doubt(path: Path) -> DoubtMap:
    """The map of the two doubts. Raises UserError naming file and key."""
    return _decode(path, DoubtMap, DOUBT_FORMAT, "--map doubt")


def read_sets(path: Path) -> SetMap:
    """The sets of a file. Raises UserError naming file and key."""
    return _decode(path, SetMap, SETS_FORMAT, "--map sets")


def holds_format(path: Path, format: str) -> bool:
    """Whether the file states this format; False if it cannot be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=_Format).format == format
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return False


def read_map(path: Path) -> tuple[Recalibrator, frozenset[str]]:
    """The maps of a file, and the hashes of the rows they were fitted on. Raises UserError naming file and key."""
    file = _decode(path, File, FORMAT)
    tasks = {task: _restore_map(path, f"tasks.{task}", stored, file.kind) for task, stored in file.tasks.items()}
    overall = _restore_map(path, "overall", file.overall, file.kind)
    return Recalibrator(file.signal, file.kind, overall, tasks, file.target), frozenset(file.fitted_on)


def row_hash(row: Prediction, content: str = "") -> str:
    """An identifier for a row in `fitted_on`: 16 hex digits of the SHA-256 of its task and id, and of `content`, the
    content of its file, if the id is only a line number."""
    return hashlib.sha256(f"{content}{row.task}\0{row.id}".encode()).hexdigest()[:16]


def _decode(path: Path, schema: type[_Schema], format: str, option: str = "") -> _Schema:
    """A file's content. Raises UserError if its format differs or it is invalid."""
    remedy = f"write it again with `emocaliber recalibrate fit{' ' * bool(option)}{option}`"
    try:
        content = path.read_bytes()
        stated = msgspec.json.decode(content, type=_Format).format
        if stated != format:
            raise UserError(f"{path}: its 'format' is {stated!r}, this reads {format!r}; {remedy}")
        return msgspec.json.decode(content, type=schema)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: {error}; {remedy}") from None


def _store_map(fitted: Map, rows: int) -> Stored:
    match fitted:
        case Temperature():
            return Stored(rows, temperature=fitted.temperature)
        case Platt():
            return Stored(rows, platt=(fitted.a, fitted.b))
        case Beta():
            return Stored(rows, beta=(fitted.a, fitted.b, fitted.c))
        case Isotonic():
            return Stored(rows, isotonic=(fitted.x, fitted.y))
    return Stored(
        rows,
        venn_abers=fitted if isinstance(fitted, VennAbers) else None,
        matrix=fitted if isinstance(fitted, Matrix) else None,
        probe=fitted if isinstance(fitted, Probe) else None,
        signals=fitted if isinstance(fitted, SignalsMap) else None,
    )


def _restore_map(path: Path, key: str, stored: Stored, kind: Kind) -> Map:
    present = [name for name in EVERY_KIND if getattr(stored, name.replace("-", "_")) is not None]
    allowed = (kind, "temperature") if kind == "matrix" else (kind,)  # the fallback if labels differ
    if len(present) != 1 or present[0] not in allowed:
        raise UserError(
            f"{path}: {key} must hold a {kind} map and nothing else, but holds {present or 'none'}; fit it again"
        )
    if stored.temperature is not None:
        return Temperature(stored.temperature)
    if stored.platt is not None:
        return Platt(*stored.platt)
    if stored.beta is not None:
        return Beta(*stored.beta)
    if stored.isotonic is not None:
        x, y = stored.isotonic
        if not x or len(x) != len(y) or list(x) != sorted(x) or list(y) != sorted(y):
            raise UserError(f"{path}: {key}.isotonic must be two ascending lists of equal length; fit it again")
        return Isotonic(x, y)
    other = stored.venn_abers or stored.matrix or stored.probe or stored.signals
    assert other is not None
    if not _has_consistent_lengths(other):
        raise UserError(f"{path}: {key}.{kind} holds lists of inconsistent lengths; fit it again")
    return other


def _has_consistent_lengths(fitted: VennAbers | Matrix | Probe | SignalsMap) -> bool:
    """Whether the map's lists have the lengths that they must have."""
    match fitted:
        case VennAbers():
            return len(fitted.x) == len(fitted.at) == len(fitted.between) - 1 > 0
        case Matrix():
            k = len(fitted.labels)
            return k > 0 and [len(row) for row in fitted.weights] == [k + 1] * k
        case Probe():
            return _is_linear(fitted.linear, len(fitted.linear.weights))
        case SignalsMap():
            features = len(fitted.names) + len(fitted.gaps) + (fitted.probe is not None)
            probe = fitted.probe is None or _is_linear(fitted.probe, len(fitted.probe.weights))
            return probe and len(fitted.means) == len(fitted.names) and _is_linear(fitted.linear, features)


def _is_linear(linear: Linear, features: int) -> bool:
    return len(linear.centre) == len(linear.scale) == len(linear.weights) == features > 0
