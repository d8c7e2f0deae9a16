"""Level and power of two tests: "is calibrated" without bins, and "no group differs" with many groups.

Confidences have 21 levels, or five high ones. Outcomes within a cluster are correlated by a Gaussian copula, which
neither test assumes. "rows alone" is the same test without clusters. For calibration the peer is ECE with ten bins
against its simulated null distribution (Bröcker & Smith 2007), also without clusters.

    python eval/benchmarks/audit.py            # about 10 minutes; writes eval/results/audit.md
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import norm

from emocaliber.evaluation import calibration_test, ece
from emocaliber.evaluation.max_t import max_t

LEVELS = {"21 levels": np.arange(21) / 20, "high": np.array([0.8, 0.85, 0.9, 0.95, 1.0])}
WEIGHTS = {"21 levels": None, "high": [0.1, 0.15, 0.3, 0.35, 0.1]}
GAPS = {
    "calibrated": lambda c: c,
    "confidence .07 too high": lambda c: np.clip(c - 0.07, 0, 1),
    "too extreme (slope .7)": lambda c: 0.5 + 0.7 * (c - 0.5),
}


@dataclass(frozen=True)
class Sample:
    """How rows are drawn: `per` rows per cluster, with the correlation `alike` of the copula within a cluster."""

    kind: str
    rows: int
    per: int = 1
    alike: float = 0.0

    @property
    def title(self) -> str:
        """The title of its table row."""
        clusters = f", clusters of {self.per} (correlation {self.alike:g})" if self.per > 1 else ""
        return f"{self.kind}, n = {self.rows}{clusters}"


SAMPLES = [
    Sample("21 levels", 30),
    Sample("21 levels", 300),
    Sample("high", 30),
    Sample("high", 300),
    Sample("21 levels", 200, 4, 0.5),
    Sample("21 levels", 200, 4, 1.0),
    Sample("high", 200, 4, 0.5),
    Sample("high", 200, 4, 1.0),
    Sample("high", 1000, 10, 0.6),
]


def draw(rng: np.random.Generator, sample: Sample, gap: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Confidences, outcomes and clusters; half of the clusters state a single confidence."""
    units = sample.rows // sample.per
    cluster = np.repeat(np.arange(units), sample.per)
    weights = WEIGHTS[sample.kind]
    if weights is None:
        confidence = np.round(rng.beta(4, 2, sample.rows) * 20) / 20
    else:
        confidence = rng.choice(LEVELS[sample.kind], sample.rows, p=weights)
    same = rng.random(units) < 0.5
    confidence = np.where(same[cluster], confidence[:: sample.per][cluster], confidence)
    luck = np.sqrt(sample.alike) * rng.standard_normal(units)[cluster]
    luck = luck + np.sqrt(1 - sample.alike) * rng.standard_normal(sample.rows)
    return confidence, norm.cdf(luck) < GAPS[gap](confidence), cluster


def ece_p(rng: np.random.Generator, confidence: np.ndarray, correct: np.ndarray, replicates: int) -> float:
    """The p-value of the ECE with ten bins under its simulated null."""
    observed = ece(confidence, correct)
    null = [ece(confidence, rng.random(confidence.size) < confidence) for _ in range(replicates)]
    return (1 + sum(value >= observed - 1e-12 for value in null)) / (1 + replicates)


def calibration_table(trials: int, replicates: int) -> list[str]:
    """How often each test rejects calibration at level .05."""
    lines = [
        "| rows | truth | ECCE-R | Spiegelhalter's Z | ECCE-R, rows alone | ECE (10 bins), rows alone |",
        "|---|---|---|---|---|---|",
    ]
    for sample in SAMPLES:
        for gap in GAPS:
            found = np.zeros(4)
            for trial in range(trials):
                rng = np.random.default_rng([0, trial])
                confidence, correct, cluster = draw(rng, sample, gap)
                clusters = cluster if sample.per > 1 else None
                test = calibration_test(confidence, correct, clusters, replicates=replicates, seed=trial)
                alone = test if clusters is None else calibration_test(confidence, correct, replicates=replicates)
                spiegelhalter = 1.0 if test.spiegelhalter_p is None else test.spiegelhalter_p
                binned = ece_p(rng, confidence, correct, 99)
                found += np.array([test.ecce_p, spiegelhalter, alone.ecce_p, binned]) <= 0.05
            shown = " | ".join(f"{share:.3f}".lstrip("0") for share in found / trials)
            lines.append(f"| {sample.title} | {gap} | {shown} |")
            print(lines[-1], flush=True)
    return lines


