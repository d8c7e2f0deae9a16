"""The command line: groups of commands, one module a group, and what a mistake, a full disk or Ctrl-C becomes.

What is heavy is imported when a command runs, so that `emocaliber --help` loads no torch. Bad input, raised as
`UserError` anywhere below, becomes one sentence on stderr and exit code 2.

    emocaliber --help
"""

from __future__ import annotations

import argparse
import errno
import os
import shlex
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from emocaliber import __version__
from emocaliber.cli import baselines, compare, data, predict, recalibrate, score, share, training
from emocaliber.cli.console import silence_libraries
from emocaliber.cli.parsing import CommandParser
from emocaliber.core.errors import UserError
from emocaliber.core.out_of_space import out_of_space
from emocaliber.core.outputs import claimed
from emocaliber.core.stopping import TerminatedError, end_with_parent, exit_code, prompt_stop
from emocaliber.runs import generate

DESCRIPTION = """\
Emotion recognition with calibrated confidence: train vision-language models to state how sure they are, query them,
and evaluate whether the stated confidence is right."""

Arguments = Callable[[argparse.ArgumentParser], None]

GROUPS: dict[str, dict[str, tuple[Arguments, str]]] = {
    "train": {
        "run": (training.add_run, "Run a folder of recipes: train three stages, predict, evaluate, write the report."),
        "train": (training.add_train, "Train one stage. Re-run the same command to resume."),
        "recipe": (training.add_recipe, "Validate, show or copy recipes; estimate memory and time; plot rewards."),
    },
    "predict": {
        "generate": (generate.add_arguments, "Query a model about a data set; write responses and predictions."),
        "ask": (predict.add_ask, "Query a model about a few images, in the terminal."),
        "chat": (predict.add_chat, "Open a page that answers questions about images."),
    },
    "evaluate": {
        "score": (score.add_arguments, "Evaluate predictions: metrics with confidence intervals and comparisons."),
        "compare": (compare.add_arguments, "Compare a finished run with the baselines on the same samples."),
        "recalibrate": (recalibrate.add_arguments, "Recalibrate confidences after training (temperature, beta, ...)."),
        "baseline": (baselines.add_arguments, "Train an evidential or other baseline on the features of a model."),
    },
    "data and sharing": {
        "data": (data.add_arguments, "Check, convert, split and corrupt data; make preference pairs."),
        "export": (share.add_export, "Export a trained model or adapter with its model card."),
    },
}
"""The commands by group: what adds a command's arguments, and its sentence in the help."""

INPUT_ERRORS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG}
RESUME = "the same command resumes"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 2 the input must be corrected, 130 stopped by Ctrl-C, 143
    by SIGTERM."""
    silence_libraries()
    parsed = build_parser().parse_command(arguments)
    try:
        with prompt_stop(), _claimed(parsed, sys.argv[1:] if arguments is None else list(arguments)):
            if "RANK" in os.environ:
                end_with_parent()
            parsed.run(parsed)
        sys.stdout.flush()
    except UserError as error:
        return _fail(str(error))
    except KeyboardInterrupt as stop:
        _fail(f"stopped; {RESUME}")
        return exit_code(signal.SIGTERM if isinstance(stop, TerminatedError) else signal.SIGINT)
    except BrokenPipeError:  # `emocaliber recipe show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if (resource := out_of_space(error)) is not None:
            return _fail(f"the {resource} is full; free some: {RESUME}")
        if isinstance(error, OSError) and error.errno in INPUT_ERRORS and error.filename:
            return _fail(f"{error.filename}: {error.strerror}")
        raise
    return 0


def _fail(sentence: str) -> int:
    print(f"emocaliber: {sentence}", file=sys.stderr)
    return 2


def build_parser() -> CommandParser:
    """The parser of all commands."""
    parser = CommandParser(
        prog="emocaliber",
        usage="emocaliber COMMAND ...",
        description=DESCRIPTION,
        epilog=_overview(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"emocaliber {__version__}")
    parser.set_defaults(output=lambda _: None)
    commands = parser.add_subparsers(required=True, prog="emocaliber", metavar="COMMAND", help=argparse.SUPPRESS)
    for group in GROUPS.values():
        for name, (add_arguments, sentence) in group.items():
            add_arguments(commands.add_parser(name, description=sentence))
    share.add_env(commands.add_parser("env", description=share.ENV))
    return parser


def _overview() -> str:
    lines = []
    for title, group in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<14}{sentence}" for name, (_, sentence) in group.items()), ""]
    return "\n".join(
        [*lines, "`emocaliber COMMAND --help` lists the options; for a bug report, paste `emocaliber env`."]
    )


def _claimed(parsed: argparse.Namespace, arguments: list[str]) -> AbstractContextManager[None]:
    """The hold on what `--out` names. Of several processes that one launcher started, the first has it for all."""
    output = parsed.output(parsed)
    if output is None or os.environ.get("RANK", "0") != "0":
        return nullcontext()
    skipped = {"out", "parser"}
    inputs = {name: str(value) for name, value in vars(parsed).items() if not (callable(value) or name in skipped)}
    return claimed(output, shlex.join(["emocaliber", *arguments]), inputs)


if __name__ == "__main__":
    sys.exit(main())
