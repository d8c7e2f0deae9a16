"""The command `data`: its actions check, convert, split, corrupt and pairs, and their options.

What the first four do is in emocaliber.data.actions, which is imported when it is asked for. Preference pairs are JSON
Lines of id, task, kind, chosen, rejected and margin; the report of what they would teach stands beside them.

    emocaliber data check photos --out out/check
    emocaliber predict kaomoji --split calibrate --model DIR --samples 8 --temperature 1 --out draws
    emocaliber data pairs draws --out pairs.jsonl
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec

from emocaliber.cli.console import add_push_arguments
from emocaliber.core.errors import UserError
from emocaliber.core.files import write_atomically
from emocaliber.core.outputs import CARD, Output, literal
from emocaliber.core.taxonomy import TAXONOMIES
from emocaliber.generation.readouts import read_records
from emocaliber.stages.pairs import Draw, PairReport, preference_pairs, report_path
from emocaliber.stages.rewards import Reward, chosen_reward

LAYOUTS = (
    "folder", "table", "vecbench", "ms-swift", "trl", "llava", "sharegpt", "alpaca", "emoset", "fi", "webemo",
    "artphoto", "abstract", "unbiasedemo", "multiemo-bench", "emotion6", "fer2013", "ferplus", "webdataset",
    "mvei", "eemo-bench",
)  # fmt: skip
"""The names in emocaliber.data.layouts, without loading it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The four actions and their options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    checker = actions.add_parser("check", help="Check every row, picture and overlap; statistics and a contact sheet.")
    checker.add_argument("--out", type=Path, required=True, help="folder for report.json, problems.jsonl, sheet.png")
    checker.add_argument("--suite", type=Path, help="a file such as eval/suites/emoset.yaml that the data must fit")
    converter = actions.add_parser("convert", help="Write any layout as one Parquet file of samples.")
    converter.add_argument("--out", type=Path, required=True, help="the Parquet file")
    converter.add_argument("--images", choices=("bytes", "paths"), default="bytes",
                           help="pictures in the file, or their paths under its folder (default: bytes)")  # fmt: skip
    add_push_arguments(converter)
    converter.add_argument("--push-without-licence", action="store_true",
                           help="with --push: send pictures that no licence says may be passed on, to a repository that"
                           " is private")  # fmt: skip
    splitter = actions.add_parser("split", help="Share rows out to train, calibrate and test, and write Parquet.")
    splitter.add_argument("--out", type=Path, required=True, help="the Parquet file; how is in OUT.split.json")
    splitter.add_argument("--shares", default="3:1:1",
                          help="parts for train:calibrate:test, or a fourth for rows that stage 2 asks about and"
                               " stage 1 is not taught: unlabelled (default: 3:1:1)")  # fmt: skip
    splitter.add_argument("--seed", type=int, default=0, help="which rows (default: 0)")
    splitter.add_argument("--keep-test", action="store_true", help="leave rows of the split test where they are")
    corrupter = actions.add_parser("corrupt", help="Write copies with corrupted pictures, to learn from them too.")
    corrupter.add_argument("--out", type=Path, required=True, help="the Parquet file of the copies, none of split test")
    for action in (checker, converter, splitter):
        action.add_argument("--drop-problems", action="store_true",
                            help="leave out what is wrong, and list it (default: stop)")  # fmt: skip
        action.add_argument("--max-dropped", type=float, default=0.1, metavar="SHARE",
                            help="the largest share of the rows that may be left out (default: 0.1)")  # fmt: skip
    for action in (converter, splitter):
        action.add_argument("--two-panels", action="store_true",
                            help="rows with votes on the same picture become one: the second row's votes are those of"
                            " a second panel, to judge by (default: rows stay apart)")  # fmt: skip
    for action in (checker, converter, splitter, corrupter):
        action.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes that decode pictures")
    for name, action in (("check", checker), ("convert", converter), ("split", splitter), ("corrupt", corrupter)):
        _source_arguments(action)
        action.set_defaults(action=name, run=run, output=_output)
    _add_pairs(actions.add_parser("pairs", help="Make preference pairs of sampled answers, for DPO and KTO."))


def _source_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="+", help="a folder, a table (.csv, .tsv, .jsonl, .json, .parquet; .gz too), a"
                        " zip or tar, or hub:OWNER/NAME@REVISION; several are read one after the other")  # fmt: skip
    parser.add_argument("--layout", choices=LAYOUTS, help="detected automatically by default")
    parser.add_argument("--root", type=Path, help="the folder that all images lie under (default: the source's)")
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--taxonomy", choices=tuple(TAXONOMIES), help="the labels of rows that list no candidates")
    labels.add_argument("--labels", metavar="A,B,...", help="the same, listed: class 0 is A, or 1=A,2=B,... for others")
    parser.add_argument("--task", help="the task's name (default: the layout's, else emotion)")
    parser.add_argument("--in-split", help="the split of rows that name none (default: the layout's, else train)")
    parser.add_argument("--licence", default="", help="the licence of rows that name none")
    parser.add_argument("--majority", action="store_true", help="a label needs more than half of the raters")


def _output(arguments: argparse.Namespace) -> Output:
    if arguments.action == "check":
        return Output(arguments.out, ("report.json", "problems.jsonl", "sheet.png", "overlaps.png", "facts.sqlite*"))
    name = literal(arguments.out.name)
    beside = [f"{name}.partial", f"{name}.parts-*/*"]
    beside += [f"{name}.split.json", f"{name}.facts/*"] if arguments.action == "split" else []
    beside += [f"{name}{CARD}"] if arguments.action == "convert" else []
    return Output(arguments.out, tuple(beside), is_file=True)


def run(arguments: argparse.Namespace) -> None:
    """Do what was asked."""
    from emocaliber.data.actions import ACTIONS

    ACTIONS[arguments.action](arguments)


def _add_pairs(parser: argparse.ArgumentParser) -> None:
    """The options of `pairs`."""
    parser.add_argument("draws", nargs="+", type=Path, help="folders of `emocaliber predict`, or their response files")
    parser.add_argument("--reward", default="brier-1", help="the scoring rule of the margins (default: brier-1)")
    parser.add_argument("--least-margin", type=float, default=0.01, help="leave closer pairs out (default: 0.01)")
    parser.add_argument("--out", type=Path, required=True, help="the file of pairs; its report is written beside it")
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
