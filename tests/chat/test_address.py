"""Where the page may be served, and what is said where it may not."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from emocaliber.chat.address import bind, check_password, hosts_of, is_loopback
from emocaliber.core.errors import UserError


@pytest.mark.parametrize(
    ("host", "own"), [("127.0.0.1", True), ("localhost", True), ("::1", True), ("0.0.0.0", False), ("example", False)]
)
def test_what_is_loopback(host: str, own: bool):
    assert is_loopback(host) is own


def test_on_the_network_any_name_may_be_used_and_on_loopback_only_its_own():
    assert "127.0.0.1" in hosts_of("127.0.0.1")
    assert hosts_of("0.0.0.0") == frozenset()


@pytest.mark.parametrize(
    ("host", "password"), [("0.0.0.0", None), ("::", None), ("127.0.0.1", "ann"), ("127.0.0.1", ":x"), ("::1", "ann:")]
)
def test_without_a_whole_password_the_page_is_not_opened(host: str, password: str | None):
    with pytest.raises(UserError, match="--auth"):
        check_password(host, password)


@pytest.mark.parametrize(("host", "password"), [("127.0.0.1", None), ("0.0.0.0", "ann:correct:horse")])
def test_loopback_needs_no_password_and_the_network_is_served_with_one(host: str, password: str | None):
    check_password(host, password)


def test_a_port_that_is_taken_is_one_clear_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"127.0.0.1:{port} cannot be served: .* choose another with --port"):
            bind("127.0.0.1", port)


def test_the_command_refuses_to_open_the_page_to_others_without_a_password():
    command = [sys.executable, "-m", "emocaliber.cli", "chat", "--host", "0.0.0.0", "--model", "x"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "set --auth NAME:PASSWORD" in done.stderr
