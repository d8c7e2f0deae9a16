"""Rows of real faces become read-outs, and the chart shows every suite of the figures, on light and dark screens."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from eval.benchmarks.verbalization import draw_chart, load_read_outs, load_real_rows, main

LABELS = ["joy", "fear", "anger"]


def written(path: Path, n: int, seed: int) -> Path:
    """Rows as `eval.benchmarks.real read` writes them; the last has no majority, the one before left the form."""
    rng = np.random.default_rng(seed)
    lines = []
    for i in range(n):
        p = rng.dirichlet([1, 1, 1]).tolist()
        truth = str(rng.choice(LABELS, p=p))
        likeliest = LABELS[int(np.argmax(p))]
        row = {"id": f"{seed}-{i}", "truth": truth, "votes": {truth: 3}, "second": None, "p": p, "cands": LABELS,
               "label": likeliest, "confidence": round(max(p) * 20) / 20, "formed": True}  # fmt: skip
        lines.append(row)
    lines[-2]["formed"] = False
    lines[-1]["truth"] = None
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_rows_of_real_faces_are_read_outs_without_those_that_have_no_majority(tmp_path: Path) -> None:
    rows = load_real_rows(written(tmp_path / "rows.jsonl", 40, 0))
    assert len(rows.stated) == len(rows.probability) == 39
    assert rows.expected is None, "the mean over levels was not read"
    assert rows.stated[-1].confidence is None
    assert rows.probability[-1].confidence == max((rows.probability[-1].distribution or {}).values())


def test_a_file_of_stage_1_which_states_nothing_is_the_teacher(tmp_path: Path) -> None:
    rows = written(tmp_path / "rows.jsonl", 40, 0)
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    silent = [{k: v for k, v in line.items() if k not in ("label", "confidence", "formed")} for line in lines]
    (tmp_path / "1.jsonl").write_text("".join(json.dumps(line) + "\n" for line in silent))
    assert load_read_outs(rows, tmp_path / "1.jsonl").teacher == load_real_rows(tmp_path / "1.jsonl").probability


def test_a_suite_is_put_beside_the_others_in_figures_page_and_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = tmp_path / "verbalization.json"
    test, fresh = written(tmp_path / "rows.jsonl", 120, 1), written(tmp_path / "fresh.jsonl", 120, 2)
    for suite in ("one", "two", "one"):
        arguments = ["verbalization", suite, "--test", str(test), "--fresh", str(fresh), "--figures", str(figures)]
        monkeypatch.setattr("sys.argv", [*arguments, "--about", "nobody's model"])
        main()
        page = figures.with_suffix(".md")
        if suite == "one" and "\n## What it says" not in page.read_text():
            page.write_text(page.read_text() + "\n## What it says\n\nWords of a person.\n")
    suites = json.loads(figures.read_text())
    assert list(suites) == ["one", "two"]
    assert suites["one"]["n"] == 119
    assert page.read_text().count("\n## ") == 3
    assert "Words of a person." in page.read_text()
    drawn = figures.with_suffix(".svg").read_text()
    assert drawn == draw_chart(suites)
    assert "prefers-color-scheme: dark" in drawn
    assert "http" not in drawn.replace("http://www.w3.org/", "")
    texts = " ".join(element.text or "" for element in ElementTree.fromstring(drawn).iter())
    assert "one: +0." in texts
    assert "two: +0." in texts
    assert "n = 119, nobody's model, " in texts
