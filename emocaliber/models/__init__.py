"""Backbones: the tiny Qwen2.5-VL that ships with the package, loading of others, and their adapters."""