def group_columns(rng: np.random.Generator, cluster: np.ndarray, straddling: bool) -> list[np.ndarray]:
    """Three columns of 8, 5 and 2 groups of unequal size; the first differs within clusters where `straddling`."""
    units = int(cluster.max()) + 1
    columns = []
    for groups in (8, 5, 2):
        share = np.arange(1, groups + 1) / (groups * (groups + 1) / 2)
        codes = rng.choice(groups, cluster.size, p=share) if straddling and groups == 8 else None
        codes = rng.choice(groups, units, p=share)[cluster] if codes is None else codes
        columns.append(np.unique(codes, return_inverse=True)[1])
    return columns


def audit_table(trials: int, replicates: int) -> list[str]:
    """How often any group is flagged at level .05, and how often the group that really is worse."""
    lines = [
        "| rows | truth | any group named | unadjusted: any named | rows alone: any named | the worse group named |",
        "|---|---|---|---|---|---|",
    ]
    clustered = Sample("21 levels", 600, 4, 0.7)
    cases = [
        (Sample("21 levels", 300), "none differs", 0.0, False),
        (Sample("high", 300), "none differs", 0.0, False),
        (Sample("high", 3000), "none differs", 0.0, False),
        (clustered, "none differs", 0.0, False),
        (replace(clustered, kind="high"), "none differs", 0.0, False),
        (clustered, "none differs; a column varies within clusters", 0.0, True),
        (Sample("21 levels", 1000), "a fifth of the rows: .15 less often right", 0.15, False),
        (replace(clustered, rows=1200), "a fifth of the rows: .15 less often right", 0.15, False),
    ]
    for sample, truth, worse, straddling in cases:
        found = np.zeros(4)
        for trial in range(trials):
            rng = np.random.default_rng([1, trial])
            confidence, correct, cluster = draw(rng, sample, "calibrated")
            columns = group_columns(rng, cluster, straddling)
            bad = columns[1] == 2
            correct = correct & ~(bad & (rng.random(sample.rows) < worse / 0.66))
            values = np.column_stack((correct, confidence - correct))
            counted = np.ones(values.shape, bool)
            clusters = cluster if sample.per > 1 else None
            tested = max_t(values, counted, columns, clusters, replicates=replicates, seed=trial)
            alone = tested if clusters is None else max_t(values, counted, columns, replicates=replicates, seed=trial)
            raw = np.concatenate([2 * norm.sf(np.abs(each.statistic[np.isfinite(each.p_value)])) for each in tested])
            named = [min(np.nanmin(each.p_value) for each in side) <= 0.05 for side in (tested, alone)]
            found += np.array([named[0], raw.min() <= 0.05, named[1], np.nanmin(tested[1].p_value[2]) <= 0.05])
        shown = [f"{share:.3f}".lstrip("0") for share in found / trials]
        lines.append(f"| {sample.title} | {truth} | {' | '.join(shown[:3])} | {shown[3] if worse else '–'} |")
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Run both simulations and write their tables between the markers of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--replicates", type=int, default=99)
    parser.add_argument("--out", type=Path, default=Path("eval/results/audit.md"), help="a page with the marks")
    arguments = parser.parse_args()
    tables = {
        "calibration": calibration_table(arguments.trials, arguments.replicates),
        "groups": audit_table(arguments.trials, arguments.replicates),
    }
    text = arguments.out.read_text(encoding="utf-8")
    for name, lines in tables.items():
        head, _, rest = text.partition(f"<!-- {name} -->\n")
        tail = rest.partition("<!-- end -->\n")[2]
        text = f"{head}<!-- {name} -->\n" + "\n".join(lines) + f"\n<!-- end -->\n{tail}"
    arguments.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
