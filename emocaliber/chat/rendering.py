"""HTML of the page's own parts. Everything that a user or a model wrote is escaped by jinja, and stays text.

Not the page's layout (see page), and not the reports' HTML (emocaliber.reporting).

    python -m pytest tests/chat/test_rendering.py
"""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import escape

from emocaliber.chat.answers import Answer
from emocaliber.chat.pictures import Picture
from emocaliber.chat.reasoning import in_words
from emocaliber.chat.sentences import percent
from emocaliber.reporting.html import templates_of

_ENVIRONMENT = templates_of("emocaliber.chat")
_ENVIRONMENT.globals["percent"] = percent


def heading_html(model: str, note: str) -> str:
    """The page's heading: who answers, and what must be known of it."""
    known = f'<p class="message note">{escape(note)}</p>' if note else ""
    return _inert(f'<h1>Ask about a picture</h1><p class="model">Answering: {escape(model)}</p>{known}')


def answers_html(answers: Sequence[tuple[Answer, str]]) -> str:
    """The answers, each beside its picture's data: URI, the newest first."""
    return _inert(_ENVIRONMENT.get_template("answers.html.j2").render(answers=list(reversed(answers))))


def writing_html(texts: Sequence[tuple[str, str]]) -> str:
    """What is being written, each text under its picture's name; the whole is not read aloud, the answer will be."""
    shown = "".join(
        f'<article class="writing" aria-busy="true"><p class="meta">{escape(name)}: writing</p>'
        f'<p>{escape(in_words(text))}<span class="cursor"></span></p></article>'
        for name, text in texts
    )
    return _inert(shown)


def gallery_html(answers: Sequence[tuple[Answer, str]], total: int) -> str:
    """These answers, each beside its thumbnail, out of so many."""
    return _inert(_ENVIRONMENT.get_template("gallery.html.j2").render(answers=answers, total=total))


def tray_html(pictures: Sequence[Picture]) -> str:
    """The pictures in question."""
    if not pictures:
        return ""
    shown = "".join(
        f'<li><img src="{escape(one.thumbnail)}" alt=""><span>{escape(one.name)}</span></li>' for one in pictures
    )
    return _inert(f'<ul class="tray" aria-label="Pictures in question">{shown}</ul>')


def message_html(text: str, kind: str = "status") -> str:
    """One sentence that is read aloud when it appears; `kind` is "status" or "alert"."""
    return _inert(f'<p class="message {kind}" role="{kind}">{escape(text)}</p>') if text else ""


def _inert(html: str) -> str:
    """Gradio treats what it shows as a template, too: marks that such a template acts on become references."""
    return html.replace("{", "&#123;").replace("}", "&#125;").replace("$", "&#36;").replace("`", "&#96;")
