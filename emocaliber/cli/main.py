"""The command line: the commands in groups, and what happens on a mistake, a full disk or Ctrl-C.

A command's module is imported only when that command runs, so that the help appears at once. Bad input, raised as
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
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from emocaliber import __version__
from emocaliber.cli.console import CommandParser, silence_libraries
from emocaliber.core.errors import UserError, out_of_space
from emocaliber.core.outputs import claimed
from emocaliber.core.stopping import TerminatedError, end_with_parent, exit_code, prompt_stop

DESCRIPTION = """\
Emotion recognition with calibrated confidence: train vision-language models to state how sure they are, query them,
and evaluate whether the stated confidence is right."""

GROUPS = {
    "train": {
        "run": "Run a folder of recipes: train all three stages, predict, evaluate, write the report.",
        "train": "Train one stage. Run the same command again to resume.",
        "recipe": "Validate, show, copy or create recipes; estimate memory and time; plot rewards.",
    },
    "predict": {
        "predict": "Predict on images, folders, tables or datasets, labelled or not.",
        "ask": "Ask a model about a few images, in the terminal.",
        "chat": "Ask a model about images, on a page in the browser.",
    },
    "evaluate": {
        "score": "Evaluate predictions: metrics with confidence intervals, and comparisons.",
        "compare": "Compare a finished run with the baselines on the same samples.",
        "recalibrate": "Fit and apply post-hoc calibration maps, prediction sets and reasons for doubt.",
        "monitor": "Watch new predictions and raise an alarm when they have drifted.",
        "review": "Have people label as few images as a guarantee on all labels allows.",
        "baseline": "Train an evidential or other baseline on the features of a frozen model.",
    },
    "data and sharing": {
        "data": "Check, convert, split and corrupt data; make preference pairs.",
        "export": "Export a trained model or adapter with its model card, and upload it.",
    },
}
"""The commands by group, each with its sentence in the help."""
ENV = "Print versions and devices, to paste into a bug report."
COMMANDS = {name: sentence for group in GROUPS.values() for name, sentence in group.items()} | {"env": ENV}

INPUT_ERRORS = {errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR, errno.EROFS, errno.ENAMETOOLONG}
EXTRAS = dict.fromkeys(("torch", "transformers", "trl", "peft", "accelerate", "datasets", "safetensors"), "train") | {
    "vllm": "vllm"
}
"""The extra that installs a package, for commands that do not name it themselves."""
RESUME = "run the same command again to resume"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns the exit code: 0 done, 2 the input must be corrected, 3 `monitor` has raised an alarm,
    130 stopped by Ctrl-C, 143 stopped by SIGTERM."""
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    silence_libraries()
    words = sys.argv[1:] if arguments is None else list(arguments)
    command = next((word for word in words[:1] if word in COMMANDS), "")
    parsed = build_parser(command).parse_command(words)
    try:
        with prompt_stop(), _claimed(parsed, words):
            if "RANK" in os.environ:
                end_with_parent()
            code = parsed.run(parsed)
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
        if (sentence := _explain(error)) is None:
            raise
        return _fail(sentence)
    return code or 0


def _explain(error: Exception) -> str | None:
    """A sentence about a missing package, a full disk or an unusable file; None for any other error, a bug."""
    if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) in EXTRAS:
        return f"this needs {package}, which is not installed: pip install 'emocaliber[{EXTRAS[package]}]'"
    if any("torchvision::nms" in str(cause) for cause in _causes(error)):
        return (
            "this torchvision was built for another torch than the one installed. Beside a CPU build of torch: pip"
            " install --force-reinstall --no-deps torchvision --index-url https://download.pytorch.org/whl/cpu; or, in"
            " a clone, python scripts/torchvision_beside_cpu_torch.py"
        )
    if (resource := out_of_space(error)) is not None:
        return f"the {resource} is full; free some, then {RESUME}"
    if isinstance(error, OSError) and error.errno in INPUT_ERRORS and error.filename:
        return f"{error.filename}: {error.strerror}"
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _fail(sentence: str) -> int:
    print(f"emocaliber: {sentence}", file=sys.stderr)
    return 2


def _complete() -> None:
    """Complete the line in COMP_LINE for a shell where Tab was pressed, and exit (argcomplete's protocol)."""
    import argcomplete

    typed = os.environ.get("COMP_LINE", "").split()[1:2]
    argcomplete.autocomplete(build_parser(next((word for word in typed if word in COMMANDS), "")))


def build_parser(command: str | None = None) -> CommandParser:
    """The parser of all commands; given `command`, only with that command's arguments, so as to import no other."""
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
    for name, sentence in COMMANDS.items():
        subparser = commands.add_parser(name, description=sentence)
        if command in (None, name):
            _add_arguments(name, subparser)
    return parser


def _add_arguments(command: str, parser: argparse.ArgumentParser) -> None:
    if command in ("run", "train", "export"):
        from emocaliber.cli import training

        add = {"run": training.add_run, "train": training.add_train, "export": training.add_export}[command]
    elif command == "recipe":
        from emocaliber.cli.recipe import add_recipe as add
    elif command == "predict":
        from emocaliber.cli.predict import add_predict as add
    elif command in ("ask", "chat"):
        from emocaliber.cli import ask

        add = {"ask": ask.add_ask, "chat": ask.add_chat}[command]
    elif command in ("score", "compare"):
        from emocaliber.cli import judge

        add = {"score": judge.add_score, "compare": judge.add_compare}[command]
    elif command == "recalibrate":
        from emocaliber.cli.recalibrate import add_recalibrate as add
    elif command == "monitor":
        from emocaliber.cli.monitor import add_monitor as add
    elif command == "baseline":
        from emocaliber.cli.baselines import add_arguments as add
    elif command == "review":
        from emocaliber.cli.review import add_review as add
    elif command == "data":
        from emocaliber.cli.data import add_arguments as add
    else:
        parser.set_defaults(run=_print_environment)
        return
    add(parser)


def _print_environment(_: argparse.Namespace) -> None:
    from emocaliber.core.environment import describe

    for name, value in describe():
        print(f"{name:<24}{value}")


def _overview() -> str:
    lines = []
    for title, group in GROUPS.items():
        lines += [f"{title}:", *(f"  {name:<14}{sentence}" for name, sentence in group.items()), ""]
    return "\n".join(
        [
            *lines,
            "`emocaliber COMMAND --help` lists the options; for a bug report, paste the output of `emocaliber env`.",
            'Tab completion, in ~/.bashrc or ~/.zshrc: eval "$(register-python-argcomplete emocaliber)"',
        ]
    )


def _claimed(parsed: argparse.Namespace, arguments: list[str]) -> AbstractContextManager[None]:
    """The lock on what `--out` names. Of several processes of one launcher, the first holds it for all."""
    output = parsed.output(parsed)
    if output is None or os.environ.get("RANK", "0") != "0":
        return nullcontext()
    inputs = {
        name: str(value)
        for name, value in vars(parsed).items()
        if name not in ("out", "parser") and not callable(value)
    }
    return claimed(output, shlex.join(["emocaliber", *arguments]), inputs)


if __name__ == "__main__":
    sys.exit(main())
