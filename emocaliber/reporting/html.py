"""A Document as one HTML file: no script, no request, nothing trusted that a model wrote.

Every text is escaped by Jinja; only our own SVG is not. Pictures are data: URIs of a raster format.

    python -m pytest tests/reporting/test_rendering.py
"""

from __future__ import annotations

import base64
import re

from markupsafe import Markup

from emocaliber.reporting.document import Document
from emocaliber.reporting.palette import css_variables
from emocaliber.reporting.templating import templates_of

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}


def render_html(document: Document) -> str:
    """The whole page. Raises ValueError for an example whose picture is no PNG, JPEG or WebP."""
    environment = templates_of("emocaliber.reporting")
    environment.filters["svg"] = Markup
    environment.filters["picture"] = picture_uri
    environment.filters["anchor"] = anchor
    environment.tests["of_kind"] = lambda block, name: type(block).__name__ == name
    environment.tests["numeric"] = lambda text: re.match(r"[+−]?[\d,]+(\.\d+)?( %)?$", text) is not None
    css, _, _ = environment.loader.get_source(environment, "report.css") if environment.loader else ("", None, None)
    page = environment.get_template("report.html.j2")
    light, dark = css_variables(dark=False), css_variables(dark=True)
    return page.render(document=document, css=Markup(css), light=Markup(light), dark=Markup(dark)) + "\n"


def picture_bytes(image: str) -> tuple[str, bytes]:
    """The media type and the bytes of a base64 picture. Raises ValueError where it is no PNG, JPEG or WebP."""
    content = base64.b64decode(image, validate=True)
    for signature, media_type in _SIGNATURES.items():
        if content.startswith(signature):
            return media_type, content
    raise ValueError(f"a picture of the report begins with {content[:8]!r}: give PNG, JPEG or WebP bytes in base64")


def picture_uri(image: str) -> str:
    """A data: URI of the picture."""
    media_type, content = picture_bytes(image)
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def anchor(title: str) -> str:
    """A heading as an id: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
