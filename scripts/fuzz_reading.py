"""Fuzz the reader: random bytes guided by coverage, and a measurement that its time grows linearly on hostile texts.

Not a test of its policies (tests/reading/test_reading.py). Needs `pip install atheris` for the first part.

    python scripts/fuzz_reading.py --seconds 300       coverage-guided fuzzing; ends with the crashing input, if any
    python scripts/fuzz_reading.py --growth            CPU time at 0.25 and at 1 MB for each hostile text; exit code 1
                                                       where four times the text costs more than eight times the time
"""

from __future__ import annotations

import argparse
import itertools
import sys
import time

from emocaliber.core.predictions import State
from emocaliber.core.taxonomy import KAOMOJI_10
from emocaliber.reading import CONFIDENCE_WORDS, read_response

LABELS = KAOMOJI_10.labels
FINISH = (None, "stop", "length", State.ENGINE_ERROR.value)
TAGS = [f"<{slash}{name}>" for name in ("answer", "confidence", "think", "distribution") for slash in ("", "/")]
WORDS = [*"{}[:0-*%a;(–ﷺ", '{"emotion":', '\\"', "0.", "0,8", "1/", "85%", ".5", "certain", "not", "n't", "joy,"]
PHRASES = [
    "<answer>happy</answer>",
    "happy 0.6, ",
    "happy 0.6\n",
    "Emotion: ",
    "emotion is ",
    "confidence: 0.8 ",
    "1 sure ",
]
MARKS = [" ", "\n", "\u0316\u0300", "\ud800", "happy ", "happysad", "- ", "1. ", "0 out of ", "about "]
FRAMES = [
    "{}",
    "<answer>{}</answer>",
    "<distribution>{}</distribution>",
    "Emotion: {}",
    "happy {}",
    "<answer>happy</answer>{}",
]
SMALL, LARGE, NOISE_SECONDS = 250_000, 1_000_000, 0.05


def check(text: str, finish_reason: str | None) -> None:
    """What holds for every text, whatever it says."""
    reading = read_response(text, LABELS, finish_reason=finish_reason, words=CONFIDENCE_WORDS)
    assert reading.label is None or reading.label in LABELS
    assert reading.confidence is None or 0.0 <= reading.confidence <= 1.0
    assert (reading.state == State.OK) == (reading.label is not None and reading.confidence is not None)


def cpu_seconds(frame: str, piece: str, size: int) -> float:
    """CPU time to read about `size` characters of the piece in its frame."""
    text = frame.replace("{}", piece * (size // len(piece)))
    started = time.process_time()
    check(text, None)
    return time.process_time() - started


def measure_growth() -> int:
    """Print each text whose time grows faster than its length, then a summary; 1 where there is one, else 0."""
    slowest, offenders = 0.0, 0
    for frame, piece in itertools.product(FRAMES, TAGS + WORDS + PHRASES + MARKS):
        small, large = cpu_seconds(frame, piece, SMALL), cpu_seconds(frame, piece, LARGE)
        slowest = max(slowest, large)
        if large > max(8 * small, NOISE_SECONDS):
            offenders += 1
            print(f"{frame} of {piece!r}: {small:.3f} s at {SMALL:,}, {large:.3f} s at {LARGE:,} characters")
    count = len(FRAMES) * len(TAGS + WORDS + PHRASES + MARKS)
    print(f"{count} hostile texts of {LARGE:,} characters, the slowest {slowest:.2f} s; {offenders} grow too fast")
    return 1 if offenders else 0


def fuzz(seconds: int) -> None:
    """Fuzz until the time is up or `check` fails; atheris prints and stores the input that failed."""
    import atheris

    atheris.instrument_all()

    def one_input(data: bytes) -> None:
        provider = atheris.FuzzedDataProvider(data)
        finish = FINISH[provider.ConsumeIntInRange(0, len(FINISH) - 1)]
        pieces = TAGS + PHRASES + list(LABELS)
        parts = []
        while provider.remaining_bytes():
            shown = provider.ConsumeBool()
            parts.append(
                pieces[provider.ConsumeIntInRange(0, len(pieces) - 1)] if shown else provider.ConsumeUnicode(8)
            )
        check("".join(parts), finish)

    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=4096", "-timeout=5"], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Fuzz the reader of responses.")
    parser.add_argument("--seconds", type=int, default=300, help="how long to fuzz (default: 300)")
    parser.add_argument("--growth", action="store_true", help="measure the growth of the time instead")
    arguments = parser.parse_args()
    if arguments.growth:
        sys.exit(measure_growth())
    fuzz(arguments.seconds)
