"""Reports of scorecards: an HTML file without scripts or requests, the same in Markdown, and tables for the terminal.

A report is a `Document` (paragraphs, tables, figures) with three renderers: `html`, `markdown`, `terminal`. Every value
comes from a Scorecard. `score_report` is for files of predictions, `run_report` for a run of the three stages.

    emocaliber score predictions.jsonl --out results
    emocaliber run recipes/tiny --out out
"""
