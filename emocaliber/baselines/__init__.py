"""Baselines that write the same Prediction rows as the language model: post-hoc maps now, evidential networks later."""
