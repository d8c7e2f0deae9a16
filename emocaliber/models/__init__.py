"""Backbones: where models and adapters lie, how they are loaded, and the question an adapter was trained on."""
