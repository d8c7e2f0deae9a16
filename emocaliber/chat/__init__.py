"""The demo: ask about a picture in the terminal or on a page, see how sure the model is and what else it could be.

Not an engine, a reader or a metric: those are used from here, and nobody imports this package but the command line.

    emocaliber ask PICTURE ...
    emocaliber chat
"""
