"""Calibration: post-hoc maps from a score to a probability, fitted on fresh rows and kept as JSON."""
