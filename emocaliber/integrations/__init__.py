"""Our reader and evaluators as parts of other tools, which they are imported beside and never need otherwise.

from emocaliber.integrations.inspect_ai import stated_confidence           # a scorer, with its metrics
process_results: !function emocaliber.integrations.lm_eval.process_results  # in a task of lm-evaluation-harness
evaluate.load(emocaliber.integrations.EVALUATE_METRIC)                      # a metric of Hugging Face evaluate
"""

from pathlib import Path

EVALUATE_METRIC = str(Path(__file__).with_name("emocaliber_calibration.py"))
"""The path that `evaluate.load` takes."""
