"""Addresses: where the page is served, who can reach it there, and whether that needs a password.

Not the server: what is wrong is said here, before anything heavy is imported.

    emocaliber chat --host 0.0.0.0 --auth ann:correct-horse
"""

from __future__ import annotations

import ipaddress
import socket

from emocaliber.core.errors import UserError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})


def bind(host: str, port: int) -> socket.socket:
    """The listening socket. Raises UserError where the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as problem:
        raise UserError(f"{host}:{port} cannot be served: {problem.strerror}; choose another with --port") from None


def hosts_of(host: str) -> frozenset[str]:
    """The names that the page may be asked for by: loopback's own, or any where it is bound to the network."""
    return LOOPBACK if is_loopback(host) else frozenset()


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_password(host: str, password: str | None) -> None:
    """Raises UserError where the page would be open to others without one, or the one given has no two parts."""
    if password is None and not is_loopback(host):
        raise UserError(f"--host {host} opens the page to others: set --auth NAME:PASSWORD")
    if password is not None and not all(password.partition(":")[::2]):
        raise UserError("--auth takes a name and a password, separated by a colon: --auth ann:correct-horse")
