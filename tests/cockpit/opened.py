"""The page as a user sees it: opened in a browser, waited for, read, clicked and typed into."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.cockpit.browser import browser
from tests.cockpit.web import NODEDEVCTL, cockpit
from tests.support.running import PATIENCE_SECONDS

PAGE_PATH = "/cockpit/@localhost/nodedevd/index.html"


class Opened:
    """An open page."""

    def __init__(self, driver: Any, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self.driver = driver
        self._patience_seconds = patience_seconds

    # What is there

    def js(self, script: str, *given: object) -> Any:
        """Run a script in the page, and return what it returns."""
        return self.driver.execute_script(script, *given)

    def text(self, selector: str) -> str:
        """Return the visible text of the first element, "" if there is none."""
        script = "return document.querySelector(arguments[0])?.innerText ?? ''"
        return str(self.js(script, selector))

    def texts(self, selector: str) -> list[str]:
        """Return the visible texts of all elements."""
        script = "return [...document.querySelectorAll(arguments[0])].map(one => one.innerText)"
        return list(self.js(script, selector))

    def shows(self, selector: str) -> bool:
        """Return whether an element is there and visible."""
        script = "return document.querySelector(arguments[0])?.checkVisibility() ?? false"
        return bool(self.js(script, selector))

    @property
    def names(self) -> list[str]:
        """The devices in the table."""
        return self.texts("#devices tbody td:first-child a")

    @property
    def focus(self) -> str:
        """What has the focus: its name for a screen reader, or its text; "" if nothing has it."""
        return str(
            self.js(
                "const one = document.activeElement, label = one.labels?.[0]?.innerText;"
                "return one === document.body ? '' :"
                " one.getAttribute('aria-label') ?? label ?? one.innerText"
            )
        )

    # What changes

    def until(self, condition: Callable[[], object], words: str = "") -> None:
        """Wait for a condition."""
        deadline = time.monotonic() + self._patience_seconds
        while not condition():
            assert time.monotonic() < deadline, f"{words}\n{self.text('body')}"
            time.sleep(0.05)

    def until_state(self, state: str) -> None:
        """Wait for a state of the connection."""
        self.until(lambda: self.js("return document.body.dataset.state") == state, state)

    def until_text(self, selector: str, part: str) -> None:
        """Wait until an element shows a text."""
        self.until(lambda: part in self.text(selector), f"{part!r} in {selector}")

    def find(self, selector: str) -> Any:
        """Wait for an element, and return it."""
        self.until(lambda: self.shows(selector), selector)
        return self.driver.find_element("css selector", selector)

    def click(self, selector: str) -> None:
        """Click on an element."""
        element = self.find(selector)
        self.js("arguments[0].scrollIntoView({ block: 'center' })", element)
        element.click()

    def fill(self, selector: str, text: str) -> None:
        """Type into a field, in place of what it has."""
        element = self.find(selector)
        element.clear()
        element.send_keys(text)

    def choose(self, selector: str, value: str) -> None:
        """Choose an entry of a list, as a user does."""
        self.js(
            "arguments[0].value = arguments[1];"
            "arguments[0].dispatchEvent(new Event('input', { bubbles: true }))",
            self.find(selector),
            value,
        )

    def label(self, words: str) -> str:
        """Return the selector of the field with a label."""
        script = (
            "return [...document.querySelectorAll('label')].filter("
            "one => one.checkVisibility() && one.innerText === arguments[0]).at(-1)?.htmlFor"
        )
        found = self.js(script, words)
        assert found, f"no field {words!r}"
        return f"#{found}"

    def resize(self, width: int, height: int = 900) -> None:
        """Set the size of the page; a window would have a least one."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, scheme: str) -> None:
        """Have the system prefer dark or light."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def screenshot(self, height_at_most: int | None = None) -> bytes:
        """Return the whole page as a PNG."""
        size = self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
        height = min(size["height"], height_at_most or size["height"])
        clip = {"x": 0, "y": 0, "width": size["width"], "height": height, "scale": 1}
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip}
        )
        return base64.b64decode(shot["data"])

    @property
    def complaints(self) -> list[str]:
        """What the console has about this page since it was last asked."""
        return [
            entry["message"]
            for entry in self.driver.get_log("browser")
            if "/nodedevd/" in entry["message"] and entry["level"] in ("SEVERE", "WARNING")
        ]


class Opener:
    """Opens pages on sockets in a directory; all of them end with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._stack = ExitStack()
        self._pages: list[Opened] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *of_exception: object) -> None:
        self._stack.close()

    def open(
        self,
        *,
        state: str = "ready",
        path: str = PAGE_PATH,
        language: str = "en-US",
        command: Path = NODEDEVCTL,
        user: str | None = None,
        socket_path: Path | None = None,
        width: int = 1400,
        scheme: str = "light",
    ) -> Opened:
        """Open the page in a new browser, and wait for a state of its connection."""
        session = cockpit(self.directory, command=command, user=user, socket_path=socket_path)
        address = self._stack.enter_context(session)
        page = Opened(self._stack.enter_context(browser(language=language)))
        self._pages.append(page)
        page.resize(width)
        page.prefer(scheme)
        page.driver.get(address + path)
        if state:
            page.until_state(state)
        page.js("window.loadedOnce = true")
        return page

    def check_console(self) -> None:
        """Fail if a page has violated the security policy, or has thrown an error."""
        for page in self._pages:
            assert page.complaints == []
