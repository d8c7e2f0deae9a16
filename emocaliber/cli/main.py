"""The command line: a table of verbs, each a module with `add_arguments` and `run`.

Those modules import what is heavy when they run, so that `emocaliber --help` loads no torch. Bad input, raised as
`UserError` anywhere below, becomes one sentence on stderr and exit code 2.

    emocaliber --help
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module

from emocaliber import __version__
from emocaliber.core.errors import UserError
from emocaliber.core.outputs import claimed
from emocaliber.core.shortage import shortage

DESCRIPTION = """\
Emotion recognition that knows how sure it is: train vision-language models to state a calibrated confidence, ask them,
and judge whether what they state is right."""

VERBS = {
    "run": ("cli.run", "Run the three stages of a folder of recipes, judge them, write the report."),
    "train": ("cli.train", "Run one stage from its recipe; run again after a stop, it goes on."),
    "generate": ("runs.generate", "Ask a model about images; write responses and predictions."),
    "data": ("cli.data", "Check data, convert it to Parquet, split it without leaks."),
    "pairs": ("cli.pairs", "Make preference pairs of sampled answers, with a report."),
    "recalibrate": ("cli.recalibrate", "Recalibrate confidences after training (temperature, Platt, beta, isotonic)."),
    "rewards": ("cli.rewards", "Draw the rewards of stage 3 and where they pay for cheating."),
    "env": ("cli.environment", "Print versions and devices, to be pasted into a bug report."),
    "score": ("cli.score", "Judge predictions: every metric with intervals, floors and differences."),
    "ask": ("cli.ask", "Ask about pictures; see the feeling, how sure the model is, and what else."),
    "chat": ("cli.chat", "Open a page that answers questions about pictures."),
    "recipe": ("cli.recipe", "Check a recipe, show all it leads to, or copy those that ship."),
    "features": (
        "cli.features",
        "Write what a frozen backbone sees, for baselines to train on.",
    ),
    "baseline": ("cli.baseline", "Train an evidential or other baseline on features, predict and score."),
    "compare": ("cli.compare", "Set a finished run beside the baselines: one table, the same rows."),
    "estimate": ("cli.estimate", "Say what memory and time a recipe needs, before it starts."),
    "evaluate": ("cli.evaluate", "Ask about calibration and test rows, and judge: evaluate.yaml."),
    "export": ("cli.export", "Write a trained model or adapter, with its card, to be shared."),
}
"""Every verb: its module within the package, and a sentence."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 0 done, 2 the input must be mended, 130 stopped by Ctrl-C."""
    parsed = _parser().parse_args(arguments)
    try:
        with _claimed(parsed, sys.argv[1:] if arguments is None else list(arguments)):
            parsed.run(parsed)
    except UserError as error:
        print(f"emocaliber: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if (lacking := shortage(error)) is None:
            raise
        print(f"emocaliber: the {lacking} is full; free some: the same command goes on from here", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("emocaliber: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="emocaliber", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"emocaliber {__version__}")
    parser.set_defaults(output=lambda _: None)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name, (module, sentence) in VERBS.items():
        command = import_module(f"emocaliber.{module}")
        verb = verbs.add_parser(name, help=sentence, description=sentence)
        command.add_arguments(verb)
        verb.set_defaults(run=command.run)
    return parser


def _claimed(parsed: argparse.Namespace, arguments: list[str]) -> AbstractContextManager[None]:
    """The hold on what `--out` names. Of several processes that one launcher started, the first has it for all."""
    output = parsed.output(parsed)
    if output is None or os.environ.get("RANK", "0") != "0":
        return nullcontext()
    inputs = {name: str(value) for name, value in vars(parsed).items() if not callable(value) and name != "out"}
    return claimed(output, shlex.join(["emocaliber", *arguments]), inputs)


if __name__ == "__main__":
    sys.exit(main())
