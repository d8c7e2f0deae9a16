"""The verb `data`: its actions check, convert, split and corrupt, and their options.

Not what they do (see actions), which is imported when it is asked for.

    emocaliber data check photos --out out/check
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from emocaliber.cli import pairs
from emocaliber.core.outputs import Output, literal
from emocaliber.core.taxonomy import TAXONOMIES

LAYOUTS = (
    "folder", "table", "vecbench", "ms-swift", "trl", "llava", "sharegpt", "alpaca", "emoset", "fi", "webemo",
    "artphoto", "abstract", "unbiasedemo", "multiemo-bench", "emotion6", "fer2013", "ferplus",
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
    splitter = actions.add_parser("split", help="Share rows out to train, calibrate and test, and write Parquet.")
    splitter.add_argument("--out", type=Path, required=True, help="the Parquet file; how is in OUT.split.json")
    splitter.add_argument("--shares", default="3:1:1", help="parts for train:calibrate:test (default: 3:1:1)")
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
    pairs.add_arguments(actions.add_parser("pairs", help="Make preference pairs of sampled answers, for DPO and KTO."))


def _source_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="+", help="a folder, a table (.csv, .tsv, .jsonl, .json, .parquet; .gz too), or"
                        " hub:OWNER/NAME@REVISION; several are read one after the other")  # fmt: skip
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
    beside = (f"{name}.partial", f"{name}.parts-*/*", f"{name}.split.json", f"{name}.facts/*")
    return Output(arguments.out, beside[: 4 if arguments.action == "split" else 2], is_file=True)


def run(arguments: argparse.Namespace) -> None:
    """Do what was asked."""
    from emocaliber.data.actions import ACTIONS

    ACTIONS[arguments.action](arguments)
