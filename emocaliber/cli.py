"""The command line: one verb a function, and no logic in any of them.

Each verb's function imports what it needs when it is called, so that `emocaliber --help` loads no torch. Bad input,
raised as `UserError` anywhere below, becomes one sentence on stderr and exit code 2.

    emocaliber --help
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

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
    _add(verbs, "env", env, "Print versions and devices, to be pasted into a bug report.")
    return parser


def _add(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, verb: Verb, description: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=description, description=description)
    parser.set_defaults(verb=verb)
    return parser


def env(_: argparse.Namespace) -> None:
    """Print versions and devices."""
    from emocaliber.environment import describe

    for name, value in describe():
        print(f"{name:<24}{value}")


if __name__ == "__main__":
    sys.exit(main())
