"""Sections that every report shares: results, calibration, selection, tasks and groups, unusable answers, settings.

`score_report` and `run_report` choose and order them. Pass `methods` in the same order everywhere, so that a method has
the same colour, marker and line in every figure.

    Document(title, opening, [selection_section(methods, scores), settings_section(card)])
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.curves import Curves
from emocaliber.evaluation.metric_names import METRICS
from emocaliber.evaluation.scorecard import Comparison, Estimate, MethodScores, Scorecard, Scores
from emocaliber.reporting.comparisons import difference_table
from emocaliber.reporting.curves import (
    HISTOGRAM_READING,
    RISK_READING,
    TRUSTED_READING,
    histogram_panel,
    reliability_panel,
    risk_coverage_panel,
    trusted_panel,
)
from emocaliber.reporting.document import Block, Figure, Panel, Paragraph, Section, Tile, Tiles
from emocaliber.reporting.subset_figures import SUBSETS_READING, subsets_panel
from emocaliber.reporting.tables import (
    DISAGREEMENT,
    REASONS,
    SETS,
    ambiguity_table,
    answered_table,
    by_subset_table,
    display_name,
    every_metric_table,
    headline_table,
    scores_in,
    second_panel_table,
    states_table,
    subset_title,
    trusted_table,
    value_cell,
)

CURVES = 6
"""At most this many methods in a figure; more would not be distinguishable."""

DISTRIBUTIONS = (
    "The predicted distribution compared with the annotators’ (Baan et al. 2022). DistCE is the probability mass that"
    " would have to be moved to another label. EntCE is the entropy of the prediction minus that of the annotators; it"
    " is negative if the model is surer than they are. RankCS is the share of samples whose labels are ranked as the"
    " annotators rank them. The rank correlation of entropies is high if the model is unsure where people disagree (1:"
    " perfectly, 0: not at all). With few annotators even a perfect model has a DistCE and an EntCE above 0, so compare"
    " methods on the same votes."
)
SUBSET_METRICS = ("accuracy", "ece", "brier")
_INTERVALS = {"bca": "BCa", "percentile": "percentile"}


def headline_tiles(scores: Scores) -> Tiles:
    """The four key values."""
    explained = {
        "accuracy": "share of correct answers",
        "ece": "expected calibration error; 0 is perfect",
        "brier": "squared error of the confidence; 0 is perfect",
        "auroc": "how well confidence ranks correct above wrong answers; 0.5 is chance, 1 perfect",
    }
    tiles = []
    for name, meaning in explained.items():
        cell = value_cell(scores.headline.get(name))
        detail = f"{meaning}; interval {cell.detail}" if cell.detail else meaning
        tiles.append(Tile(METRICS[name].title, cell.text, detail))
    return Tiles(tiles)


def reliability_figure(prefix: str, title: str, panels: Sequence[tuple[str, Scores]], reading: str) -> Figure:
    """Reliability diagrams side by side, each under its heading."""
    drawn = [
        reliability_panel(f"{prefix}-{number}", _captioned(heading, scores), _curves(scores).reliability)
        for number, (heading, scores) in enumerate(panels)
    ]
    return Figure(title, drawn, reading)


def histogram_figure(prefix: str, title: str, panels: Sequence[tuple[str, Scores]]) -> Figure:
    """Histograms of the confidence side by side."""
    drawn = [
        histogram_panel(f"{prefix}-{number}", f"{heading} (n = {scores.n_answered:,})", _curves(scores).histogram)
        for number, (heading, scores) in enumerate(panels)
    ]
    return Figure(title, drawn, HISTOGRAM_READING)


def selection_section(methods: Sequence[MethodScores], subset: Scores) -> Section:
    """Selective prediction: risk–coverage, trusted curves and thresholds."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, subset)) and scores.curves]
    curves = {display_name(method): _curves(scores).risk_coverage for method, scores in own[:CURVES]}
    risk = risk_coverage_panel("risk-coverage", subset_title(subset), curves)
    trusted = [
        trusted_panel(
            f"trusted-{number}",
            f"{display_name(method)} (n = {scores.n:,})",
            _curves(scores).trusted,
            [point.threshold for point in scores.trusted if point.threshold is not None],
            scores.trusted[0].trust_all_f1.value if scores.trusted else None,
        )
        for number, (method, scores) in enumerate(own[:CURVES])
    ]
    blocks: list[Block] = [
        Figure("Risk–coverage curve", [risk], RISK_READING),
        Figure("Trusted metrics against the threshold", trusted, TRUSTED_READING),
    ]
    table = trusted_table([method for method, _ in own], subset)
    blocks.append(table or Paragraph("No threshold was chosen: that needs predictions on calibration rows."))
    return Section("Selective prediction", blocks)


