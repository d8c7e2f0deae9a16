"""Jinja as reports and the page use it: everything is escaped, an unknown name is an error, tags leave no blank lines.

Not a template: those lie in `templates/` of the room that shows them.

    python -m pytest tests/reporting/test_rendering.py tests/chat/test_rendering.py
"""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined


def templates_of(package: str) -> Environment:
    """The templates of a package, such as "emocaliber.reporting", by their file names."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # else each use asks the disk whether the file has changed
    )
