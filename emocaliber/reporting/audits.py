"""A subgroup audit as sentences and tables: every group of every column, the worst groups, and the tests.

audit_section(card.audits)      # None without an audit
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.scorecard import Audit, AuditedGroup, GroupDifference
from emocaliber.reporting.document import Block, Cell, Paragraph, Section, Table
from emocaliber.reporting.tables import number, value_cell

COLUMNS = {
    "accuracy": "Accuracy ↑",
    "mean_confidence": "Mean confidence",
    "overconfidence": "Conf. − acc.",
    "ece": "ECE ↓",
    "brier": "Brier ↓",
    "auroc": "AUROC ↑",
}
BRIEF = ("accuracy", "overconfidence")
SIGNIFICANT = 0.05


def audit_section(audits: Sequence[Audit]) -> Section | None:
    """The section of a report; None without an audit."""
    return Section("By column", [block for audit in audits for block in audit_blocks(audit)]) if audits else None


def audit_blocks(audit: Audit, columns: Sequence[str] = tuple(COLUMNS)) -> list[Block]:
    """What was tested and found, then a table for each column."""
    names = dict.fromkeys(group.column for group in audit.groups)
    return [Paragraph(_looked_at(audit, list(names))), *(Paragraph(each) for each in _findings(audit)),
            *(_table(audit, name, columns) for name in names)]  # fmt: skip


def _looked_at(audit: Audit, names: list[str]) -> str:
    tested = sum(group.accuracy.p_value is not None for group in audit.groups)
    left_out = len(audit.groups) - tested
    small = f"; {left_out} with fewer than {audit.minimum} {audit.unit}s (or fewer outside) are not tested"
    return (
        f"“{audit.method}” by {', '.join(names)}: {len(audit.groups)} groups{small if left_out else ''}. Each is"
        " compared with all other rows, in accuracy and in confidence minus accuracy. p-values are adjusted for all"
        f" {audit.tests} comparisons (Westfall–Young, {audit.permutations} permutations by {audit.unit})."
    )


def _findings(audit: Audit) -> list[str]:
    sentences = []
    if lowest := audit.worst("accuracy"):
        value = number(lowest.values["accuracy"].value or 0.0, ".3f")
        sentences.append(f"Lowest accuracy: {_name(lowest)}, {value} ({_compared(lowest.accuracy)}).")
    if widest := audit.worst("overconfidence"):
        value = number(widest.values["overconfidence"].value or 0.0, "+.3f")
        sentences.append(
            f"Confidence farthest from accuracy: {_name(widest)}, {value} ({_compared(widest.overconfidence)})."
        )
    differing = [group for group in audit.groups if _differs(group.accuracy) or _differs(group.overconfidence)]
    if audit.tests and not differing:
        sentences.append("No group is shown to differ from the rest.")
    elif differing:
        sentences.append(f"Groups that differ from the rest (p ≤ .05): {', '.join(map(_name, differing))}.")
    return sentences


def _name(group: AuditedGroup) -> str:
    return f"{group.column} {group.name}"


def _differs(difference: GroupDifference) -> bool:
    return difference.p_value is not None and difference.p_value <= SIGNIFICANT


def _compared(difference: GroupDifference) -> str:
    if difference.value is None or difference.p_value is None:
        return "not tested"
    return f"{number(difference.value, '+.3f')} to the rest, p = {difference.p_value:.3f}"


def _table(audit: Audit, column: str, columns: Sequence[str]) -> Table:
    header = ["Group", "Rows", *([] if audit.unit == "row" else ["Clusters"])]
    for name in columns:
        header += [COLUMNS[name], *(["to the rest"] if name in BRIEF else [])]
    rows = []
    for group in audit.groups:
        if group.column != column:
            continue
        cells = [Cell(group.name), Cell(f"{group.n:,}"), *([] if audit.unit == "row" else [Cell(f"{group.units:,}")])]
        for name in columns:
            cells.append(value_cell(group.values.get(name)))
            if name in BRIEF:
                cells.append(_against(group.accuracy if name == "accuracy" else group.overconfidence))
        rows.append(cells)
    edges = audit.edges.get(column)
    cut = f" (cut at its quantiles: {', '.join(f'{edge:g}' for edge in edges)})" if edges else ""
    return Table(f"By {column}{cut}: {audit.method}", header, rows)


def _against(difference: GroupDifference) -> Cell:
    if difference.value is None:
        return Cell("n/a")
    p = "too few" if difference.p_value is None else f"p = {difference.p_value:.3f}"
    return Cell(number(difference.value, "+.3f"), p)
