"""The verbalization loss of any suite: the table of steps from best floor to stated confidence, and the README's chart.

One command measures one suite, on test rows and on fresh calibration rows. It adds the figures to a small JSON file and
rewrites the page and the chart next to it. Rows are a folder of `emocaliber predict --out` (all three read-outs) or a
file of `python -m eval.benchmarks.real read`. Several of each, in the same order, are models of several seeds, whose
rows are pooled. The report of a finished `emocaliber run` has the same table.

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
"""The stated Brier score is to exceed the best floor's by no more than this."""
AXIS_RANGE, AXIS_MARGIN = (-0.015, 0.02), 0.012
"""The least range of the chart's axis, and the margin beside the outermost values. Longer intervals end in an arrow."""
INTERPRETATION = "\n## What it says"
"""The heading from which on the page is written by hand, and kept."""
HEAD = f"""# From what a model knows to what it says

Written by `python -m eval.benchmarks.verbalization` (its first lines say how) from verbalization.json.
{WORDS}

![Stated Brier score minus the best floor's](verbalization.svg)
"""


def load_read_outs(path: Path, teacher: Path | None = None, *, unlabelled: bool = False) -> ReadOuts:
    """Read a folder of `predict` or a file of `real read`, and the teacher's label probabilities of the same rows.

    With `unlabelled`, a folder's rows without a label are read, too; otherwise they raise UserError.
    """
    if path.is_file():
        own = load_real_rows(path)
        return own if teacher is None else replace(own, teacher=load_real_rows(teacher).probability)
    stated, expected, probability = (
        list(read_predictions(path / FILES[source], unlabelled=unlabelled))
        for source in (Source.VERBALIZED, Source.EXPECTED, Source.LOGPROB)
    )
    teacher_rows = None if teacher is None else list(read_predictions(teacher / FILES[Source.LOGPROB]))
    return ReadOuts(stated, probability, expected, teacher_rows)


def load_real_rows(path: Path) -> ReadOuts:
    """Read the rows of `python -m eval.benchmarks.real read` that have a majority label.

    The expected confidence comes from `mean`, the mean over the levels; without it in every row, `expected` is None.
    """
    lines = [line for line in map(json.loads, path.read_text().splitlines()) if line["truth"]]
    stated, probability, expected = list[Prediction](), list[Prediction](), list[Prediction]()
    for line in lines:
        distribution = dict(zip(line["cands"], line["p"], strict=True))
        likeliest = max(distribution, key=distribution.__getitem__)
        readable = line.get("formed", False)  # stage 1 states nothing
        sample: dict[str, Any] = {
            "id": line["id"], "task": "real", "group": line.get("group", ""),
            "cluster": line.get("cluster", line["id"]), "truth": line["truth"], "method": path.stem,
        }  # fmt: skip
        answer = {
            "predicted": line["label"] if readable else None,
            "state": State.OK if readable else State.MISSING_LABEL,
        }
        stated.append(Prediction(**sample, **answer, confidence=line["confidence"] if readable else None,
                                 source=Source.VERBALIZED))  # fmt: skip
        probability.append(Prediction(**sample, predicted=likeliest, confidence=distribution[likeliest], state=State.OK,
                                      source=Source.LOGPROB, distribution=distribution,
                                      probability=distribution[likeliest],
                                      hidden=base64.b64decode(line.get("hidden", "")) or None))  # fmt: skip
        if readable and "mean" in line:
            expected.append(Prediction(**sample, **answer, confidence=line["mean"], source=Source.EXPECTED))
    return ReadOuts(stated, probability, expected if len(expected) == len(stated) else None)


def select_groups(read_outs: ReadOuts, groups: Sequence[str]) -> ReadOuts:
    """Only the rows of these groups; all rows if no group is given."""

    def select(rows: Sequence[Prediction]) -> Sequence[Prediction]:
        return [row for row in rows if row.group in groups] if groups else rows

    return ReadOuts(
        select(read_outs.stated),
        select(read_outs.probability),
        expected=None if read_outs.expected is None else select(read_outs.expected),
        teacher=None if read_outs.teacher is None else select(read_outs.teacher),
    )


def drop_trained(read_outs: ReadOuts, adapter: Path | None) -> ReadOuts:
    """Only the rows of clusters that stage 3 of this adapter did not train on."""
    if adapter is None:
        return read_outs
    trained = trained_clusters_of(adapter)
    teacher = None if read_outs.teacher is None else fresh_rows(read_outs.teacher, trained)
    return ReadOuts(fresh_rows(read_outs.stated, trained), fresh_rows(read_outs.probability, trained), teacher=teacher)


