"""The main job, step by step: three stages, predictions, scorecard, report. The only room that knows all the others."""
