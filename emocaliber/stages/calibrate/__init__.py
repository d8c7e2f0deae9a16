"""Stage 3: make the stated confidence right, by a proper loss on its tokens or by reinforcement learning."""