def measure_suite(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures of a suite, as the JSON file stores them."""
    teachers = arguments.teacher or [None] * (2 * len(arguments.test))
    models, n_test, n_fresh = [], 0, 0
    for n, (test_path, fresh_path) in enumerate(zip(arguments.test, arguments.fresh, strict=True)):
        test = select_groups(load_read_outs(test_path, teachers[2 * n]), arguments.group)
        if not test.stated:
            raise SystemExit(f"{test_path}: no row of group {', '.join(arguments.group)}; give the groups of its rows")
        adapter = arguments.adapter[n] if arguments.adapter else None
        fresh = drop_trained(load_read_outs(fresh_path, teachers[2 * n + 1]), adapter)
        models.append(squared_errors(test, fresh))
        n_test, n_fresh = n_test + len(test.stated), n_fresh + len(fresh.stated)
    errors = pooled(models)
    return {
        "about": arguments.about,
        "date": str(date.today()),
        "n": n_test,
        "clusters": len(set(errors.clusters)),
        "fresh": n_fresh,
        "models": len(models),
        "floor": errors.floor,
        "steps": [asdict(step) for step in steps_of(errors)],
    }


def parse_steps(suite: dict[str, Any]) -> list[Step]:
    """The steps of a suite from the JSON file."""
    return msgspec.convert(suite["steps"], type=list[Step])


def render_page(suites: dict[str, dict[str, Any]]) -> str:
    """The Markdown page: a table for each suite."""
    sections = [HEAD]
    for name, suite in suites.items():
        models = "1 model" if suite["models"] == 1 else f"{suite['models']} models, pooled"
        caption = f"{name}: n = {suite['n']:,} in {suite['clusters']:,} clusters, {models}"
        text, _ = render_markdown(Document("", [steps_table(parse_steps(suite), caption)], []))
        sections.append(
            f"\n## {name}\n\n{suite['about']}; {suite['date']}; maps fitted and chosen on {suite['fresh']:,} fresh"
            f" rows; the best floor: {suite['floor']}.\n\n{text.strip().removeprefix('#').strip()}\n"
        )
    return "".join(sections)


def draw_chart(suites: dict[str, dict[str, Any]]) -> str:
    """An SVG for light and dark screens. Each suite has a line: the stated Brier score minus the best floor's, with its
    interval."""
    names = list(suites)
    differences = [next(s.above_floor for s in parse_steps(suites[name]) if s.name == STATED) for name in names]

    def draw(axes: Axes) -> None:
        means = [difference[0] for difference in differences if difference]
        left = min([AXIS_RANGE[0], *means]) - AXIS_MARGIN / 4
        right = max([AXIS_RANGE[1], *means]) + AXIS_MARGIN
        for y, (name, difference) in enumerate(zip(names, differences, strict=True)):
            mean, low, high = difference or (0.0, 0.0, 0.0)
            axes.plot((max(low, left), min(high, right)), [y, y], color=BLUE.light, linewidth=2.4)
            axes.plot([mean], [y], marker="o", color=BLUE.light)
            for end, marker, clipped in ((left, "<", low < left), (right, ">", high > right)):
                axes.plot([end] * clipped, [y] * clipped, marker=marker, color=BLUE.light, clip_on=False)
            suite, interval = suites[name], f"{mean:+.4f} [{low:+.4f}, {high:+.4f}]".replace("-", "−")
            lines = f"{name}: {interval}", f"n = {suite['n']:,}, {suite['about']}, {suite['date']}"
            for text, offset, colour in zip(lines, (0.36, 0.18), (INK, MUTED), strict=True):
                axes.text(left, y - offset, text, color=colour.light, fontsize=8.5)
        axes.axvline(0, color=AXIS.light, linewidth=1.2)
        axes.axvline(AIM, color=ORANGE.light, linewidth=1.2, linestyle=(0, (4, 2)))
        axes.text(AIM, len(names) - 0.55, f" aim: {AIM:g}".replace("0.", ".", 1), color=ORANGE.light, fontsize=8.5)
        axes.set(xlim=(left, right), ylim=(len(names) - 0.4, -0.6), yticks=[])
        axes.locator_params(axis="x", nbins=6)
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("Brier score of what is stated − best floor’s", color=MUTED.light)

    values = "; ".join(
        f"{name} {difference[0]:+.4f}, 95 % interval {difference[1]:+.4f} to {difference[2]:+.4f}"
        for name, difference in zip(names, differences, strict=True)
        if difference
    )
    title = (
        "Brier score of the stated confidence minus that of the best post-hoc map of all that the model knows:"
        f" {values}"
    )
    svg = standalone(draw_svg("verbalization", title, draw, height=78 + 58.0 * len(names), left=14.0))
    dark = f"@media (prefers-color-scheme: dark) {{:root {{{css_variables(dark=True)}}}}}"
    colours = f":root {{{css_variables(dark=False)}}} {dark}"
    svg = svg.replace(f"background: {PAGE.light}", f"background: var(--page, {PAGE.light})", 1)
    return svg.replace("<title", f"<style>{colours}</style><title", 1)


def main() -> None:
    """Measure a suite, print its table, and write figures, page and chart if --figures names a file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suite", help="the suite's name in the table and the chart")
    parser.add_argument("--test", type=Path, nargs="+", required=True, help="test rows, one folder or file per model")
    parser.add_argument("--fresh", type=Path, nargs="+", required=True, help="calibration rows, one per model")
    parser.add_argument(
        "--teacher", type=Path, nargs="+", help="stage 1's rows: test and fresh of the first model, of the next, ..."
    )
    parser.add_argument(
        "--adapter", type=Path, nargs="+", help="stage 3's adapter of each model; rows it was trained on are not fresh"
    )
    parser.add_argument("--group", nargs="+", default=[], help="use only test rows of these groups")
    parser.add_argument("--about", default="", help="the model, its seeds and the machine, in a few words")
    parser.add_argument(
        "--figures", type=Path, help="JSON file to add the figures to; the page and the chart are written next to it"
    )
    arguments = parser.parse_args()
    suite = measure_suite(arguments)
    assert suite["steps"][0]["name"] == FLOOR
    print(render_page({arguments.suite: suite}).removeprefix(HEAD))
    if arguments.figures is None:
        return
    suites = json.loads(arguments.figures.read_text()) if arguments.figures.exists() else {}
    suites[arguments.suite] = suite
    arguments.figures.write_text(json.dumps(suites, indent=1, ensure_ascii=False) + "\n")
    page = arguments.figures.with_suffix(".md")
    _, heading, interpretation = page.read_text().partition(INTERPRETATION) if page.exists() else ("", "", "")
    page.write_text(render_page(suites) + heading + interpretation)
    arguments.figures.with_suffix(".svg").write_text(draw_chart(suites))


if __name__ == "__main__":
    main()
