"""The table of families: README, results page and command say the same."""

from __future__ import annotations

import pytest

from eval.benchmarks.family_table import BEGIN, END, README, RESULTS, between, short, table


def written() -> str:
    return RESULTS.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def test_the_readme_has_the_short_table_of_the_results_page() -> None:
    text = README.read_text()
    assert text == between(text, short(written()))
    assert text.count(BEGIN) == text.count(END) == 1


def test_a_short_line_says_what_is_refused_and_what_is_not_verified() -> None:
    line = next(line for line in short(written()).splitlines() if "minicpm-v" in line)
    assert "SFT, proper: tested; GRPO: refused" in line
    assert "transformers: tested; vLLM: not verified" in line


@pytest.mark.slow
def test_the_results_page_has_what_the_command_prints() -> None:
    assert written() == table()
