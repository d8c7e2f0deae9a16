"""emocaliber: emotion recognition that knows how sure it is.

This package root names the version and nothing else: importing it loads no torch, no dataset and no model.
Start with the command line: `emocaliber --help`.
"""

__version__ = "0.1.0"
