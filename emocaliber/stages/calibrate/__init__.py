"""Stage 3: calibrate the stated confidence, by a proper loss on its tokens, by preferences, or by reinforcement."""
