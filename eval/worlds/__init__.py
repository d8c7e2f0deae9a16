"""Worlds whose truth is known: data drawn from an explicit p(label | picture)."""
