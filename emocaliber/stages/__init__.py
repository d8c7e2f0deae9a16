"""The three stages of training: 1 label, 2 verbalize, 3 calibrate. Each is a real TRL trainer with LoRA.

Not the pipeline: what a stage learns from (targets, answers) is computed by `emocaliber.runs` and handed in.
"""
