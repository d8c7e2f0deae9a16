"""Where the words lose against what the model knows, on any suite: the table of steps, and the README's chart.

A suite is one command on rows of test and of fresh calibration pictures. Its figures go to a small JSON file, out of
the page and the chart beside it are written anew. Rows are a folder of `emocaliber predict --out` (the three read-outs)
or a file of `python -m eval.benchmarks.real read`; several of each, in the same order, are models of several seeds,
whose rows are pooled. A finished `emocaliber run` has the same table in its report.

    python -m eval.benchmarks.verbalization kaomoji --test out/test --fresh out/calibrate --adapter out/3/adapter \\
        --about "the tiny model, seed 0" --figures eval/results/verbalization.json
    python -m eval.benchmarks.verbalization fer+ --test rows.jsonl --fresh fresh.jsonl --figures ...
"""

from __future__ import annotations

import argparse
import base64
import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
from matplotlib.axes import Axes

from emocaliber.core.predictions import Prediction, Source, State, read_predictions
from emocaliber.evaluation.verbalization import FLOOR, STATED, ReadOuts, Step, pooled, squared_errors, steps_of
from emocaliber.generation.readouts import FILES
from emocaliber.reporting.document import Document
from emocaliber.reporting.pages import render_markdown
from emocaliber.reporting.svg import AXIS, BLUE, INK, MUTED, ORANGE, PAGE, css_variables, draw_svg, standalone
from emocaliber.reporting.verbalization import WORDS, steps_table
from emocaliber.stages.clusters import fresh_rows, trained_clusters_of

AIM = 0.003
SHOWN, ROOM = (-0.015, 0.02), 0.012
"""What the chart shows at least, and beside each value; an interval that goes on beyond ends in an arrow."""
READING = "\n## What it says"
HEAD = f"""# From what a model knows to what it says

Written by `python -m eval.benchmarks.verbalization` (its first lines say how) from verbalization.json.
{WORDS}

![Stated Brier score minus the best floor's](verbalization.svg)
"""


def read_outs(path: Path, teacher: Path | None = None, *, unlabelled: bool = False) -> ReadOuts:
    """The rows of a folder of `predict`, or of a file of `real read`; the teacher's label probability beside them. Of a
    folder, rows without a label where `unlabelled` allows them."""
    if path.is_file():
        return of_real(path) if teacher is None else replace(of_real(path), teacher=of_real(teacher).probability)
    stated, expected, probability = (
        list(read_predictions(path / FILES[source], unlabelled=unlabelled))
        for source in (Source.VERBALIZED, Source.EXPECTED, Source.LOGPROB)
    )
    taught = None if teacher is None else list(read_predictions(teacher / FILES[Source.LOGPROB]))
    return ReadOuts(stated, probability, expected, taught)


def of_real(path: Path) -> ReadOuts:
    """Rows of `python -m eval.benchmarks.real read` that have a majority, as prediction rows. `mean`, where a row has
    it, is the mean over the levels."""
    lines = [line for line in map(json.loads, path.read_text().splitlines()) if line["truth"]]
    stated, probability, expected = list[Prediction](), list[Prediction](), list[Prediction]()
    for line in lines:
        shares = dict(zip(line["cands"], line["p"], strict=True))
        likeliest = max(shares, key=shares.__getitem__)
        formed = line.get("formed", False)  # stage 1 states nothing
        common: dict[str, Any] = {
            "id": line["id"], "task": "real", "group": line.get("group", ""),
            "cluster": line.get("cluster", line["id"]), "truth": line["truth"], "method": path.stem,
        }  # fmt: skip
        said = {"predicted": line["label"] if formed else None, "state": State.OK if formed else State.MISSING_LABEL}
        stated.append(Prediction(**common, **said, confidence=line["confidence"] if formed else None,
                                 source=Source.VERBALIZED))  # fmt: skip
        probability.append(Prediction(**common, predicted=likeliest, confidence=shares[likeliest], state=State.OK,
                                      source=Source.LOGPROB, distribution=shares, probability=shares[likeliest],
                                      hidden=base64.b64decode(line.get("hidden", "")) or None))  # fmt: skip
        if formed and "mean" in line:
            expected.append(Prediction(**common, **said, confidence=line["mean"], source=Source.EXPECTED))
    return ReadOuts(stated, probability, expected if len(expected) == len(stated) else None)


