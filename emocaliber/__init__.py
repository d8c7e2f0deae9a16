"""emocaliber: emotion recognition that knows how sure it is.

Importing this root loads no torch, no data and no model. Most people start with `emocaliber --help`; in Python these
modules are the public interface: what their `__all__` names is documented, and changes with a line in CHANGELOG.md.
Everything else may move.

| module | what for |
|---|---|
| `emocaliber.evaluation` | `score`, and every metric, from plain arrays |
| `emocaliber.calibration` | post-hoc maps of a confidence: `fit_beta(confidence, correct)(new_confidence)` |
| `emocaliber.reading` | `read_response`: the label and the confidence in a model's text |
| `emocaliber.core.predictions` | `Prediction`, the row that every model writes and every judge reads |
| `emocaliber.core.samples` | `Sample`, the question about one picture |
| `emocaliber.rewards` | `brier` and others: reward functions for TRL and verl |

    python scripts/api_reference.py --out out/api       # all of it as pages
"""

__version__ = "0.1.0"

PUBLIC = (
    "emocaliber.evaluation",
    "emocaliber.calibration",
    "emocaliber.reading",
    "emocaliber.core.predictions",
    "emocaliber.core.samples",
    "emocaliber.rewards",
)
"""The modules of the public interface."""
