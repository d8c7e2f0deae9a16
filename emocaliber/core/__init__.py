"""Core: what everything shares: samples, predictions, taxonomies, prompts and images. Imports no torch."""
