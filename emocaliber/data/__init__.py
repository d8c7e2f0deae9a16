"""Data sets: reading published layouts row by row, checking, converting and splitting them, and detecting leakage.

For the sample type see emocaliber.core.samples. Nothing here imports torch, and only `hub:` sources use the network.
"""
