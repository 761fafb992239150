"""Make sure the browser tests have a Chromium: one that is there, or one from a package registry."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def system_chromium() -> str | None:
    """A Chromium or Chrome on the PATH."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if path := shutil.which(name):
            return path
    return None


def own_chromium() -> str | None:
    """A Chromium that Playwright downloaded earlier."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as p:
        path = p.chromium.executable_path
    return path if Path(path).exists() else None


def main() -> None:
    """Look, then try the system's packages (as root), then Playwright's own download."""
    if system_chromium() or own_chromium():
        return
    print("Installing Chromium for the browser tests.", flush=True)
    if shutil.which("apt-get") and os.geteuid() == 0:
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for words in (["update", "-qq"], ["install", "-y", "-qq", "chromium"]):
            subprocess.run(["apt-get", *words], env=environment, check=False)
    if not system_chromium():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
    if not (system_chromium() or own_chromium()):
        print("No Chromium could be installed; the browser tests will be skipped.", flush=True)


if __name__ == "__main__":
    main()
