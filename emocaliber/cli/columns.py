"""The options that name the columns of a person's own table, shared by the verbs that read one.

emocaliber score mine.csv --confidence-column certainty --correct-column was_right --percent
"""

from __future__ import annotations

import argparse

from emocaliber.reading.tables import HEADERS, Columns


def add_column_arguments(parser: argparse.ArgumentParser) -> None:
    """An option for each role of a column, and `--percent`."""
    group = parser.add_argument_group(
        "columns of a table (CSV, TSV, Parquet, JSON)",
        "Common headers are recognised in any case; name a column where yours is not, or two would do.",
    )
    for role, headers in HEADERS.items():
        group.add_argument(f"--{role}-column", metavar="NAME", help=f"default: {', '.join(headers[:3])} …")
    group.add_argument("--percent", action="store_true", help="confidences are percentages, 0 to 100")


def columns_of(arguments: argparse.Namespace) -> Columns:
    """The columns that the options name."""
    named = {role: getattr(arguments, f"{role}_column") for role in HEADERS}
    return Columns(**named, percent=arguments.percent)
