"""The public interface: every name that the root promises is there, says what it is, and stands in the reference."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path

import pytest

import emocaliber
from scripts.api_reference import write_pages

NAMES = [(module, name) for module in emocaliber.PUBLIC for name in import_module(module).__all__]


def functions_of(thing: object) -> list[object]:
    """A function itself, or what of a class is called from outside."""
    if not inspect.isclass(thing):
        return [thing]
    named = {name: member for name, member in vars(thing).items() if inspect.isfunction(member)}
    return [member for name, member in named.items() if not name.startswith("_") or name == "__call__"]


@pytest.mark.parametrize(("module", "name"), NAMES, ids=[f"{module}.{name}" for module, name in NAMES])
def test_every_public_name_has_a_docstring_of_its_own_and_annotations(module: str, name: str):
    thing = getattr(import_module(module), name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return  # a table, explained by the module
    assert thing.__module__.startswith("emocaliber.")
    assert len((thing.__doc__ or "").strip()) > 20
    assert not (thing.__doc__ or "").startswith(f"{name}("), "that is a dataclass's own signature"
    for function in functions_of(thing):
        assert inspect.isfunction(function)
        assert function.__doc__, function.__qualname__
        unannotated = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.annotation is parameter.empty and parameter.name not in ("self", "cls")
        ]
        assert unannotated == [], function.__qualname__
        assert "return" in function.__annotations__, function.__qualname__


def test_the_root_names_every_public_module_and_every_module_says_what_it_is_for():
    for module in emocaliber.PUBLIC:
        assert f"`{module}`" in (emocaliber.__doc__ or "")
        assert len(import_module(module).__doc__ or "") > 80


def test_the_reference_has_a_page_for_each_module_and_a_place_for_each_name(tmp_path: Path):
    write_pages(tmp_path)
    for module, name in NAMES:
        page = (tmp_path / module.replace(".", "/")).with_suffix(".html").read_text(encoding="utf-8")
        assert f'id="{name}"' in page
    assert (tmp_path / "index.html").exists()
