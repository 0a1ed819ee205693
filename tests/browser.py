"""A headless Chromium, spoken to over a pipe: no driver, no port and no socket."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import select
import shutil
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
NEEDED = "FEDJAX_RL_NEEDS_BROWSER"
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--no-first-run", "--no-default-browser-check", "--disable-quic", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-extensions"),
    *("--hide-scrollbars", "--remote-debugging-pipe", "about:blank"),
)
SECONDS = 60.0
"""How long an answer may take, on a machine that is busy."""


def executable() -> str:
    """The browser; the test that asks is skipped without one, or fails where one must be."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None and os.environ.get(NEEDED):
        pytest.fail(f"{NEEDED} is set, and there is none of {', '.join(NAMES)}")
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    return found


class Browser:
    """The DevTools protocol, one command at a time; events are kept as they come.

    Args:
        send: descriptor to write commands to.
        receive: descriptor to read answers and events from.
    """

    def __init__(self, send: int, receive: int):
        self._send, self._receive, self._buffer, self._number = send, receive, b"", 0
        self.events: list[dict[str, Any]] = []

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """What the browser answers."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            command["sessionId"] = session
        os.write(self._send, json.dumps(command).encode() + b"\0")
        while True:
            message = self._message()
            if message.get("id") == self._number:
                assert "error" not in message, (method, message["error"])
                return message["result"]
            self.events.append(message)

    def _message(self) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._receive], [], [], max(0.0, end - time.monotonic()))
            part = os.read(self._receive, 2**20) if ready else b""
            assert part, "the browser has gone, or says nothing"
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(message)

    def open(self, path: pathlib.Path, width: int, height: int = 900, dark: bool = False) -> Page:
        """A file in a tab of its own, as wide as asked, once it has loaded."""
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = Page(self, session)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.ask(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        page.ask("Emulation.setDeviceMetricsOverride", **metrics, mobile=width < 700)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        page.ask("Emulation.setEmulatedMedia", features=[scheme])
        page.ask("Page.navigate", url=path.resolve().as_uri())
        page.wait("document.readyState === 'complete' && location.protocol === 'file:'")
        page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 50)))")
        return page


class Page:
    """A tab."""

    def __init__(self, browser: Browser, session: str):
        self._browser, self._session = browser, session

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **parameters)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression or promise."""
        given = {"expression": expression, "returnByValue": True, "awaitPromise": True}
        answer = self.ask("Runtime.evaluate", **given)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str) -> None:
        """Until an expression is true."""
        end = time.monotonic() + SECONDS
        while not self.evaluate(expression):
            assert time.monotonic() < end, expression
            time.sleep(0.02)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and refusals of the browser."""
        self.evaluate("new Promise(done => setTimeout(done, 50))")
        found = []
        for event in self._own():
            parameters = event["params"]
            match event["method"]:
                case "Runtime.exceptionThrown":
                    found.append(json.dumps(parameters["exceptionDetails"]))
                case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning"):
                    found.append(json.dumps(parameters["args"]))
                case "Log.entryAdded" if parameters["entry"]["level"] in ("error", "warning"):
                    found.append(parameters["entry"]["text"])
        return found

    def requests(self) -> list[str]:
        """What the page asked for, itself included."""
        sent = (e for e in self._own() if e["method"] == "Network.requestWillBeSent")
        return [event["params"]["request"]["url"] for event in sent]

    def _own(self) -> Iterator[dict[str, Any]]:
        return (e for e in self._browser.events if e.get("sessionId") == self._session)

    def move(self, x: float, y: float) -> None:
        """Moves the mouse."""
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Clicks the middle of the first element of a selector."""
        x, y = self.middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            given = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.ask("Input.dispatchMouseEvent", **given)

    def middle(self, selector: str) -> tuple[float, float]:
        """Where the middle of an element is, after scrolling there."""
        box = self.evaluate(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        return box[0], box[1]

    def press(self, key: str) -> None:
        """Presses a key that has a name."""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def screenshot(self, whole: bool = True) -> str:
        """A PNG picture as base64."""
        return self.ask("Page.captureScreenshot", captureBeyondViewport=whole)["data"]


@contextlib.contextmanager
def launched(profile: pathlib.Path) -> Iterator[Browser]:
    """A browser with a fresh profile, gone with all of its processes at the end."""
    path = executable()
    commands, answers = os.pipe(), os.pipe()
    # Chromium reads commands from descriptor 3 and writes answers to 4, which may be in use here.
    theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (commands[0], answers[1])]
    profile.mkdir(parents=True, exist_ok=True)
    log = str(profile / "browser.log")
    given = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
        (os.POSIX_SPAWN_DUP2, theirs[0], 3),
        (os.POSIX_SPAWN_DUP2, theirs[1], 4),
    ]
    arguments = [path, f"--user-data-dir={profile}", *FLAGS]
    # Not subprocess: a fork of a process in which JAX runs threads may never get to its exec.
    process = os.posix_spawn(path, arguments, os.environ, file_actions=given, setsid=True)
    for end in (commands[0], answers[1], *theirs):
        os.close(end)
    try:
        yield Browser(commands[1], answers[0])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process, signal.SIGKILL)
        os.waitpid(process, 0)
        os.close(commands[1])
        os.close(answers[0])
