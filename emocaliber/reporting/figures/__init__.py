"""Drawings of a scorecard: each function gives one panel from values that `emocaliber.evaluation` computed."""
