"""Rendering a Document to files: one HTML page, or Markdown with figures and images beside it.

Model output is untrusted. The page has no scripts and makes no requests: Jinja escapes every text, only our own SVG is
inserted as is, and images are data: URIs of raster formats. In Markdown, a text cannot become a link, an image or HTML.

    write_page(document, Path("results/report.html"))
    write_markdown(document, Path("results/report.md"))      # and results/figures, results/images
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import singledispatch
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from emocaliber.core.files import write_atomically
from emocaliber.reporting.document import (
    Block,
    Cell,
    Document,
    Figure,
    Gallery,
    Paragraph,
    Section,
    Table,
    Terms,
    Tiles,
)
from emocaliber.reporting.run_summary import Example
from emocaliber.reporting.svg import css_variables, standalone

_SIGNATURES = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"RIFF": "image/webp",
}


def templates_of(package: str) -> Environment:
    """The Jinja templates of a package, such as "emocaliber.reporting": all output is escaped, an undefined name is an
    error, and tags leave no blank lines."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,  # saves a check of the file on every use
    )


def write_page(document: Document, path: Path) -> Path:
    """Write the page atomically; returns its path."""
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
    """The media type and the bytes of a base64 image. Raises ValueError if it is not PNG, JPEG or WebP."""
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


_SPECIAL = re.compile(r"([\\`*_\[\]|~#])")
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


def write_markdown(document: Document, path: Path) -> Path:
    """Write the text, and the files that it refers to in folders beside it, each atomically."""
    text, files = render_markdown(document)
    for name, content in files.items():
        write_atomically(path.parent / name, [content])
    write_atomically(path, [text.encode()])
    return path


def render_markdown(document: Document) -> tuple[str, dict[str, bytes]]:
    """The text, and the files that it refers to, by relative name."""
    parts = [f"# {escaped(document.title)}", *map(_block, document.opening), *map(_section, document.sections)]
    return "\n\n".join(parts) + "\n", _files(document)


def escaped(text: str) -> str:
    """Plain text in one line of Markdown: no markup, no HTML, no link."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", text).replace("://", "&#58;//").replace("www.", "www&#46;")


def _section(section: Section) -> str:
    return "\n\n".join([f"## {escaped(section.title)}", *map(_block, section.blocks)])


@singledispatch
def _block(block: Block) -> str:
    raise TypeError(f"a report has no block of kind {type(block).__name__}")


@_block.register
def _(block: Paragraph) -> str:
    return escaped(block.text)


@_block.register
def _(block: Terms) -> str:
    return "\n".join(f"- **{escaped(term)}**: {escaped(meaning)}" for term, meaning in block.entries)


@_block.register
def _(block: Table) -> str:
    rows = [
        [_cell(cell, reference=number in block.references and place == 0) for place, cell in enumerate(row)]
        for number, row in enumerate(block.rows)
    ]
    lines = [list(map(escaped, block.header)), ["---"] * len(block.header), *rows]
    return f"**{escaped(block.caption)}**\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell, *, reference: bool) -> str:
    text = f"*{escaped(cell.text)}* (reference)" if reference else escaped(cell.text)
    return f"{text} ({escaped(cell.detail)})" if cell.detail else text


@_block.register
def _(block: Figure) -> str:
    panels = [f"![{escaped(panel.title)}](figures/{panel.name}.svg)" for panel in block.panels]
    return "\n\n".join([f"### {escaped(block.title)}", *panels, f"How to read it: {escaped(block.reading)}"])


@_block.register
def _(block: Tiles) -> str:
    return "\n".join(
        f"- **{escaped(tile.label)}: {escaped(tile.value)}** {escaped(tile.detail)}".rstrip() for tile in block.tiles
    )


@_block.register
def _(block: Gallery) -> str:
    rows = [
        f"| ![]({_image_name(item)}) | {escaped(item.predicted)} | {item.confidence:.2f} | {escaped(item.truth)}"
        f" | {escaped(item.task)}, {escaped(item.group)} | {escaped(item.id)} | {escaped(item.response)} |"
        for item in block.examples
    ]
    header = ["| Image | Answer | Confidence | Label | Task, group | Id | Response |", "| --- " * 7 + "|"]
    return f"### {escaped(block.caption)}\n\n" + "\n".join(header + rows)


def _files(document: Document) -> dict[str, bytes]:
    blocks = [*document.opening, *(block for section in document.sections for block in section.blocks)]
    files: dict[str, bytes] = {}
    for block in blocks:
        if isinstance(block, Figure):
            files |= {f"figures/{panel.name}.svg": standalone(panel.svg).encode() for panel in block.panels}
        if isinstance(block, Gallery):
            files |= {_image_name(item): image_bytes(item.image)[1] for item in block.examples}
    return files


def _image_name(example: Example) -> str:
    """A file name derived from the content, because ids are untrusted and may contain anything."""
    media_type, content = image_bytes(example.image)
    return f"images/{hashlib.sha256(content).hexdigest()[:16]}.{_EXTENSIONS[media_type]}"
