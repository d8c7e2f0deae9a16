"""The error that a person can mend. Not for bugs: those keep their traceback.

What the message should look like:

    raise UserError("recipes/tiny/1-label.yaml: unknown key 'learning-rate'; write 'learning_rate'")
"""

from __future__ import annotations


class UserError(Exception):
    """Bad input: the message names the file, the row and the key, and says how to mend it.

    The command line prints the message as one line on stderr and ends with exit code 2.
    """
