"""Debian's Chromium, driven by selenium."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
CHROMEDRIVER = Path("/usr/bin/chromedriver")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
    "--disable-background-networking",
    "--disable-extensions",
    "--no-first-run",
)


@contextmanager
def browser(*, language: str = "en-US", program: Path = CHROMIUM) -> Iterator[Any]:
    """Start a browser with a profile of its own, and end it."""
    from selenium import webdriver  # of the extra `browser`
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(program)
    for flag in (*_FLAGS, f"--lang={language}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"intl.accept_languages": language})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(CHROMEDRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def slow_browser(program: Path, patience_seconds: float) -> Iterator[Any]:
    """Do the same where a browser takes minutes to start: chromedriver gives it one.

    So it is started here, and chromedriver is told where it listens.
    """
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        own = ("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank")
        process = subprocess.Popen([program, *_FLAGS, *own], stdin=subprocess.DEVNULL)
        try:
            options = webdriver.ChromeOptions()
            options.debugger_address = (
                f"127.0.0.1:{_port(Path(profile), process, patience_seconds)}"
            )
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            driver = webdriver.Chrome(options=options, service=Service(str(CHROMEDRIVER)))
            try:
                yield driver
            finally:
                driver.quit()
        finally:
            process.kill()
            process.wait()


def _port(profile: Path, process: subprocess.Popen[bytes], patience_seconds: float) -> int:
    """Wait until a browser listens, and return its port."""
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + patience_seconds
    while not file.exists() or not file.read_text():
        assert process.poll() is None, f"the browser ended with status {process.returncode}"
        assert time.monotonic() < deadline, "the browser does not listen"
        time.sleep(0.1)
    return int(file.read_text().split()[0])