def of_groups(rows: ReadOuts, groups: Sequence[str]) -> ReadOuts:
    """The rows of these groups; all where none is named."""

    def part(own: Sequence[Prediction] | None) -> Sequence[Prediction] | None:
        return own if own is None or not groups else [row for row in own if row.group in groups]

    return ReadOuts(
        part(rows.stated) or [], part(rows.probability) or [], expected=part(rows.expected), teacher=part(rows.teacher)
    )


def untaught(rows: ReadOuts, adapter: Path | None) -> ReadOuts:
    """Fresh rows: those of clusters that stage 3 of this adapter did not learn from."""
    if adapter is None:
        return rows
    trained = trained_clusters_of(adapter)
    taught = None if rows.teacher is None else fresh_rows(rows.teacher, trained)
    return ReadOuts(fresh_rows(rows.stated, trained), fresh_rows(rows.probability, trained), teacher=taught)


def figures_of(chosen: argparse.Namespace) -> dict[str, Any]:
    """What the JSON file holds of a suite."""
    teachers = chosen.teacher or [None] * (2 * len(chosen.test))
    models, rows, fresh = [], 0, 0
    for n, (test, calibrate) in enumerate(zip(chosen.test, chosen.fresh, strict=True)):
        known = of_groups(read_outs(test, teachers[2 * n]), chosen.group)
        if not known.stated:
            raise SystemExit(f"{test}: no row of group {', '.join(chosen.group)}; give the groups of its rows")
        own = untaught(read_outs(calibrate, teachers[2 * n + 1]), chosen.adapter[n] if chosen.adapter else None)
        models.append(squared_errors(known, own))
        rows, fresh = rows + len(known.stated), fresh + len(own.stated)
    every = pooled(models)
    return {
        "about": chosen.about,
        "date": str(date.today()),
        "n": rows,
        "clusters": len(set(every.clusters)),
        "fresh": fresh,
        "models": len(models),
        "floor": every.floor,
        "steps": [asdict(step) for step in steps_of(every)],
    }


def steps_in(suite: dict[str, Any]) -> list[Step]:
    """The steps of a suite in the JSON file."""
    return msgspec.convert(suite["steps"], type=list[Step])


def page(suites: dict[str, dict[str, Any]]) -> str:
    """A table a suite, as Markdown."""
    parts = [HEAD]
    for name, suite in suites.items():
        models = "1 model" if suite["models"] == 1 else f"{suite['models']} models, pooled"
        caption = f"{name}: n = {suite['n']:,} in {suite['clusters']:,} clusters, {models}"
        text, _ = render_markdown(Document("", [steps_table(steps_in(suite), caption)], []))
        parts.append(
            f"\n## {name}\n\n{suite['about']}; {suite['date']}; maps fitted and chosen on {suite['fresh']:,} fresh"
            f" rows; the best floor: {suite['floor']}.\n\n{text.strip().removeprefix('#').strip()}\n"
        )
    return "".join(parts)


