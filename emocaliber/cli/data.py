"""The command `data`: the options of its actions check, convert, split and corrupt; for pairs see cli.pairs.

The actions are implemented in emocaliber.data.actions, which is imported only when one of them runs.

    emocaliber data check photos --out out/check
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from emocaliber.cli.options import add_push_arguments
from emocaliber.cli.pairs import add_pairs
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import CARD, Output, literal
from emocaliber.core.taxonomy import TAXONOMIES

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
    converter = actions.add_parser("convert", help="Convert data in any supported layout to one Parquet file.")
    splitter = actions.add_parser("split", help="Split data into train, calibrate and test, and write Parquet.")
    corrupter = actions.add_parser("corrupt", help="Write copies with corrupted images, to train on as well.")
    _add_check(checker)
    _add_convert(converter)
    _add_split(splitter)
    corrupter.add_argument("--out", type=Path, required=True, metavar="FILE",
                           help="the Parquet file to write; rows of the test split are not copied")  # fmt: skip
    _add_shared(checker, converter, splitter, corrupter)
    for name, action in (("check", checker), ("convert", converter), ("split", splitter), ("corrupt", corrupter)):
        _source_arguments(action)
        action.set_defaults(action=name, run=run, output=_output)
    add_pairs(actions.add_parser("pairs", help="Make preference pairs from sampled answers, for DPO and KTO."))


def _add_check(checker: argparse.ArgumentParser) -> None:
    checker.add_argument("--out", type=Path, required=True, metavar="FOLDER",
                         help="folder for report.json, problems.jsonl, findings.md and sheet.png")  # fmt: skip
    checker.add_argument("--suite", type=Path, metavar="FILE",
                         help="also compare the data with this suite file, such as"
                         " eval/suites/emoset.yaml")  # fmt: skip


def _add_convert(converter: argparse.ArgumentParser) -> None:
    converter.add_argument("--out", type=Path, required=True, metavar="FILE", help="the Parquet file to write")
    converter.add_argument("--images", choices=("bytes", "paths"), default="bytes",
                           help="store the images in the file, or their paths relative to its folder (default:"
                           " bytes)")  # fmt: skip
    add_push_arguments(converter)
    converter.add_argument("--push-without-licence", action="store_true",
                           help="with --push: also upload images whose licence is missing or does not permit"
                           " redistribution; private repositories only")  # fmt: skip


def _add_split(splitter: argparse.ArgumentParser) -> None:
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


def _add_shared(
    checker: argparse.ArgumentParser,
    converter: argparse.ArgumentParser,
    splitter: argparse.ArgumentParser,
    corrupter: argparse.ArgumentParser,
) -> None:
    """The options that several actions have."""
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
    """Run the chosen action. Raises UserError if a Parquet file would have another kind's name."""
    from emocaliber.data.actions import ACTIONS

    if arguments.action != "check" and arguments.out.suffix.casefold() != ".parquet":
        raise UserError(f"--out {arguments.out}: a Parquet file is written; name it {arguments.out.stem}.parquet")
    ACTIONS[arguments.action](arguments)
