"""Where samples come from, and the check that their splits do not overlap.

Not the samples themselves (see emocaliber.samples). Nothing here imports torch, and nothing reaches the network.
"""
