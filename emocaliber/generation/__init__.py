"""Generation: samples in, responses and prediction rows out. One small protocol, an engine a file.

Not training (see stages) and not judging (see evaluation). Importing this package loads no torch; an engine's
module does.
"""
