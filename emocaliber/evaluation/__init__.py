"""Judging stated confidences: calibration, proper scores, discrimination, selection, trust, ambiguity, intervals.

Everything here is a pure function of numpy arrays. It reads no file, imports no torch and no model, and knows a
method only by its `Prediction` rows. Start at `scorecard` for the result, `build` for how it is filled and `tally`
for the form in which every metric takes its rows.

    emocaliber score predictions.jsonl
"""
