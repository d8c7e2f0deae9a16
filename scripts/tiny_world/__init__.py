"""The tiny world: how the drawings and the tiny backbone that ship with the package were made."""
