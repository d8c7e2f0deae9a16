"""The action `data pairs`: preference pairs from sampled answers, for DPO and KTO.

They are written as JSON Lines (id, task, kind, chosen, rejected, margin), with a report on them beside the file.

    emocaliber predict kaomoji --split calibrate --model DIR --samples 8 --temperature 1 --out draws
    emocaliber data pairs draws --out pairs.jsonl
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.outputs import Output, literal
from emocaliber.generation.readouts import read_records
from emocaliber.stages.pairs import Draw, PairReport, preference_pairs, report_path
from emocaliber.stages.rewards import Reward, chosen_reward


def add_pairs(parser: argparse.ArgumentParser) -> None:
    """The options of `data pairs`."""
    parser.add_argument("draws", nargs="+", type=Path, metavar="DRAWS",
                        help="output folders of `emocaliber predict --samples K`, or their response files")  # fmt: skip
    parser.add_argument("--reward", default="brier-1", metavar="NAME",
                        help="reward whose difference is the margin of a pair (default: brier-1)")  # fmt: skip
    parser.add_argument("--least-margin", type=float, default=0.01, metavar="X",
                        help="leave out pairs whose rewards differ by less (default: 0.01)")  # fmt: skip
    parser.add_argument("--out", type=Path, required=True, metavar="FILE",
                        help="the JSON Lines file of pairs to write; a report is written beside it")  # fmt: skip
    parser.set_defaults(run=_pairs, output=lambda a: Output(a.out, (literal(report_path(a.out).name),), is_file=True))


def _pairs(arguments: argparse.Namespace) -> None:
    """Make the preference pairs and print the report."""
    try:
        reward = chosen_reward(arguments.reward)
    except ValueError as error:
        raise UserError(f"--reward: {error}") from None
    report = write_pairs(arguments.draws, reward, arguments.least_margin, arguments.out)
    print(f"{report.answers} answers to {report.samples} samples, {report.unreadable} unreadable")
    for kind, count in sorted(report.pairs.items()):
        stated = f"{report.chosen[kind]:.2f} chosen over {report.rejected[kind]:.2f} stated"
        print(f"{count} pairs about {kind} answers: {stated}, mean margin {report.margin[kind]:.3f}")
    for reason, count in sorted(report.without.items()):
        print(f"{count} samples without a pair: {reason}")
    if report.one_sided:
        print(f"Warning: {report.one_sided}")
    print(f"The pairs: {arguments.out}; the report: {report_path(arguments.out)}")


def write_pairs(paths: Sequence[Path], reward: Reward, least_margin: float, out: Path) -> PairReport:
    """Read the answers, write pairs and report. Raises UserError if there are no answers or a sample has no label."""
    try:
        pairs, report = preference_pairs(_read_draws(paths), reward, least_margin)
    except ValueError as error:
        raise UserError(f"{', '.join(map(str, paths))}: {error}") from None
    write_atomically(out, (msgspec.json.encode(asdict(pair)) + b"\n" for pair in pairs))
    content = asdict(report) | {"reward": reward.name, "least_margin": least_margin, "one_sided": report.one_sided}
    write_atomically(report_path(out), [json.dumps(content, indent=1).encode() + b"\n"])
    return report


def _read_draws(paths: Sequence[Path]) -> Iterator[Draw]:
    """The answers in these files, or in the response files of these folders."""
    for path in paths:
        files = sorted(path.glob("responses*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} holds no responses.jsonl; give a folder that `emocaliber predict` wrote")
        for file in files:
            for record in read_records(file):
                if record.label is None:
                    raise UserError(f"{file}: sample {record.id} has no label; leave out rows without one")
                yield Draw(record.id, record.task, record.candidates, record.label, record.response.text)
