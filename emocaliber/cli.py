"""The command line: one verb a function, and no logic in any of them.

Each verb's function imports what it needs when it is called, so that `emocaliber --help` loads no torch. Bad input,
raised as `UserError` anywhere below, becomes one sentence on stderr and exit code 2.

    emocaliber --help
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from emocaliber import __version__
from emocaliber.errors import UserError

Verb = Callable[[argparse.Namespace], None]

DESCRIPTION = """\
Emotion recognition that knows how sure it is: train vision-language models to state a calibrated confidence, ask them,
and judge whether what they state is right."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb. Returns the exit code: 0 done, 2 the input must be mended, 130 stopped by Ctrl-C."""
    parsed = _parser().parse_args(arguments)
    verb: Verb = parsed.verb
    try:
        verb(parsed)
    except UserError as error:
        print(f"emocaliber: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("emocaliber: stopped; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="emocaliber", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"emocaliber {__version__}")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _run_arguments(
        _add(verbs, "run", run, "Run the three stages of a folder of recipes, judge them, write the report.")
    )
    _train_arguments(_add(verbs, "train", train, "Run one stage from its recipe; run again after a stop, it goes on."))
    _generate_arguments(_add(verbs, "generate", generate, "Ask a model about images; write responses and predictions."))
    _data_arguments(_add(verbs, "data", data, "Check data, convert it to Parquet, split it without leaks."))
    _pairs_arguments(_add(verbs, "pairs", pairs, "Make preference pairs of sampled answers, with a report."))
    _recalibrate_arguments(
        _add(verbs, "recalibrate", recalibrate, "Mend stated confidences or label probabilities after the fact.")
    )
    _rewards_arguments(_add(verbs, "rewards", rewards, "Draw the rewards of stage 3 and where they pay for cheating."))
    _add(verbs, "env", env, "Print versions and devices, to be pasted into a bug report.")
    _score_arguments(
        _add(verbs, "score", score, "Judge predictions: every metric with intervals, floors and differences.")
    )
    _ask_arguments(
        _add(verbs, "ask", ask, "Ask about pictures; see the feeling, how sure the model is, and what else.")
    )
    _chat_arguments(_add(verbs, "chat", chat, "Open a page that answers questions about pictures."))
    _recipe_arguments(_add(verbs, "recipe", recipe, "Check a recipe, show all it leads to, or copy those that ship."))
    _features_arguments(
        _add(verbs, "features", features, "Write what a frozen backbone sees in pictures, for baselines to train on.")
    )
    _baseline_arguments(
        _add(verbs, "baseline", baseline, "Train an evidential or other baseline on features, predict and score.")
    )
    _estimate_arguments(_add(verbs, "estimate", estimate, "Say what memory and time a recipe needs, before it starts."))
    _evaluate_arguments(
        _add(verbs, "evaluate", evaluate, "Ask about calibration and test rows, and judge: evaluate.yaml.")
    )
    _export_arguments(_add(verbs, "export", export, "Write a trained model or adapter, with its card, to be shared."))
    _base_arguments(_add(verbs, "base", base, "Teach the tiny backbone to read drawings, before it meets an emotion."))
    return parser


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, verb: Verb, description: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=description, description=description)
    parser.set_defaults(verb=verb)
    return parser


def _run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipes", type=Path, help="a folder with 1-label.yaml, 2-verbalize.yaml and 3-calibrate.yaml")
    parser.add_argument("--out", type=Path, required=True, help="where everything is written; finished steps are kept")
    parser.add_argument("--seed", type=int, help="a seed in place of the recipes' own")


def run(arguments: argparse.Namespace) -> None:
    """Run the whole road."""
    from emocaliber.pipeline.run import run as run_recipes

    report = run_recipes(arguments.recipes, arguments.out, arguments.seed)
    print(f"The report: {report}")


def _train_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("recipe", type=Path, help="a recipe such as recipes/tiny/1-label.yaml")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help="replaces what the recipe says of a key")
    parser.add_argument("--adapter", type=Path, help="the adapter of the stage before (stages 2 and 3)")
    parser.add_argument("--out", type=Path, required=True, help="where adapter/ and log.jsonl are written")


def train(arguments: argparse.Namespace) -> None:
    """Run one stage."""
    from emocaliber.pipeline.recipes import read_recipe
    from emocaliber.pipeline.train import train as train_recipe

    train_recipe(read_recipe(arguments.recipe, arguments.overrides), arguments.adapter, arguments.out)
    print(f"The result: {arguments.out}")


def _recipe_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.pipeline.recipe_command import add_arguments

    add_arguments(parser)


def recipe(arguments: argparse.Namespace) -> None:
    """Check, show or copy recipes."""
    from emocaliber.pipeline.recipe_command import run as run_recipe_verb

    run_recipe_verb(arguments)


def _estimate_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.pipeline.estimate_command import add_arguments

    add_arguments(parser)


def estimate(arguments: argparse.Namespace) -> None:
    """Say what a recipe will need."""
    from emocaliber.pipeline.estimate_command import run as run_estimate

    run_estimate(arguments)


