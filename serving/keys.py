"""API keys: made, listed and revoked on the command line, checked at every request.

`python -m serving.keys create NAME --scope read`. The file holds only the SHA-256 of each key: a
key has 256 random bits, which no slow hash would make harder to guess.
"""

import argparse
import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, get_args

from data.settings import Settings, command_settings

Scope = Literal["read", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
OPERATOR = "operator"  # the local stack's own key, so that a swap can be verified
LONGEST_DAYS = 3650  # that a key may be valid for; without a number of days it does not expire


@dataclass(frozen=True)
class Key:
    """What is known of an API key; admin may do all that read may."""

    name: str
    scope: Scope
    sha256: str
    created_at: str
    expires_at: str | None = None

    def allows(self, scope: Scope) -> bool:
        return scope in (self.scope, "read")

    def has_expired(self, now: datetime) -> bool:
        return self.expires_at is not None and datetime.fromisoformat(self.expires_at) <= now


class KeyRing:
    """The keys of a file, read again when it changes; no file means that no key is needed."""

    def __init__(self, path: Path) -> None:
        self._path, self._keys, self._seen = path, list[Key](), -1

    @property
    def keys(self) -> list[Key] | None:
        """The keys; None when there is no file."""
        try:
            seen = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        if seen != self._seen:
            self._keys, self._seen = read(self._path), seen
        return self._keys

    def find(self, secret: str, now: datetime) -> Key | None:
        """The key that a secret is of, if it has not expired.

        Compares with every key, each in constant time: how long it takes tells nothing.
        """
        digest, found = _digest(secret), None
        for key in self.keys or []:
            if hmac.compare_digest(digest, key.sha256) and not key.has_expired(now):
                found = key
        return found


def read(path: Path) -> list[Key]:
    """The keys of a file, none when it is not there. Raises ValueError for what is no such file."""
    try:
        return [Key(**row) for row in json.loads(path.read_text())["keys"]]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is not a file of API keys ({error}); put a good copy back, or delete it and "
            "create the keys again with `.venv/bin/python -m serving.keys create NAME`."
        ) from error


def create(settings: Settings, name: str, scope: Scope, expires_at: datetime | None = None) -> str:
    """Adds a key and returns its secret, which is kept nowhere.

    Where there is none it also makes the operator's, kept beside it for this machine's own use:
    with the first key, and with the next one after the operator's was revoked. Raises ValueError
    for a name twice and for the operator's.
    """
    if name == OPERATOR:
        said = "is that of this machine's own key, which is made with the next other one"
        raise ValueError(f"The name {name!r} {said}; choose another name.")
    path, keys = settings.api_keys_path, read(settings.api_keys_path)
    if name in {k.name for k in keys}:
        raise ValueError(f"A key named {name!r} exists; revoke it first or choose another name.")
    made = []
    if OPERATOR not in {k.name for k in keys}:
        secret, key = _new(OPERATOR, "admin", None)
        _write(settings.operator_key_path, secret)
        made.append(key)
    secret, key = _new(name, scope, expires_at)
    _write(path, json.dumps({"keys": [asdict(k) for k in [*keys, *made, key]]}, indent=1))
    return secret


def revoke(settings: Settings, name: str) -> None:
    """Takes a key away; a running API notices at the next request. Raises ValueError."""
    keys = read(settings.api_keys_path)
    left = [k for k in keys if k.name != name]
    if len(left) == len(keys):
        known = ", ".join(k.name for k in keys) or "none"
        raise ValueError(f"There is no key named {name!r}; there are: {known}.")
    _write(settings.api_keys_path, json.dumps({"keys": [asdict(k) for k in left]}, indent=1))


def operator_headers(settings: Settings) -> dict[str, str]:
    """The header that this machine's own requests carry; empty when no key is needed."""
    try:
        return {"Authorization": f"Bearer {settings.operator_key_path.read_text().strip()}"}
    except FileNotFoundError:
        return {}


def is_loopback(host: str) -> bool:
    """Whether a host name or address can only be reached from this machine."""
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _new(name: str, scope: Scope, expires_at: datetime | None) -> tuple[str, Key]:
    secret = f"shelfcast_{secrets.token_urlsafe(32)}"
    until = expires_at.isoformat() if expires_at else None
    return secret, Key(name, scope, _digest(secret), datetime.now(UTC).isoformat(), until)


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def _write(path: Path, text: str) -> None:
    """The file whole, readable by its owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    part.touch(mode=0o600)
    part.write_text(text)
    part.replace(path)


def _in_days(days: int) -> datetime:
    if not 1 <= days <= LONGEST_DAYS:
        raise ValueError(f"--days is {days}; a key is valid for 1 to {LONGEST_DAYS} days.")
    return datetime.now(UTC) + timedelta(days=days)


def main(arguments: Sequence[str]) -> int:
    """The command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m serving.keys", description="API keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    new = commands.add_parser("create", help="add a key and show it once")
    new.add_argument("name")
    new.add_argument("--scope", choices=SCOPES, default="read")
    new.add_argument("--days", type=int, default=None, help="expires after so many days")
    commands.add_parser("list", help="show the keys, without their secrets")
    commands.add_parser("revoke", help="take a key away").add_argument("name")
    asked, settings = parser.parse_args(arguments), command_settings()
    try:
        if asked.command == "create":
            until = None if asked.days is None else _in_days(asked.days)
            print(create(settings, asked.name, asked.scope, until))
        elif asked.command == "revoke":
            revoke(settings, asked.name)
        else:
            for key in read(settings.api_keys_path):
                print(f"{key.name}  {key.scope}  until {key.expires_at or 'revoked'}")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