def chart(suites: dict[str, dict[str, Any]]) -> str:
    """A line a suite: the stated Brier score minus the best floor's, with its interval. For light and dark screens."""
    names = list(suites)
    found = [next(step.above_floor for step in steps_in(suites[name]) if step.name == STATED) for name in names]

    def draw(axes: Axes) -> None:
        known = [values[0] for values in found if values]
        low_end, high_end = min([SHOWN[0], *known]) - ROOM / 4, max([SHOWN[1], *known]) + ROOM
        for place, (name, values) in enumerate(zip(names, found, strict=True)):
            value, low, high = values or (0.0, 0.0, 0.0)
            ends = max(low, low_end), min(high, high_end)
            axes.plot(ends, [place, place], color=BLUE.light, linewidth=2.4)
            axes.plot([value], [place], marker="o", color=BLUE.light)
            for end, marker, beyond in ((low_end, "<", low < low_end), (high_end, ">", high > high_end)):
                axes.plot([end] * beyond, [place] * beyond, marker=marker, color=BLUE.light, clip_on=False)
            suite, figures = suites[name], f"{value:+.4f} [{low:+.4f}, {high:+.4f}]".replace("-", "−")
            lines = f"{name}: {figures}", f"n = {suite['n']:,}, {suite['about']}, {suite['date']}"
            for text, above, colour in zip(lines, (0.36, 0.18), (INK, MUTED), strict=True):
                axes.text(low_end, place - above, text, color=colour.light, fontsize=8.5)
        axes.axvline(0, color=AXIS.light, linewidth=1.2)
        axes.axvline(AIM, color=ORANGE.light, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.text(AIM, len(names) - 0.55, f" aim: {AIM:g}".replace("0.", ".", 1), color=ORANGE.light, fontsize=8.5)
        axes.set(xlim=(low_end, high_end), ylim=(len(names) - 0.4, -0.6), yticks=[])
        axes.locator_params(axis="x", nbins=6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Brier score of what is stated − best floor’s", color=MUTED.light)

    words = "; ".join(
        f"{name} {value[0]:+.4f}, 95 % interval {value[1]:+.4f} to {value[2]:+.4f}"
        for name, value in zip(names, found, strict=True)
        if value
    )
    title = (
        f"Brier score of the stated confidence minus that of the best post-hoc map of all that the model knows: {words}"
    )
    svg = standalone(draw_svg("verbalization", title, draw, height=78 + 58.0 * len(names), left=14.0))
    dark = f"@media (prefers-color-scheme: dark) {{:root {{{css_variables(dark=True)}}}}}"
    colours = f":root {{{css_variables(dark=False)}}} {dark}"
    svg = svg.replace(f"background: {PAGE.light}", f"background: var(--page, {PAGE.light})", 1)
    return svg.replace("<title", f"<style>{colours}</style><title", 1)


def main() -> None:
    """Take the figures of a suite, print its table, and write page and chart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="its name in the table and the chart")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="rows to judge, one a model")
    parser.add_argument("--fresh", type=Path, nargs="+", required=True, help="calibration rows, as many")
    parser.add_argument(
        "--teacher", type=Path, nargs="+", help="stage 1's folders: test and fresh of each model in turn"
    )
    parser.add_argument("--adapter", type=Path, nargs="+", help="stage 3's, whose training rows are not fresh")
    parser.add_argument("--group", nargs="+", default=[], help="only test rows of these groups")
    parser.add_argument("--about", default="", help="which model, seeds and machine, in a few words")
    parser.add_argument(
        "--figures", type=Path, help="JSON file to put the figures into; page and chart stand beside it"
    )
    chosen = parser.parse_args()
    suite = figures_of(chosen)
    assert suite["steps"][0]["name"] == FLOOR
    print(page({chosen.suite: suite}).removeprefix(HEAD))
    if chosen.figures is None:
        return
    suites = json.loads(chosen.figures.read_text()) if chosen.figures.exists() else {}
    suites[chosen.suite] = suite
    chosen.figures.write_text(json.dumps(suites, indent=1, ensure_ascii=False) + "\n")
    target = chosen.figures.with_suffix(".md")
    _, heading, reading = target.read_text().partition(READING) if target.exists() else ("", "", "")
    target.write_text(page(suites) + heading + reading)
    chosen.figures.with_suffix(".svg").write_text(chart(suites))


if __name__ == "__main__":
    main()
