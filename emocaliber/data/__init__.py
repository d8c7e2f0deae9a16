"""Where samples come from: layouts read row by row, checked, converted and split, and the check that splits are apart.

Not the samples themselves (see emocaliber.core.samples). No torch is imported, and only `hub` reaches the network.
"""
