"""A monitor's report: its alarms, a table of its streams, and a figure of their evidence over time.

write_page(monitor_document(monitored), Path("monitor.html"))
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from emocaliber.evaluation.monitoring import Alarm, Monitor
from emocaliber.reporting.document import Block, Cell, Document, Figure, Panel, Paragraph, Section, Table
from emocaliber.reporting.svg import INK, MUTED, draw_svg, series_styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TITLES = {
    "labels": "the predicted labels",
    "confidence": "the confidence",
    "unreadable": "the share of unreadable answers",
    "accuracy": "the accuracy (rows with a label)",
    "calibration": "the calibration (rows with a label)",
}
READING = (
    "Evidence that something has changed, on a logarithmic scale, against the number of rows in the stream. It starts"
    " at 1, and an alarm is raised when a line reaches the dashed one. As long as nothing changes, the probability that"
    " any line ever does is at most the false alarm probability."
)


def monitor_document(
    monitor: Monitor, words: list[str], sides: Mapping[str, Mapping[str, object]], *, figure: bool
) -> Document:
    """The report of a monitor: `words` about the batch, a sentence per alarm, and the streams; `sides` hold the summary
    statistics of "reference" and "batch"."""
    blocks: list[Block] = [Paragraph(sentence) for sentence in words]
    blocks += [Paragraph(alarm_sentence(alarm), lead=True) for alarm in monitor.alarms]
    if not monitor.alarms:
        blocks.append(Paragraph("No alarm: there is no evidence that the predictions have changed.", lead=True))
    blocks += [_streams(monitor), _sides(sides)]
    panel = (
        [Section("Evidence over time", [Figure("Evidence by stream", [_panel(monitor)], READING)])] if figure else []
    )
    return Document("Monitor: ALARM" if monitor.alarms else "Monitor: no alarm", blocks, panel)


def alarm_sentence(alarm: Alarm) -> str:
    """What changed, since which row, and when it was detected."""
    return (
        f"ALARM: {TITLES[alarm.stream]} changed at about row {alarm.since:,}; detected after {alarm.raised:,} rows"
        f" (at {alarm.unit})."
    )


def _streams(monitor: Monitor) -> Table:
    rows = []
    for name, stream in monitor.streams.items():
        alarm = next((alarm for alarm in monitor.alarms if alarm.stream == name), None)
        p = monitor.p_value(name)
        rows.append(
            [
                Cell(TITLES[name].removeprefix("the ").capitalize()),
                Cell(f"{stream.rows:,}"),
                Cell(f"{stream.peak:.3g}" if stream.peak < 1e6 else f"{stream.peak:.0e}"),
                Cell(f"{p:.3f}" if p >= 0.001 else "< 0.001"),
                Cell("ALARM" if alarm else "–", f"from about row {alarm.since:,}" if alarm else ""),
            ]
        )
    caption = (
        f"An alarm is raised when the evidence reaches {monitor.threshold:g}; the probability that this ever happens"
        f" while nothing changes is at most {monitor.alpha:g}"
    )
    return Table(caption, ["Stream", "Rows", "Highest evidence", "p at any time", "Alarm"], rows)


def _sides(sides: Mapping[str, Mapping[str, object]]) -> Table:
    titles = {
        "rows": "Rows",
        "unreadable": "Unreadable",
        "mean_confidence": "Mean confidence",
        "labelled": "With a label",
        "accuracy": "Accuracy",
        "overconfidence": "Confidence minus accuracy",
    }
    rows = [[Cell(title), *(Cell(_shown(sides[side][key])) for side in ("reference", "batch"))]
            for key, title in titles.items()]  # fmt: skip
    shares = {side: _shares(sides[side]) for side in ("reference", "batch")}
    for label in list(dict.fromkeys([*shares["reference"], *shares["batch"]]))[:12]:
        rows.append([Cell(f"Predicted “{label}”"), *(Cell(f"{own.get(label, 0.0):.3f}") for own in shares.values())])
    return Table("The reference and this batch", ["", "Reference", "This batch"], rows)


def _shares(side: Mapping[str, object]) -> dict[str, float]:
    labels = side["labels"]
    return dict(labels) if isinstance(labels, dict) else {}


def _shown(value: object) -> str:
    return "–" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.3f}"


def _panel(monitor: Monitor) -> Panel:
    drawn = {name: stream for name, stream in monitor.streams.items() if stream.evidence}

    def draw(axes: Axes) -> None:
        for (name, stream), style in zip(drawn.items(), series_styles(len(drawn)), strict=True):
            evidence = np.clip(stream.evidence, 1e-3, 1e9)
            axes.plot(stream.looks, evidence, color=style.colour, linestyle=style.dashes, label=TITLES[name])
        axes.axhline(monitor.threshold, color=MUTED.light, linestyle="--", linewidth=1)
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set(xlabel="Rows of the stream", ylabel="Evidence (log)")
        axes.legend(loc="upper left", bbox_to_anchor=(-0.08, -0.17), labelcolor=INK.light, borderaxespad=0)

    description = "; ".join(f"{TITLES[name]}: highest {stream.peak:.3g}" for name, stream in drawn.items())
    below = 62 + 15.5 * max(len(drawn), 1)
    return Panel(
        "evidence",
        "Evidence",
        draw_svg("evidence", f"Evidence. {description}.", draw, height=240 + below, left=70, below=below),
    )
