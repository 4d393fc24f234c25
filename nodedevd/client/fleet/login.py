"""login: what the files of an access have for a connection: certificates, a password, a key."""

from __future__ import annotations

import ssl
from typing import Any, Final

from nodedevd.client.fleet.access import Access, Tls
from nodedevd.client.fleet.errors import BadAccess, NoNats
from nodedevd.host.lines import lines_of

_MOST_BYTES: Final = 64 << 10
_PARTS: Final = ("BEGIN NATS USER JWT", "BEGIN USER NKEY SEED")


def login(access: Access) -> dict[str, Any]:
    """Return the options of nats-py for TLS and the user. Raises BadAccess, NoNats."""
    options: dict[str, Any] = {}
    if access.user is not None:
        options["user"] = access.user
    if access.password_file is not None:
        options["password"] = _read("password_file", access.password_file).rstrip("\r\n")
    if access.credentials is not None:
        _check_credentials(access.credentials)
        options["user_credentials"] = access.credentials
    if access.tls is not None:
        options["tls"] = _tls(access.tls)
    return options


def _tls(tls: Tls) -> ssl.SSLContext:
    path = tls.ca
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        path = tls.certificate
        if tls.certificate is not None:
            context.load_cert_chain(tls.certificate, tls.key)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        key = f" with the key {tls.key}" if path == tls.certificate and tls.key else ""
        raise BadAccess("tls", f"{path}{key} cannot be used: {_reason(error)}") from None
    return context


def _check_credentials(path: str) -> None:
    """Refuse a file in which nats-py would look for ever, and a seed that is none."""
    lines = lines_of(_read("credentials", path))
    found = [number for part in _PARTS for number, one in enumerate(lines, 1) if part in one]
    if len(found) != len(_PARTS) or found[-1] >= len(lines):
        raise BadAccess("credentials", f"{path} has not one JWT and one seed, as `nsc` writes them")
    try:
        import nkeys
    except ImportError:
        raise NoNats("nkeys") from None
    try:
        nkeys.from_seed(bytearray(lines[found[-1]].encode()))
    except Exception:  # of several kinds, those of the decoder among them
        raise BadAccess("credentials", f"the seed in {path} is none") from None


def _read(key: str, path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read(_MOST_BYTES)
    except (OSError, ValueError) as error:
        raise BadAccess(key, f"{path} cannot be read: {_reason(error)}") from None


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
