"""The token that a server and its clients share: where it comes from, and how it is compared."""

import hmac
import ipaddress
import os
from collections.abc import Mapping
from pathlib import Path

from simtoreal.schema import ConfigError

TOKEN_ENV = "SIMTOREAL_TOKEN"
MIN_LENGTH = 16
_MAKE_ONE = "make one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """The token in a file, else in the variable `SIMTOREAL_TOKEN`; None where there is neither.

    Never a setting: command lines show in the list of processes and in `config.yaml`.

    Raises:
        ConfigError: the file cannot be read or others may read it, or the token is short or not printable ASCII.
    """
    if file is None:
        token, where = environment.get(TOKEN_ENV), TOKEN_ENV
    else:
        where = f"token_file={file}"
        try:
            if file.stat().st_mode & 0o077:
                raise ConfigError(f"{where} can be read by others: chmod 600 {file}")
            token = file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where} cannot be read ({error}); {_MAKE_ONE}") from error
    if token is None:
        return None
    if len(token) < MIN_LENGTH or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{where}: a token has at least {MIN_LENGTH} characters of ASCII, no spaces; {_MAKE_ONE}")
    return token


def matches(authorization: str | None, token: str) -> bool:
    """Whether a header `Authorization: Bearer TOKEN`, or `Api-Key TOKEN` as openpi's client has it, shows the token.

    Takes as long whichever character is wrong.
    """
    scheme, _, shown = (authorization or "").partition(" ")
    is_known = scheme.lower() in ("bearer", "api-key")
    return hmac.compare_digest(shown.strip().encode(), token.encode()) and is_known


def check_exposure(host: str, token: str | None) -> None:
    """Makes sure that nobody can command a robot from elsewhere without a token.

    Raises:
        ConfigError: the address can be reached from other computers, and there is no token.
    """
    if token is None and not is_loopback(host):
        raise ConfigError(
            f"host={host} can be reached from other computers, and there is no token: set {TOKEN_ENV} or "
            f"token_file=FILE ({_MAKE_ONE}), or serve on host=127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether an address is of this computer only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
