"""Where an archive of PyPI or npm is downloaded from: the user's own index, mirror or registry.

The index is that of pip's or npm's configuration, so that a mirror serves weights as it serves packages.
Nothing is installed, and nothing of an archive is executed; :mod:`diffinf_core.weights.convert` reads
single members. Whatever serves an archive, its SHA-256 must be the known one.
"""

from __future__ import annotations

import configparser
import json
import os
import sys
import urllib.parse
from contextlib import suppress
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

from diffinf_core.records import DiffInfError
from diffinf_core.weights.download import open_url, without_user

PYPI = "https://pypi.org/simple"
NPM = "https://registry.npmjs.org"
#: an index page is a list of files, not a download
_LARGEST_PAGE = 32 << 20


@dataclass(frozen=True)
class Package:
    """A release of a package: ``file`` is the name of its archive in the registry."""

    registry: Literal["pypi", "npm"]
    name: str
    version: str
    file: str

    @property
    def page(self) -> str:
        """Where people read about it."""
        if self.registry == "npm":
            return f"https://www.npmjs.com/package/{self.name}/v/{self.version}"
        return f"https://pypi.org/project/{self.name}/{self.version}/"


def archive_url(package: Package, index: str | None = None) -> str:
    """The address of an archive at ``index``, by default at what pip or npm is configured to use.

    Raises :class:`DiffInfError` where no index offers the file.
    """
    if package.registry == "npm":
        base = (index or npm_registry(package.name)).rstrip("/")
        # the path that npm's registry and its mirrors share
        return f"{base}/{package.name}/-/{package.file}"
    tried, reasons = [], []
    for base in [index] if index else pypi_indexes():
        page = f"{base.rstrip('/')}/{package.name}/"
        tried.append(base)
        try:
            found = _listed(page).get(package.file)
        except OSError as error:
            reasons.append(str(getattr(error, "reason", error)))
            continue
        if found is not None:
            return found
    why = f" ({'; '.join(reasons)})" if reasons else ""
    raise DiffInfError(
        f"{', '.join(without_user(t) for t in tried)} offers no {package.file}{why}; give another index "
        "by --index, or get the file elsewhere and run 'diffinf weights import FOLDER'."
    )


class _Links(HTMLParser):
    """The files of an index page (PEP 503): address by name."""

    def __init__(self) -> None:
        super().__init__()
        self.found: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "a" and address:
            path = urllib.parse.urlsplit(address).path
            self.found[urllib.parse.unquote(path.rsplit("/", 1)[-1])] = address


def _listed(page: str) -> dict[str, str]:
    """The files that an index page lists, as JSON (PEP 691) or HTML (PEP 503): address by name."""
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    with open_url(page, {"Accept": accept}) as answer:
        body = answer.read(_LARGEST_PAGE).decode("utf-8", "replace")
        base, kind = answer.geturl(), answer.headers.get_content_type()
    if kind.endswith("json"):
        try:
            files = {entry["filename"]: entry["url"] for entry in json.loads(body)["files"]}
        except (ValueError, KeyError, TypeError) as error:
            raise OSError(f"{without_user(page)} is no package index") from error
    else:
        links = _Links()
        links.feed(body)
        files = links.found
    user = urllib.parse.urlsplit(page).netloc.rpartition("@")[0]
    return {
        name: _same_user(urllib.parse.urljoin(base, url), page, user) for name, url in files.items()
    }


def _same_user(url: str, page: str, user: str) -> str:
    """The address with the index's user, where it is on the index's own host."""
    parts, index = urllib.parse.urlsplit(url), urllib.parse.urlsplit(page)
    if user and parts.netloc == index.netloc.rpartition("@")[2]:
        parts = parts._replace(netloc=f"{user}@{parts.netloc}")
    return urllib.parse.urlunsplit(parts._replace(fragment=""))


def _pip_files() -> list[Path]:
    """pip's configuration files, the strongest last."""
    home = Path.home()
    files = [Path("/etc/xdg/pip/pip.conf"), Path("/etc/pip.conf"), home / ".pip" / "pip.conf"]
    files.append(Path(os.environ.get("XDG_CONFIG_HOME", home / ".config")) / "pip" / "pip.conf")
    if sys.platform == "darwin":
        files.append(home / "Library" / "Application Support" / "pip" / "pip.conf")
    if "APPDATA" in os.environ:
        files.append(Path(os.environ["APPDATA"]) / "pip" / "pip.ini")
    files += [Path(sys.prefix) / name for name in ("pip.conf", "pip.ini")]
    if given := os.environ.get("PIP_CONFIG_FILE"):
        files.append(Path(given))
    return files


def pypi_indexes() -> list[str]:
    """pip's index and its extra ones, by its environment variables, then its configuration files."""
    config = configparser.RawConfigParser()
    for file in _pip_files():
        with suppress(configparser.Error, UnicodeDecodeError):
            config.read(file, encoding="utf-8")
    found = []
    for name in ("index-url", "extra-index-url"):
        value = os.environ.get(f"PIP_{name.upper().replace('-', '_')}", "")
        for section in ("download", "install", "global"):
            value = value or config.get(section, name, fallback="")
        found.append([url for url in value.split() if url.startswith(("http:", "https:"))])
    return list(dict.fromkeys([*(found[0] or [PYPI]), *found[1]]))


def npm_registry(package: str) -> str:
    """npm's registry for a package, that of its scope first, by environment variable or ``.npmrc``."""
    scope = package.partition("/")[0]
    names = [f"{scope}:registry", "registry"] if package.startswith("@") else ["registry"]
    settings: dict[str, str] = {}
    for file in (Path("/etc/npmrc"), Path.home() / ".npmrc"):
        with suppress(OSError, UnicodeDecodeError):
            for line in file.read_text("utf-8").splitlines():
                name, equals, value = line.partition("=")
                if equals and not name.lstrip().startswith(("#", ";")):
                    settings[name.strip()] = value.strip()
    for name, value in os.environ.items():
        if name.lower().startswith("npm_config_") and value:
            settings[name[len("npm_config_") :].lower()] = value
    return next((settings[name] for name in names if name in settings), NPM)
