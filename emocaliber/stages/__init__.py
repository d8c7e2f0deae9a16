"""The three stages of training, a page each: label, verbalize, calibrate/stage. Each is a TRL trainer, LoRA or full.

A stage is handed its rows and a way to open a teacher; its page reads from top to bottom: rows, what the teacher
believes of them, targets, training.

    verbalize(recipe, rows, adapter, out, open_teacher)      # emocaliber.runs.train does this
"""
