"""Scorecard: the results of evaluating one or more methods, and their JSON.

`compute.build_scorecard` fills it, `emocaliber.reporting` renders it. The field names below are the keys of
`scorecard.json` and are stable within a `schema` number. Every value is a fraction; `null` means undefined for these
rows (such as AUROC if every answer is right), never zero.

    emocaliber score predictions.jsonl --out results      writes results/scorecard.json
    card = score(confidence, correct); print(card); card["ece"].value, card["ece"].low
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from emocaliber.evaluation.curves import Curves

SCHEMA = 2

SubsetKind = Literal["all", "group", "task", "stratum"]
Aggregation = Literal["pooled", "macro"]
Role = Literal["method", "reference"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with the bounds of its interval; each None if undefined (there is no interval if all rows are in one
    cluster)."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __float__(self) -> float:
        return math.nan if self.value is None else self.value

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        bounds = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{bounds}"


@dataclass(frozen=True, slots=True)
class Difference:
    """First method minus second on the same samples, with its interval and two-sided bootstrap p-value."""

    value: float | None
    low: float | None = None
    high: float | None = None
    p_value: float | None = None

    def __str__(self) -> str:
        if self.value is None:
            return "undefined"
        bounds = "" if self.low is None or self.high is None else f" [{self.low:+.3f}, {self.high:+.3f}]"
        return f"{self.value:+.3f}{bounds}" + ("" if self.p_value is None else f", p = {self.p_value:.3f}")


@dataclass(frozen=True, slots=True)
class Trusted:
    """Trusted metrics (TER) at the threshold of one rule.

    `rule` is "best F1", "precision-recall crossing" or "risk at most R with confidence P". `chosen_on` says on which
    rows the threshold was chosen; only with "calibration" are the values unbiased. `threshold` is None if no threshold
    satisfies the rule, and then nothing is trusted. `trust_all_f1` is the F1 of trusting everything, 2A/(1+A) at label
    accuracy A; `lift` is `f1` minus that.
    """

    rule: str
    chosen_on: Literal["calibration", "test"]
    threshold: float | None
    coverage: Estimate
    precision: Estimate
    recall: Estimate
    accuracy: Estimate
    f1: Estimate
    trust_all_f1: Estimate
    lift: Estimate


@dataclass(frozen=True, slots=True)
class Scores:
    """One method on one set of rows.

    `kind`, `name` and `aggregation` identify the rows: ("all", "all", "pooled" | "macro"), ("group", its name, "pooled"
    | "macro"), ("task", its name, "pooled"), or ("stratum", "unanimous", "pooled") and other strata. "macro" is the
    unweighted mean over the subset's tasks. `headline` counts rows without a usable label or confidence as wrong with
    the worst score; `answered` leaves them out. The keys of both are those of `metric_names.METRICS` that apply to the
    rows. `states` counts all rows by state. `curves` is None if `aggregation` is "macro".
    """

    kind: SubsetKind
    name: str
    aggregation: Aggregation
    tasks: list[str]
    n: int
    n_answered: int
    n_clusters: int
    states: dict[str, int]
    headline: dict[str, Estimate]
    answered: dict[str, Estimate]
    trusted: list[Trusted] = field(default_factory=list)
    curves: Curves | None = None

    def __getitem__(self, metric: str) -> Estimate:
        """A headline value by its key. Raises KeyError listing the available keys."""
        if metric not in self.headline:
            raise KeyError(f"no {metric!r} for these rows; there are {', '.join(self.headline)}")
        return self.headline[metric]


@dataclass(frozen=True, slots=True)
class CalibrationTest:
    """Binning-free calibration tests of the `n` usable answers (see `calibration_tests`). `spiegelhalter_z` is None if
    every confidence is 0, 0.5 or 1; `dependence`, in [0, 1], is the estimated dependence within clusters."""

    n: int
    ecce: float
    ecce_p: float
    spiegelhalter_z: float | None
    spiegelhalter_p: float | None
    dependence: float


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer takes: the mean, over the rows that say it, of the questions asked for it and of the tokens
    generated in all of them; None where no row says it."""

    questions: float | None
    tokens: float | None


@dataclass(frozen=True, slots=True)
class MethodScores:
    """One method's scores on every subset.

    A reference method (role "reference") is derived from a method's own labels and is described in `note`; an `oracle`
    was fitted on the test rows themselves. `sources` are the origins of its confidences (`predictions.Source`), and
    `distinct_confidences` is the number of different values. `calibration_test` covers all usable rows; it is None for
    an oracle, if no row is usable, and for a tally with clusters. `cost` is None for a reference and if no row
    says what its answer took.
    """

    name: str
    role: Role
    note: str
    sources: list[str]
    distinct_confidences: int
    scores: list[Scores]
    oracle: bool = False
    calibration_test: CalibrationTest | None = None
    cost: Cost | None = None

    def find(self, kind: SubsetKind, name: str = "all", aggregation: Aggregation = "pooled") -> Scores:
        """The scores of one subset. Raises KeyError if there are none."""
        for scores in self.scores:
            if (scores.kind, scores.name, scores.aggregation) == (kind, name, aggregation):
                return scores
        raise KeyError(f"{self.name} has no scores for {kind} {name!r}, {aggregation}")


