"""Draw rows of a Parquet file of samples on one labelled sheet, to be looked at: are the pictures and labels as meant?

Not part of any run. Rows are drawn at random with a fixed seed, and laid out by label.

    python scripts/contact_sheet.py emocaliber/data/emoji-sentiment.parquet sheet.png --split train --count 120
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path

from emocaliber.data.findings import described, sheet
from emocaliber.data.parquet import read_samples


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="Parquet file of samples")
    parser.add_argument("sheet", type=Path, help="PNG file to write")
    parser.add_argument("--split", help="rows of this split only")
    parser.add_argument("--group", help="rows of this group only")
    parser.add_argument("--label", help="rows with this label only")
    parser.add_argument("--count", type=int, default=120, help="how many rows (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="which rows (default: %(default)s)")
    arguments = parser.parse_args()
    samples = [
        sample
        for sample in read_samples(arguments.file, arguments.split)
        if arguments.group in (None, sample.group) and arguments.label in (None, sample.label)
    ]
    chosen = random.Random(arguments.seed).sample(samples, min(arguments.count, len(samples)))
    ordered = sorted(chosen, key=lambda sample: (sample.label or "", sample.id))
    sheet((sample.image, described(sample)) for sample in ordered).save(arguments.sheet)
    print(f"{arguments.sheet}: {len(chosen)} of {len(samples)} rows")


if __name__ == "__main__":
    main()
