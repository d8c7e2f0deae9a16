"""What a browser would see of a page: its elements, its text, and everything that it would ask for."""

from __future__ import annotations

import re
from collections import Counter
from html.parser import HTMLParser

LOADS = ("src", "srcset", "href", "xlink:href", "action", "formaction", "poster", "data", "background", "ping")
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """`tags` counts elements, `requests` holds what would be fetched, `text` all text, `unbalanced` bad nesting."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.ids: Counter[str] = Counter()
        self.links: set[str] = set()
        self.requests: list[str] = []
        self.handlers: list[str] = []
        self.unbalanced: list[str] = []
        self.pieces: list[str] = []
        self.styles: list[str] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        self.requests += [address for style in self.styles for address in re.findall(r"url\(([^)]*)\)|@import", style)]
        self.unbalanced += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            if name == "id":
                self.ids[value or ""] += 1
            elif name.startswith("on"):
                self.handlers.append(name)
            elif name in LOADS and (value or "").startswith("#"):
                self.links.add((value or "")[1:])
            elif name in LOADS and not re.match(r"data:image/(png|jpeg|webp);base64,[A-Za-z0-9+/=]+$", value or ""):
                self.requests.append(value or "")
            elif name == "style" or "url(" in (value or ""):
                local = re.findall(r"url\(#([^)]+)\)", value or "")
                self.links.update(local)
                self.styles.append(re.sub(r"url\(#[^)]+\)", "", value or ""))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        (self.styles if self._open[-1:] == ["style"] else self.pieces).append(data)

    @property
    def text(self) -> str:
        """All text, spaces collapsed."""
        return " ".join(" ".join(self.pieces).split())