@dataclass(frozen=True, slots=True)
class GroupDifference:
    """A group's value minus that of all other rows, with a p-value that is adjusted for all groups and measures tested;
    None if the group was too small to test."""

    value: float | None
    p_value: float | None


@dataclass(frozen=True, slots=True)
class AuditedGroup:
    """The rows with value `name` in `column`. `units` is the number of clusters or rows; `values` are keyed as METRICS;
    `accuracy` and `overconfidence` are compared with those of all other rows."""

    column: str
    name: str
    n: int
    n_answered: int
    units: int
    values: dict[str, Estimate]
    accuracy: GroupDifference
    overconfidence: GroupDifference


@dataclass(frozen=True, slots=True)
class Audit:
    """A subgroup audit of a method. `edges` are the bin edges of numeric columns. Groups with fewer than `minimum`
    units inside or outside are listed but not tested. The p-values come from `permutations` and are adjusted for
    `tests` comparisons."""

    method: str
    edges: dict[str, list[float]]
    minimum: int
    tests: int
    permutations: int
    unit: Literal["row", "cluster"]
    groups: list[AuditedGroup]

    def worst(self, measure: Literal["accuracy", "overconfidence"]) -> AuditedGroup | None:
        """The tested group with the lowest accuracy, or with the largest absolute gap between confidence and accuracy;
        None if no group was tested."""
        tested = [
            (value if measure == "accuracy" else -abs(value), group)
            for group in self.groups
            if getattr(group, measure).p_value is not None and (value := group.values[measure].value) is not None
        ]
        return min(tested, key=lambda pair: pair[0])[1] if tested else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Paired differences, first minus second, on the samples of one subset that both methods have."""

    first: str
    second: str
    kind: SubsetKind
    name: str
    aggregation: Aggregation
    n: int
    headline: dict[str, Difference]


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """A figure from the literature to print for comparison, as a fraction. `name` is a task, a group or "all"."""

    system: str
    kind: SubsetKind
    name: str
    aggregation: Aggregation
    metric: str
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class Settings:
    """How the values were computed. `bins` and `edges`: the number of ECE bins, and which side of a bin is closed;
    `log_clip`: confidences are clipped to [log_clip, 1 - log_clip] in the log score; `risk` and `coverage`: the
    operating points of coverage at risk and risk at coverage; `interval`, `level`, `replicates` and `seed`: type,
    nominal coverage and bootstrap of the intervals; `unit`: what is resampled."""

    bins: int
    edges: Literal["left", "right"]
    log_clip: float
    risk: float
    coverage: float
    interval: Literal["bca", "percentile"]
    level: float
    replicates: int
    unit: Literal["row", "cluster"]
    seed: int


@dataclass(frozen=True, slots=True, repr=False)
class Scorecard:
    """All methods on the same suite, reference methods included, with paired differences and published figures."""

    suite: str
    tasks: list[str]
    groups: list[str]
    settings: Settings
    methods: list[MethodScores]
    comparisons: list[Comparison] = field(default_factory=list)
    published: list[PublishedFigure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    schema: int = SCHEMA

    def method(self, name: str) -> MethodScores:
        """One method's scores. Raises KeyError if there is no method with this name."""
        for scores in self.methods:
            if scores.name == name:
                return scores
        raise KeyError(f"the scorecard has no method {name!r}; it has {[scores.name for scores in self.methods]}")

    def __getitem__(self, metric: str) -> Estimate:
        """A headline value of the first method over all rows together, by its key: `card["ece"]`."""
        return self.methods[0].find("all")[metric]

    def __repr__(self) -> str:
        """The headline values of every method over all rows together, as a table."""
        blocks = []
        for method in self.methods:
            scores = method.find("all")
            oracle = ", oracle" if method.oracle else ""
            head = f"{method.name} ({method.role}{oracle}): n = {scores.n:,}, {scores.n_answered:,} usable"
            width = max(map(len, scores.headline))
            blocks.append(
                "\n".join([head, *(f"  {name:<{width}}  {value}" for name, value in scores.headline.items())])
            )
        return "\n".join(blocks)

    def to_json(self) -> str:
        """Strict JSON (no NaN), keys as in the dataclasses, indented by one space."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1).decode() + "\n"


def estimate(value: float, low: float = math.nan, high: float = math.nan) -> Estimate:
    """An Estimate whose undefined parts (NaN) are None."""
    return Estimate(_defined(value), _defined(low), _defined(high))


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
