"""Where a cluster takes jobs: the address of its dashboard, and the token that it asks for.

Ray's job API runs what it is sent, and its token is the only thing that it asks for. So nothing is
sent to an address where others could read it on the way: plain http goes to this machine alone,
which is where a tunnel begins (`ray dashboard FILE`, `kubectl port-forward`, `ssh -L`); all else
has to be https. That is decided from the address as it is written, before any name is looked up.

The token is found where Ray's own commands find it: `RAY_AUTH_TOKEN`, the file that
`RAY_AUTH_TOKEN_PATH` names, `~/.ray/auth_token`; none where `RAY_AUTH_MODE` is `disabled`.
"""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from distill.core.errors import JobError

USUAL_ADDRESS = "http://127.0.0.1:8265"
"""Of a dashboard on this machine, or of a tunnel's end."""
_TOKEN = "RAY_AUTH_TOKEN"  # noqa: S105  the name of a variable
_TOKEN_FILE = "RAY_AUTH_TOKEN_PATH"  # noqa: S105  as above


@dataclass(frozen=True)
class Dashboard:
    """A dashboard that may be spoken to."""

    url: str
    """Without a slash at its end."""
    token: str = field(repr=False)
    """"" where there is none."""
    token_from: str
    """In words."""


def find_dashboard(address: str) -> Dashboard:
    """Return the dashboard at an address, with the token of this process's environment. Raises
    JobError where the address or the token cannot be used."""
    url = _checked_url(address)
    token, token_from = _find_token()
    return Dashboard(url, token, token_from)


def _checked_url(address: str) -> str:
    """Return the address as a URL; HOST:PORT is plain http. Raises JobError."""
    if "@" in address:
        # not repeated: what stands before the @ may be a password
        raise JobError(
            "--address: names a user or a password. Give http(s)://HOST:PORT, and the token in"
            f" {_TOKEN} or in a file that {_TOKEN_FILE} names."
        )
    written = address if "://" in address else f"http://{address}"
    parts = _split(written.rstrip("/"))
    if parts is None or parts.scheme not in ("http", "https"):
        raise JobError(
            f"--address {address!r}: is no address of a dashboard. Give the one of Ray's job API,"
            f" {USUAL_ADDRESS} at the end of a tunnel, or https://HOST."
        )
    host = str(parts.hostname)
    if parts.scheme == "http" and not _is_this_machine(host):
        usual_port = parts.port or 8265
        raise JobError(_plain(f"http://{parts.netloc}", host, usual_port))
    return f"{parts.scheme}://{parts.netloc}{parts.path}"


def _split(url: str) -> SplitResult | None:
    """Return the parts of a URL; None where it has no host, or what no dashboard's has."""
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises where it is no number
    except ValueError:
        return None
    if not parts.hostname or parts.query or parts.fragment:
        return None
    return parts


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        # a name, or a number in some other spelling
        return False


def _plain(url: str, host: str, port: int) -> str:
    tunnel = f"ssh -L 8265:127.0.0.1:{port} {host}"
    return (
        f"--address {url}: is plain http to another machine, where the"
        " job and the token could be read on their way; nothing was sent. Make a tunnel"
        f" (`ray dashboard FILE`, `kubectl port-forward`, `{tunnel}`) and give --address"
        f" {USUAL_ADDRESS}, or give an https address."
    )


def _find_token() -> tuple[str, str]:
    """Return the token and where it is from. Raises JobError where it cannot be one."""
    if os.environ.get("RAY_AUTH_MODE", "").lower() == "disabled":
        return "", "RAY_AUTH_MODE is disabled"
    given = os.environ.get(_TOKEN, "").strip()
    if given:
        return _usable(given, _TOKEN), _TOKEN
    named = os.environ.get(_TOKEN_FILE)
    file = Path(named) if named else Path.home() / ".ray" / "auth_token"
    try:
        text = file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        if named:
            reason = getattr(error, "strerror", None) or "is not text"
            raise JobError(f"{_TOKEN_FILE} = {named!r}: {reason}.") from None
        return "", f"neither {_TOKEN} nor {_TOKEN_FILE} is set, and there is no {file}"
    return _usable(text, str(file)), str(file)


def _usable(token: str, where: str) -> str:
    if not (token.isascii() and token.isprintable()) or " " in token:
        raise JobError(f"the token from {where} holds blanks or other signs that no token has.")
    return token
