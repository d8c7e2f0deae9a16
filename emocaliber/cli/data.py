"""The command `data`: the options of its actions check, convert, split, corrupt and pairs.

The first four are implemented in emocaliber.data.actions, which is imported only when one of them runs. `pairs` writes
preference pairs as JSON Lines (id, task, kind, chosen, rejected, margin), with a report on them beside the file.

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

from emocaliber.cli.options import add_push_arguments
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
    """The actions below `data` and their options."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    checker = actions.add_parser("check", help="Check rows, images and splits; print statistics, draw a contact sheet.")
    checker.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                         help="folder for report.json, problems.jsonl, findings.md and sheet.png")  # fmt: skip
    checker.add_argument("--suite", type=Path, metavar="FILE",
                         help="also compare the data with this suite file, such as"
                         " eval/suites/emoset.yaml")  # fmt: skip
    converter = actions.add_parser("convert", help="Convert data in any supported layout to one Parquet file.")
    converter.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Parquet file to write")
    converter.add_argument("--images", choices=("bytes", "paths"), default="bytes",
                           help="store the images in the file, or their paths relative to its folder (default:"
                           " bytes)")  # fmt: skip
    add_push_arguments(converter)
    converter.add_argument("--push-without-licence", action="store_true",
                           help="with --push: also upload images whose licence is missing or does not permit"
                           " redistribution; private repositories only")  # fmt: skip
    splitter = actions.add_parser("split", help="Split data into train, calibrate and test, and write Parquet.")
    splitter.add_argument("--out", type=Path, required=True, metavar="FILE",
                          help="the Parquet file to write; FILE.split.json records how it was split")  # fmt: skip
    splitter.add_argument("--shares", default="3:1:1",
                          help="proportions of train:calibrate:test, as whole numbers; an optional fourth is for"
                               " unlabelled, rows that stage 2 asks the model about but stage 1 does not train on"
                               " (default: 3:1:1)")  # fmt: skip
    splitter.add_argument("--seed", type=int, default=0, metavar="N", help="random seed of the split (default: 0)")
    splitter.add_argument("--keep-test", action="store_true",
                          help="keep the rows of the existing test split, and split the others without a test"
                          " share")  # fmt: skip
    corrupter = actions.add_parser("corrupt", help="Write copies with corrupted images, to train on as well.")
    corrupter.add_argument("--out", type=Path, required=True, metavar="FILE",
                           help="the Parquet file to write; rows of the test split are not copied")  # fmt: skip
    for action in (checker, converter, splitter):
        action.add_argument("--drop-problems", action="store_true",
                            help="leave out rows with problems and list them (default: stop with an"
                            " error)")  # fmt: skip
        action.add_argument("--max-dropped", type=float, default=0.1, metavar="SHARE",
                            help="with --drop-problems: stop if a larger share of the rows would be left out, 0 to 1"
                            " (default: 0.1)")  # fmt: skip
    for action in (converter, splitter):
        action.add_argument("--two-panels", action="store_true",
                            help="merge two rows with votes on the same image into one: the second row's votes become"
                            " those of a second panel, to evaluate against (default: rows stay separate)")  # fmt: skip
    for action in (checker, converter, splitter, corrupter):
        action.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N",
                            help="processes that decode images (default: one per CPU)")  # fmt: skip
    for name, action in (("check", checker), ("convert", converter), ("split", splitter), ("corrupt", corrupter)):
        _source_arguments(action)
        action.set_defaults(action=name, run=run, output=_output)
    _add_pairs(actions.add_parser("pairs", help="Make preference pairs from sampled answers, for DPO and KTO."))


def _source_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="+", metavar="SOURCE",
                        help="a folder, a table (.csv, .tsv, .jsonl, .json or .parquet, also with .gz), a zip or tar"
                        " archive, or hub:OWNER/NAME@REVISION (a Hugging Face dataset); several are read one after the"
                        " other")  # fmt: skip
    parser.add_argument("--layout", choices=LAYOUTS, metavar="NAME",
                        help=f"how the source is laid out: {', '.join(LAYOUTS)} (default: detected)")  # fmt: skip
    parser.add_argument("--root", type=Path, metavar="FOLDER",
                        help="folder that contains all images (default: the source, or the folder it is"
                        " in)")  # fmt: skip
    labels = parser.add_mutually_exclusive_group()
    labels.add_argument("--taxonomy", choices=tuple(TAXONOMIES), metavar="NAME",
                        help=f"candidate labels of rows that list none: {', '.join(TAXONOMIES)}")  # fmt: skip
    labels.add_argument("--labels", metavar="A,B,...",
                        help="the same as a list; its order names numeric classes from 0 on, and 1=A,2=B,... names them"
                        " explicitly")  # fmt: skip
    parser.add_argument("--task", metavar="NAME", help="name of the task (default: the layout's, else emotion)")
    parser.add_argument("--in-split", metavar="NAME",
                        help="split of rows that name none (default: the layout's, else train)")  # fmt: skip
    parser.add_argument("--licence", default="", metavar="ID", help="licence of rows that name none, such as cc-by-4.0")
    parser.add_argument("--majority", action="store_true",
                        help="label an image only if more than half of its raters agree (default: the most votes, none"
                        " for a tie)")  # fmt: skip


def _output(arguments: argparse.Namespace) -> Output:
    if arguments.action == "check":
        return Output(arguments.out, ("report.json", "problems.jsonl", "sheet.png", "overlaps.png", "facts.sqlite*"))
    name = literal(arguments.out.name)
    beside = [f"{name}.partial", f"{name}.parts-*/*"]
    beside += [f"{name}.split.json", f"{name}.facts/*"] if arguments.action == "split" else []
    beside += [f"{name}{CARD}"] if arguments.action == "convert" else []
    return Output(arguments.out, tuple(beside), is_file=True)


def run(arguments: argparse.Namespace) -> None:
    """Run the chosen action."""
    from emocaliber.data.actions import ACTIONS

    ACTIONS[arguments.action](arguments)


def _add_pairs(parser: argparse.ArgumentParser) -> None:
    """The options of `pairs`."""
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
