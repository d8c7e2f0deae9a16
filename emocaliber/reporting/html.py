"""A Document as one HTML file: no script, no request, nothing trusted that a model wrote.

Every text is escaped by Jinja; only our own SVG is not. Images are data: URIs of a raster format.

    write_page(document, Path("results/report.html"))
"""

from __future__ import annotations

import base64
import re
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emocaliber.core.files import write_atomically
from emocaliber.reporting.document import Document
from emocaliber.reporting.svg import css_variables

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}


def templates_of(package: str) -> Environment:
    """The Jinja templates of a package, such as "emocaliber.reporting", by their file names: everything is escaped, an
    unknown name is an error, tags leave no blank lines."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # else each use asks the disk whether the file has changed
    )


def write_page(document: Document, path: Path) -> Path:
    """Write the page, complete or not at all; returns its path."""
    write_atomically(path, [render_html(document).encode()])
    return path


def render_html(document: Document) -> str:
    """The page. Raises ValueError for an example whose image is not PNG, JPEG or WebP."""
    environment = templates_of("emocaliber.reporting")
    environment.filters["svg"] = Markup
    environment.filters["image"] = image_uri
    environment.filters["anchor"] = anchor
    environment.tests["of_kind"] = lambda block, name: type(block).__name__ == name
    environment.tests["numeric"] = lambda text: re.match(r"[+−]?[\d,]+(\.\d+)?( %)?$", text) is not None
    css, _, _ = environment.loader.get_source(environment, "report.css") if environment.loader else ("", None, None)
    page = environment.get_template("report.html.j2")
    light, dark = css_variables(dark=False), css_variables(dark=True)
    return page.render(document=document, css=Markup(css), light=Markup(light), dark=Markup(dark)) + "\n"


def image_bytes(image: str) -> tuple[str, bytes]:
    """The media type and the bytes of a base64 image. Raises ValueError where it is not PNG, JPEG or WebP."""
    content = base64.b64decode(image, validate=True)
    for signature, media_type in _SIGNATURES.items():
        if content.startswith(signature):
            return media_type, content
    raise ValueError(f"an image of the report begins with {content[:8]!r}: give PNG, JPEG or WebP bytes in base64")


def image_uri(image: str) -> str:
    """A data: URI of the image."""
    media_type, content = image_bytes(image)
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def anchor(title: str) -> str:
    """A heading as an id: letters, digits and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
