"""The metrics of a scorecard: stable keys, printed titles, and the direction of improvement.

The comments name the module that computes them. The keys are those of `scorecard.json`; keys are added but never
renamed. All values are fractions (accuracy 0.62, not 62).

    python -c "from emocaliber.evaluation.metric_names import METRICS; print(*METRICS, sep='\\n')"
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric's printed title, and whether higher or lower is better ("none" for descriptive values)."""

    title: str
    better: Direction


METRICS: dict[str, Metric] = {
    # classification
    "accuracy": Metric("Accuracy", "higher"),
    "label_accuracy": Metric("Label accuracy", "higher"),
    "weighted_f1": Metric("Weighted F1", "higher"),
    "macro_f1": Metric("Macro F1", "higher"),
    "mean_confidence": Metric("Mean confidence", "none"),
    "overconfidence": Metric("Confidence minus accuracy", "none"),
    # calibration
    "ece": Metric("ECE", "lower"),
    "ece_equal_mass": Metric("ECE, equal mass", "lower"),
    "ece_distinct": Metric("ECE by value", "lower"),
    "mce": Metric("Maximum calibration error", "lower"),
    "ece_l2_debiased": Metric("L2 ECE, debiased", "lower"),
    "smooth_ece": Metric("Smooth ECE", "lower"),
    "classwise_ece": Metric("Classwise ECE", "lower"),
    # proper_scores
    "brier": Metric("Brier", "lower"),
    "log_score": Metric("Log score", "lower"),
    "miscalibration": Metric("Miscalibration (CORP)", "lower"),
    "discrimination": Metric("Discrimination (CORP)", "higher"),
    "uncertainty": Metric("Uncertainty (CORP)", "none"),
    "brier_skill": Metric("Brier skill", "higher"),
    # discrimination
    "auroc": Metric("AUROC", "higher"),
    "average_precision": Metric("Average precision", "higher"),
    # selective
    "aurc": Metric("AURC", "lower"),
    "excess_aurc": Metric("Excess AURC", "lower"),
    "augrc": Metric("AUGRC", "lower"),
    "prr": Metric("PRR", "higher"),
    "coverage_at_risk": Metric("Coverage at risk", "higher"),
    "risk_at_coverage": Metric("Risk at coverage", "lower"),
    # distributional: the confidence scored against the share of annotators who chose that label
    "agreement": Metric("Agreement", "higher"),
    "agreement_brier": Metric("Brier over annotators", "lower"),
    "agreement_ece": Metric("ECE against agreement", "lower"),
    # distributional: the same answers scored against a second panel of annotators: its plurality label, its vote shares
    "second_panel_accuracy": Metric("Accuracy (2nd panel)", "higher"),
    "second_panel_brier": Metric("Brier (2nd panel)", "lower"),
    "second_panel_ece": Metric("ECE (2nd panel)", "lower"),
    "second_panel_agreement": Metric("Agreement (2nd panel)", "higher"),
    "second_panel_agreement_brier": Metric("Brier over the 2nd panel", "lower"),
    "second_panel_agreement_ece": Metric("ECE against the 2nd panel's agreement", "lower"),
    # distributional: the predicted distribution against the annotators'
    "bhattacharyya": Metric("Bhattacharyya coefficient", "higher"),
    "hellinger": Metric("Hellinger distance", "lower"),
    "jensen_shannon": Metric("Jensen–Shannon divergence (bits)", "lower"),
    "kl": Metric("KL from annotators (nats)", "lower"),
    "r2": Metric("R² of the distribution", "higher"),
    # disagreement: the same, as Baan et al. 2022 measure it
    "distce": Metric("DistCE (distance to annotators' shares)", "lower"),
    "entce": Metric("EntCE (entropy minus annotators', nats)", "none"),
    "entce_absolute": Metric("EntCE, absolute (nats)", "lower"),
    "rankcs": Metric("RankCS (annotators' ranking met)", "higher"),
    "entropy_rank_correlation": Metric("Rank correlation of entropies", "higher"),
    # prediction_sets
    "set_promise": Metric("Nominal coverage of sets", "none"),
    "set_coverage": Metric("Coverage of sets", "none"),
    "set_rater_coverage": Metric("Coverage of raters' answers", "none"),
    "set_size": Metric("Mean set size", "lower"),
    "set_singletons": Metric("Sets of one label", "none"),
    "set_empty": Metric("Empty sets", "none"),
    "set_singleton_accuracy": Metric("Accuracy of sets of one label", "higher"),
    "reason_clear": Metric("Clear", "none"),
    "reason_ambiguous": Metric("Ambiguous", "none"),
    "reason_unfamiliar": Metric("Unfamiliar", "none"),
    # discrimination: the confidence against the label's token probability
    "alignment_rank_correlation": Metric("Rank correlation with token probability", "higher"),
    "alignment_mean_gap": Metric("Mean gap to token probability", "none"),
}
