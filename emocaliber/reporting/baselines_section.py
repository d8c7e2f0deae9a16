"""The section of a run's report that sets the language model beside networks on what its frozen base sees.

Not a measurement: everything numeric is in the Scorecard that `emocaliber compare` builds.

    emocaliber compare out/demo      writes out/demo/report/report.html anew
"""

from __future__ import annotations

from collections.abc import Sequence

from emocaliber.evaluation.scorecard import MethodScores, Scorecard, Scores
from emocaliber.reporting.document import Block, Cell, Paragraph, Section, Table
from emocaliber.reporting.tables import ABSENT, difference_table, metric_title, scope_title, scores_in, value_cell

JUDGED = ("accuracy", "ece", "brier", "auroc", "aurc")
RATED = ("agreement_ece", "agreement_brier")
WORDS = (
    "The baselines are small networks on what the model’s frozen base sees: the vision tower’s tokens of the picture"
    " and of its middle, and the states of the base’s own words about it. They learn on the split train, stop and are"
    " tempered on the split calibrate, and are judged on the very rows that the language model is judged on. EDL, TMC"
    " and ETMC state the mean of a Dirichlet distribution, TER a mean weighted by learnt confidences, softmax and"
    " AmbER² a probability; AmbER² learns the raters’ votes where there are any. The language model’s label probability"
    " and its two corrections after the fact stand among them. Trusted F1 is of the threshold that is best on"
    " calibration rows; its floor trusts everything."
)


def beside_baselines(card: Scorecard, stated: str) -> Section:
    """Every method on each task and group; then `stated`, the name of the report's subject, minus each other."""
    subject = card.method(stated)
    scopes = [one for kind in ("task", "group") for one in subject.scores if one.kind == kind]
    scopes = [one for one in scopes if one.aggregation == "pooled"]
    blocks: list[Block] = [Paragraph(WORDS), *(comparison_table(card.methods, scope) for scope in scopes)]
    for scope in (one for one in scopes if one.kind == "task"):
        found = [one for one in card.comparisons if (one.kind, one.name) == (scope.kind, scope.name)]
        blocks.append(difference_table(f"{stated} minus others. {scope_title(scope)}", found))
    return Section("Beside evidential and other baselines", blocks)


def comparison_table(methods: Sequence[MethodScores], scope: Scores) -> Table:
    """The figures of the comparison in one scope, floors included; those of agreement only where raters voted."""
    own = [(method, scores) for method in methods if (scores := scores_in(method, scope)) is not None]
    columns = [*JUDGED, *(name for name in RATED if name in scope.headline)]
    rows = [
        [
            Cell(method.name),
            *(value_cell(scores.headline.get(name)) for name in columns),
            _trusted(scores),
        ]
        for method, scores in own
    ]
    floors = frozenset(number for number, (method, _) in enumerate(own) if method.role == "reference")
    header = ["Method", *map(metric_title, columns), "Trusted F1 ↑, its floor"]
    return Table(scope_title(scope), header, rows, floors)


def _trusted(scores: Scores) -> Cell:
    best = next((one for one in scores.trusted if one.rule == "best F1"), None)
    if best is None:
        return ABSENT
    own = value_cell(best.f1)
    return Cell(own.text, f"{own.detail}; floor {value_cell(best.trust_all_f1).text}")