def task_and_group_sections(
    drawn: Sequence[MethodScores], listed: Sequence[MethodScores], card: Scorecard, above: Sequence[Scores]
) -> list[Section]:
    """A figure, and tables of every task and group that is not among those `above` on the page; then, folded, their
    thresholds and paired differences."""
    subsets = [scores for scores in listed[0].scores if scores.kind in {"task", "group"}]
    pooled = [scores for scores in subsets if scores.aggregation == "pooled"]
    panels = [panel for name in SUBSET_METRICS if (panel := _subsets_panel(name, drawn[:CURVES], pooled))]
    blocks: list[Block] = [Figure("Each task and group of samples", panels, SUBSETS_READING)] if panels else []
    shown = {_identity(scores) for scores in above}
    blocks += [
        headline_table(listed, scores)
        for scores in listed[0].scores
        if scores.kind != "stratum" and _identity(scores) not in shown
    ]
    if not blocks:
        blocks = [Paragraph("All rows are of one task, without groups.")]
    sections = [Section("By task and group", blocks)]
    details: list[Block] = []
    for scores in subsets:
        pairs = [pair for pair in card.comparisons if (pair.kind, pair.name, pair.aggregation) == _identity(scores)]
        trusted = trusted_table([method for method in listed if method.role == "method"], scores)
        details += [trusted] if trusted else []
        details += [difference_table(f"First minus second. {subset_title(scores)}", pairs, card)] if pairs else []
    if details:
        sections.append(Section("Thresholds and differences by task and group", details, folded=True))
    return sections


def ambiguity_section(methods: Sequence[MethodScores]) -> Section | None:
    """The metrics by annotator agreement; None if the rows have no votes."""
    tables = [table for method in methods if (table := ambiguity_table(method))]
    words = Paragraph(
        "Where several annotators labelled a sample, agreement is the share of them who chose the predicted label. A"
        " confidence can be calibrated to the majority label or to a random annotator’s label, but not to both."
    )
    blocks: list[Block] = [words, *tables]
    all_rows = methods[0].find("all")
    if set(DISAGREEMENT) & set(all_rows.headline):
        blocks += [Paragraph(DISTRIBUTIONS), headline_table(methods, all_rows, DISAGREEMENT, answered=False)]
    return Section("By annotator agreement", blocks) if tables else None


def sets_section(methods: Sequence[MethodScores]) -> Section | None:
    """Coverage and size of prediction sets, by task, group and annotator agreement; None if there are none."""
    words = Paragraph(
        "A prediction set lists the labels that may be right. Its nominal coverage is the guaranteed share of new"
        " samples for which the set contains the label, or the answer of a randomly drawn annotator. The guarantee"
        " holds for each task, or group, with its own threshold, but not for each stratum of agreement: where"
        " annotators disagree, sets are larger and may cover less. Among sets with at least the nominal coverage,"
        " smaller ones are better."
    )
    tables = [table for method in methods if (table := by_subset_table(method, "Prediction sets", SETS))]
    return Section("Prediction sets", [words, *tables]) if tables else None


def reasons_section(methods: Sequence[MethodScores]) -> Section | None:
    """How many rows have each reason for doubt; None if no row has one."""
    words = Paragraph(
        "Ambiguous: people would disagree about the image, so several labels are right; the prediction set lists them."
        " Unfamiliar: the image is unlike the training images, so a person should look at it."
    )
    tables = [table for method in methods if (table := by_subset_table(method, "Reasons for doubt", REASONS))]
    return Section("Reasons for doubt", [words, *tables]) if tables else None


