"""Who may log in: names with hashed passwords, from a file and from the environment."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import re
import secrets
import threading
import unicodedata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from diffinf_core.records import DiffInfError
from diffinf_core.runs.files import read_json, write_json

#: "name:password" pairs, comma-separated
LOGIN_VARIABLE = "DIFFINF_LOGIN"
#: a file that 'diffinf users add' wrote
USERS_VARIABLE = "DIFFINF_USERS"
USERS_FILE = "users.json"
MIN_PASSWORD, MAX_PASSWORD, MAX_NAME = 8, 1000, 80

_log = logging.getLogger("diffinf.guard")
_HEX = re.compile(r"(?:[0-9a-f]{2}){16,64}")
_MAX_MEMORY = 128 * 1024 * 1024


@dataclass(frozen=True)
class Secret:
    """A password as scrypt leaves it: ``n``, ``r``, ``p`` its costs, salt and key in hex."""

    salt: str
    key: str
    n: int = 2**15
    r: int = 8
    p: int = 3

    def __post_init__(self) -> None:
        # A file with absurd costs would take all memory at the first log-in.
        costs = (self.n, self.r, self.p)
        usable = all(isinstance(c, int) and c > 0 for c in costs)
        if not (
            usable
            and self.n > 1
            and self.n & (self.n - 1) == 0
            and 128 * self.r * (self.n + self.p) <= _MAX_MEMORY
            and all(isinstance(t, str) and _HEX.fullmatch(t) for t in (self.salt, self.key))
        ):
            raise ValueError("not a hashed password")

    @classmethod
    def of(cls, password: str) -> Secret:
        """Hash a password with a salt of its own."""
        salt = secrets.token_hex(16)
        return cls(salt, cls(salt, salt)._derive(password))

    def _derive(self, password: str) -> str:
        # Keyboards differ in how they compose an accented letter.
        text = unicodedata.normalize("NFKC", password).encode("utf-8", "replace")
        salt, room = bytes.fromhex(self.salt), _MAX_MEMORY + 2**20
        key = hashlib.scrypt(
            text, salt=salt, n=self.n, r=self.r, p=self.p, maxmem=room, dklen=len(self.key) // 2
        )
        return key.hex()

    def fits(self, password: str) -> bool:
        """Whether this is the password; takes as long when it is not."""
        return hmac.compare_digest(self._derive(password[:MAX_PASSWORD]), self.key)


def checked_name(name: str) -> str:
    """The name as it is kept; :class:`DiffInfError` for one that cannot be a user's.

    It goes into the journal and into ``name:password`` pairs.
    """
    kept = unicodedata.normalize("NFC", name.strip())
    if not 0 < len(kept) <= MAX_NAME or not kept.isprintable() or set(kept) & set(":,"):
        raise DiffInfError(
            f"A user's name has 1 to {MAX_NAME} printable characters, no colon and no comma: "
            f"{name[:MAX_NAME]!r} has not."
        )
    return kept


def checked_password(password: str) -> str:
    """The password; :class:`DiffInfError` for one that is too short or too long."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise DiffInfError(
            f"A password has {MIN_PASSWORD} to {MAX_PASSWORD} characters, this one {len(password)}."
        )
    return password


def read_users(file: Path) -> dict[str, Secret]:
    """Users of a file; :class:`DiffInfError` where it is not one that :func:`write_users` wrote."""
    try:
        found = read_json(file)
        return {checked_name(name): Secret(**entry) for name, entry in found["users"].items()}
    except (DiffInfError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise DiffInfError(
            f"{file} is not a file of users; 'diffinf users add' writes one."
        ) from error


def write_users(file: Path, users: Mapping[str, Secret]) -> None:
    """Write the file for its owner's eyes alone, whole or not at all."""
    entries = {name: asdict(secret) for name, secret in sorted(users.items())}
    write_json(file, {"users": entries}, mode=0o600)


def given_users() -> list[tuple[str, str]]:
    """(name, password) of each user in the environment's ``DIFFINF_LOGIN``."""
    text = os.environ.get(LOGIN_VARIABLE, "")
    pairs = [pair.partition(":") for pair in text.split(",")] if text else []
    if not all(name and password for name, _, password in pairs):
        raise DiffInfError(f"{LOGIN_VARIABLE} must hold name:password pairs, comma-separated.")
    return [(checked_name(name), password) for name, _, password in pairs]


def users_file(root: Path) -> Path | None:
    """The file of users for a run: what ``DIFFINF_USERS`` names, or ``users.json`` in its folder."""
    named = os.environ.get(USERS_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise DiffInfError(f"{USERS_VARIABLE} names {named}, and there is no such file.")
        return Path(named)
    beside = root / USERS_FILE
    return beside if beside.is_file() else None


def kept_name(name: str) -> str:
    """A name as it is kept: one spelling of each."""
    return unicodedata.normalize("NFC", name.strip())


class Accounts:
    """Everybody who may log in. A change of the file counts at once, without a restart."""

    def __init__(self, given: Mapping[str, str], file: Path | None = None) -> None:
        self._given = {name: Secret.of(password) for name, password in given.items()}
        self._file, self._stamp = file, (0, 0, 0)
        self._from_file: dict[str, Secret] = {}
        self._lock = threading.Lock()
        self._nobody = Secret.of(secrets.token_hex(16))
        if file is not None:
            self._stamp = self._stat(file)
            self._from_file = read_users(file)

    @classmethod
    def of_run(cls, root: Path) -> Accounts | None:
        """Users of the environment and of the file that belongs to a run; None without either.

        A file without users locks everybody out: it was made to close the app, not to open it.
        A user of the environment counts before one of the same name in the file.
        """
        given, file = dict(given_users()), users_file(root)
        if file is not None and file.stat().st_mode & 0o077:
            _log.warning("%s can be read by others on this machine; chmod 600 it", file)
        return cls(given, file) if given or file is not None else None

    @staticmethod
    def _stat(file: Path) -> tuple[int, int, int]:
        found = file.stat()
        return found.st_mtime_ns, found.st_size, found.st_ino

    def _known(self) -> dict[str, Secret]:
        if self._file is not None:
            with self._lock:
                try:
                    stamp = self._stat(self._file)
                    if stamp != self._stamp:
                        self._from_file = read_users(self._file)
                        self._stamp = stamp
                except (DiffInfError, OSError) as error:
                    # Nobody of a file that is gone or broken may log in.
                    if self._from_file:
                        _log.warning("users of %s are locked out: %s", self._file, error)
                    self._from_file, self._stamp = {}, (0, 0, 0)
        return self._from_file | self._given

    def check(self, name: str, password: str) -> str | None:
        """The user's name as it is kept, or None; as slow for a name that nobody has.

        Takes some tenths of a second of one core on purpose.
        """
        kept = kept_name(name)
        secret = self._known().get(kept)
        fits = (secret or self._nobody).fits(password)
        return kept if fits and secret is not None else None

    def stamp(self, name: str) -> str | None:
        """Changes with the user's password; None for a user who is gone. Ends sessions with it."""
        secret: Any = self._known().get(name)
        return None if secret is None else secret.key
