"""Reports that a person can read: one HTML file without scripts or requests, and the same in Markdown.

Nothing here measures: every number comes from a Scorecard. Two doors: `score_report.write_score_report` for one or more
files of predictions, `run_report.write_run_report` for a whole run of the three stages.

    emocaliber score predictions.jsonl --out results
    emocaliber run recipes/tiny --out out
"""
