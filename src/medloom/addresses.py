"""Addresses of servers: what is one, and which are this machine's own."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit

from .ledger import Refusal


def server_address(url: str) -> SplitResult:
    """The parts of a server's address. Raises Refusal for what is none, and for one that holds a name or a password."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refusal(f"{url!r} is no server's address; give it as http://HOST:PORT")
    if parts.username or parts.password:
        raise Refusal("the server's address holds a name or a password; take it out and give the key in MEDLOOM_API_KEY")
    return parts


def is_loopback(host: str) -> bool:
    """Whether a name or address of a host is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