def _evaluate_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.pipeline.evaluate_command import add_arguments

    add_arguments(parser)


def evaluate(arguments: argparse.Namespace) -> None:
    """Ask about calibration and test rows, and judge."""
    from emocaliber.pipeline.evaluate_command import run as run_evaluate

    run_evaluate(arguments)


def _export_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.pipeline.export_command import add_arguments

    add_arguments(parser)


def export(arguments: argparse.Namespace) -> None:
    """Write a folder to be shared."""
    from emocaliber.pipeline.export_command import run as run_export

    run_export(arguments)


def _base_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, help="where the model and its processor are written")
    parser.add_argument(
        "--steps",
        type=int,
        default=2000,
        help="how long to train; 2000 took 30 minutes on 2 CPU cores that others used too",
    )


def base(arguments: argparse.Namespace) -> None:
    """Teach the tiny backbone."""
    from emocaliber.backbones.base import BaseSettings, make_base

    make_base(arguments.out, BaseSettings(steps=arguments.steps))


def _features_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.baselines.features_command import add_arguments

    add_arguments(parser)


def features(arguments: argparse.Namespace) -> None:
    """Write files of views."""
    from emocaliber.baselines.features_command import run

    run(arguments)


def _baseline_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.baselines.command import add_arguments

    add_arguments(parser)


def baseline(arguments: argparse.Namespace) -> None:
    """Train and score a baseline."""
    from emocaliber.baselines.command import run

    run(arguments)


def _generate_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.generation.command import add_arguments

    add_arguments(parser)


def generate(arguments: argparse.Namespace) -> None:
    """Ask a model about images."""
    from emocaliber.generation.command import run

    run(arguments)


def _ask_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.chat.command import add_ask_arguments

    add_ask_arguments(parser)


def ask(arguments: argparse.Namespace) -> None:
    """Ask about pictures in the terminal."""
    from emocaliber.chat.command import ask as ask_about

    ask_about(arguments)


def _chat_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.chat.command import add_chat_arguments

    add_chat_arguments(parser)


def chat(arguments: argparse.Namespace) -> None:
    """Serve the page."""
    from emocaliber.chat.command import chat as serve_page

    serve_page(arguments)


def _data_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.datasets.command import add_arguments

    add_arguments(parser)


def data(arguments: argparse.Namespace) -> None:
    """Check, convert or split data."""
    from emocaliber.datasets.command import run

    run(arguments)


def _rewards_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="REWARD", help="such as brier-1 or log-2 (default: nine of them)")
    parser.add_argument("--out", type=Path, default=Path("rewards.html"), help="the page (default: rewards.html)")


def rewards(arguments: argparse.Namespace) -> None:
    """Draw the rewards."""
    from emocaliber.stages.rewards import DRAWN
    from emocaliber.stages.rewards_page import write_rewards_page

    try:
        write_rewards_page(arguments.out, arguments.names or DRAWN)
    except ValueError as error:
        raise UserError(str(error)) from None
    print(f"The rewards: {arguments.out}")


def _pairs_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.pipeline.pairs import add_arguments

    add_arguments(parser)


def pairs(arguments: argparse.Namespace) -> None:
    """Make preference pairs."""
    from emocaliber.pipeline.pairs import run

    run(arguments)


def _recalibrate_arguments(parser: argparse.ArgumentParser) -> None:
    from emocaliber.recalibration import add_arguments

    add_arguments(parser)


def recalibrate(arguments: argparse.Namespace) -> None:
    """Fit a map after the fact, or apply it."""
    from emocaliber.recalibration import run

    run(arguments)


def env(_: argparse.Namespace) -> None:
    """Print versions and devices."""
    from emocaliber.environment import describe

    for name, value in describe():
        print(f"{name:<24}{value}")


def _score_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "predictions",
        nargs="+",
        type=Path,
        metavar="PRED",
        help="prediction file, EmoCaliber's merged JSONL, or a .csv of confidence,correct[,task]; several are compared",
    )
    parser.add_argument("--suite", type=Path, help="a file such as eval/suites/vecbench.yaml")
    parser.add_argument("--calibration", type=Path, action="append", default=[], help="predictions on held-out rows")
    parser.add_argument("--reference", type=Path, action="append", default=[], help="published figures to print beside")
    parser.add_argument("--out", type=Path, help="folder for scorecard.json, scorecard.md and report.html")
    parser.add_argument(
        "--threshold-on-test",
        action="store_true",
        help="choose trusted thresholds on the test rows themselves; every output marks them so",
    )


def score(arguments: argparse.Namespace) -> None:
    """Judge predictions."""
    from rich.console import Console

    from emocaliber.scorecard_tables import terminal
    from emocaliber.scoring import score_files

    progress, console = Console(stderr=True), Console()
    with progress.status("reading") as status:
        card = score_files(
            arguments.predictions,
            suite=arguments.suite,
            calibration=arguments.calibration,
            references=arguments.reference,
            out=arguments.out,
            threshold_on_test=arguments.threshold_on_test,
            on_progress=status.update,
        )
    for table in terminal(card):
        console.print(table)
    for note in card.notes:
        console.print(f"Note: {note}", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
