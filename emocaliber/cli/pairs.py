"""The verb `pairs`: preference pairs from files of sampled answers, and a report of what they would teach.

Not a trainer. The pairs are JSON Lines of id, task, kind, chosen, rejected and margin; the report stands beside them.

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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The verb's options."""
    parser.add_argument("draws", nargs="+", type=Path, help="folders of `emocaliber predict`, or their response files")
    parser.add_argument("--reward", default="brier-1", help="the scoring rule of the margins (default: brier-1)")
    parser.add_argument("--least-margin", type=float, default=0.01, help="leave closer pairs out (default: 0.01)")
    parser.add_argument("--out", type=Path, required=True, help="the file of pairs; its report is written beside it")
    parser.set_defaults(run=run, output=lambda a: Output(a.out, (literal(report_path(a.out).name),), is_file=True))


def run(arguments: argparse.Namespace) -> None:
    """Make the pairs and print the report."""
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
    """Read the answers, write pairs and report. Raises UserError where there is no answer or a sample has no label."""
    try:
        pairs, report = preference_pairs(_draws(paths), reward, least_margin)
    except ValueError as error:
        raise UserError(f"{', '.join(map(str, paths))}: {error}") from None
    write_atomically(out, (msgspec.json.encode(asdict(pair)) + b"\n" for pair in pairs))
    content = asdict(report) | {"reward": reward.name, "least_margin": least_margin, "one_sided": report.one_sided}
    write_atomically(report_path(out), [json.dumps(content, indent=1).encode() + b"\n"])
    return report


def _draws(paths: Sequence[Path]) -> Iterator[Draw]:
    for path in paths:
        files = sorted(path.glob("responses*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise UserError(f"{path} holds no responses.jsonl; give a folder that `emocaliber predict` wrote")
        for file in files:
            for record in read_records(file):
                if record.label is None:
                    raise UserError(f"{file}: sample {record.id} has no label; pairs need labelled rows")
                yield Draw(record.id, record.task, record.candidates, record.label, record.response.text)
