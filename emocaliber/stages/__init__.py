"""The three stages of training, one module each: label, verbalize, calibrate/stage. Each runs a TRL trainer, with LoRA
or on all weights.

A stage gets its rows and a function that opens the teacher. Each module reads from top to bottom: rows, the teacher's
beliefs about them, targets, training.

    verbalize(recipe, rows, adapter, out, open_teacher)      # emocaliber.runs.train does this
"""
