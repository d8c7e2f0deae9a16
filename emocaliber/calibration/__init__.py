"""Post-hoc calibration: maps from a score to a probability (`maps`), fitted on fresh rows (`fit`), as JSON (`files`).

Below evaluation, stages and baselines, which all take their maps from here; imports no torch.
"""