def second_panel_section(methods: Sequence[MethodScores], subset: Scores) -> Section | None:
    """The answers scored against a second panel of annotators, with the human reference; None if there is none."""
    words = Paragraph(
        "A second panel of annotators labelled the same items; its answers were not used for training. Here an answer"
        " is right if it is the label that most of this panel chose; agreement is the share of this panel that chose"
        " it. The human row is the first panel: its most common label, with the share of that label as the confidence."
    )
    table = second_panel_table(methods, subset, notes=True)
    return Section("Against a second panel", [words, table]) if table else None


def differences_section(title: str, caption: str, comparisons: Sequence[Comparison], card: Scorecard) -> Section | None:
    """Paired differences; None if there are none."""
    words = Paragraph(
        "Both methods are evaluated on the same samples, so that hard samples do not blur the difference. Each value"
        " has its interval and says whether the first method is better, worse, or not clearly different."
    )
    return Section(title, [words, difference_table(caption, comparisons, card)]) if comparisons else None


def unusable_section(methods: Sequence[MethodScores], subset: Scores) -> Section:
    """The unusable answers, and the metrics without them."""
    own = [scores for method in methods if (scores := scores_in(method, subset)) is not None]
    words = "Every answer is usable."
    if any(scores.n_answered < scores.n for scores in own):
        words = (
            "Some samples have no usable answer. The values above count them as wrong; the table of answered rows"
            " leaves them out, which favours a method that does not answer hard samples."
        )
    table = answered_table(methods, subset)
    blocks: list[Block] = [Paragraph(words), states_table(methods, subset), *([table] if table else [])]
    return Section("Unusable answers", blocks)


def every_metric_section(methods: Sequence[MethodScores], subset: Scores) -> Section:
    """The table of all metrics, folded."""
    return Section("All metrics", [every_metric_table(methods, subset)], folded=True)


def settings_section(card: Scorecard, notes: Sequence[str] = ()) -> Section:
    """The settings of the evaluation, and caveats for the reader."""
    settings = card.settings
    kind = f"{100 * settings.level:.0f} % {_INTERVALS[settings.interval]} bootstrap"
    words = (
        f"Intervals: {kind}, {settings.replicates:,} replicates by {settings.unit}, seed {settings.seed}. ECE:"
        f" {settings.bins} bins of equal width, closed on the {settings.edges}. Log score clipped at"
        f" {settings.log_clip:g}. Coverage at risk {settings.risk:g}, risk at coverage {settings.coverage:g}. All"
        " values are also in scorecard.json, in machine-readable form."
    )
    return Section("Evaluation settings", [Paragraph(words), *map(Paragraph, [*card.notes, *notes])])


def _identity(scores: Scores) -> tuple[str, str, str]:
    return scores.kind, scores.name, scores.aggregation


def _captioned(heading: str, scores: Scores) -> str:
    ece = scores.headline["ece"].value
    return f"{heading} (n = {scores.n_answered:,}, ECE {'undefined' if ece is None else f'{ece:.3f}'})"


def _curves(scores: Scores) -> Curves:
    if scores.curves is None:
        raise ValueError(f"scores of {scores.kind} {scores.name!r}, {scores.aggregation}, have no curves to draw")
    return scores.curves


def _subsets_panel(metric: str, methods: Sequence[MethodScores], subsets: Sequence[Scores]) -> Panel | None:
    values: dict[str, dict[str, Estimate]] = {}
    for subset in subsets:
        values[subset_title(subset)] = {
            display_name(method): scores.headline[metric]
            for method in methods
            if (scores := scores_in(method, subset)) and metric in scores.headline
        }
    if not values:
        return None
    title = METRICS[metric].title
    return subsets_panel(f"subsets-{metric}", title, f"{title} (0 to 1, {METRICS[metric].better} is better)", values)
