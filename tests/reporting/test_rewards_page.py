"""The page of rewards says of each what the checker found, in one file that asks for nothing."""

from __future__ import annotations

import re
from pathlib import Path

from emocaliber.reporting.rewards_page import rewards_document, write_rewards_page
from emocaliber.stages.rewards import DRAWN


def test_the_page_stands_alone_and_draws_every_reward_twice(tmp_path: Path):
    write_rewards_page(tmp_path / "rewards.html")
    page = (tmp_path / "rewards.html").read_text()
    assert page.count('<svg class="panel"') == 2 * len(DRAWN)
    assert not re.search(r'(?:src|href)="https?:', page)
    assert "<script" not in page


def test_the_table_marks_what_is_unsafe_and_where():
    rows = {
        row[0].text: [cell.text for cell in row] for row in rewards_document(("brier-1", "emocaliber")).opening[1].rows
    }  # type: ignore[union-attr]
    assert rows["brier-1"][1:6] == ["safe", *["nowhere"] * 4]
    assert rows["emocaliber"][1] == "not safe"
    assert rows["emocaliber"][3].endswith("–0.849")
