"""Published figures to print beside ours, from YAML files under eval/reference.

Each file names its source. Its keys:

    system: EmoCaliber
    source: who published them, where
    figures:
      - {kind: task, name: FI-2, aggregation: pooled, metric: accuracy, value: 0.881}

    emocaliber score predictions.jsonl --reference eval/reference/emocaliber.yaml
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from emocaliber.core.errors import UserError
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Aggregation, PublishedFigure, SubsetKind
from emocaliber.evaluation.suite import load_mapping

_KEYS = {"kind", "name", "aggregation", "metric", "value"}
TRUSTED = {"trusted_f1", "trusted_precision", "trusted_recall", "trusted_accuracy"}


def load_references(paths: Sequence[Path]) -> list[PublishedFigure]:
    """The figures of several files, in order. Raises UserError naming file, figure and key."""
    return [figure for path in paths for figure in load_reference(path)]


def load_reference(path: Path) -> list[PublishedFigure]:
    """The figures of one file. Raises UserError naming file, figure and key."""
    content = load_mapping(path, {"system", "source", "figures"})
    if not isinstance(content["figures"], list):
        raise UserError(f"{path}: 'figures' must be a list")
    figures = enumerate(content["figures"], 1)
    return [
        _figure(f"{path}, figure {number}", str(content["system"]), str(content["source"]), entry)
        for number, entry in figures
    ]


def _figure(where: str, system: str, source: str, entry: object) -> PublishedFigure:
    if not isinstance(entry, dict) or set(entry) != _KEYS:
        raise UserError(f"{where}: its keys must be exactly {sorted(_KEYS)}")
    if entry["metric"] not in METRICS and entry["metric"] not in TRUSTED:
        raise UserError(
            f"{where}: unknown metric {entry['metric']!r}; choose from {sorted(METRICS)} or {sorted(TRUSTED)}"
        )
    if entry["kind"] not in get_args(SubsetKind) or entry["aggregation"] not in get_args(Aggregation):
        raise UserError(
            f"{where}: 'kind' is one of {get_args(SubsetKind)}, 'aggregation' one of {get_args(Aggregation)}"
        )
    if type(entry["value"]) is not float:
        raise UserError(f"{where}: 'value' must be a fraction such as 0.881, is {entry['value']!r}")
    return PublishedFigure(
        system, entry["kind"], str(entry["name"]), entry["aggregation"], entry["metric"], entry["value"], source
    )
