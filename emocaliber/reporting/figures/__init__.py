"""Drawings of a scorecard's curves and figures: each function gives one panel. Nothing is measured here."""
