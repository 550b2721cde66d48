"""A real browser, Debian's chromium, spoken to in the DevTools protocol through a pair of pipes."""

from __future__ import annotations

import base64
import io
import json
import os
import select
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_TIMEOUT = 60.0  # seconds for an answer: machines that test are busy


def executable() -> str | None:
    """The path of a browser; None where there is none."""
    return next((path for name in _NAMES if (path := shutil.which(name))), None)


class Page:
    """One page, and what it complained of and asked for since it was opened.

    Attributes:
        complaints: messages of the console, exceptions, and what the security policy refused.
        requests: URLs of everything that was fetched, but the page itself and data in it.
    """

    def __init__(self, sending: int, receiving: int) -> None:
        self._out, self._in = sending, receiving
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command; an error of the browser raises RuntimeError."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _receive(self, timeout: float = _TIMEOUT) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if not select.select([self._in], [], [], timeout)[0]:
                raise TimeoutError("the browser does not answer")
            data = os.read(self._in, 1 << 20)
            if not data:
                raise EOFError("the browser has ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._note(message.get("method"), message.get("params", {}))
        return message

    def _note(self, method: str | None, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled":
            self.complaints.append(json.dumps(params["args"]))
        elif method == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            url = params["request"]["url"]
            if params.get("type") != "Document" and not url.startswith("data:"):
                self.requests.append(url)

    def open(self, path: Path, width: int, height: int = 900, *, dark: bool = False, still: bool = False) -> None:
        """Opens a file in a window of this size, a phone's where it is narrow, and waits until it is loaded."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.ask("Emulation.setDeviceMetricsOverride", **size)
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"},
        ]
        self.ask("Emulation.setEmulatedMedia", features=features)
        self.complaints.clear()
        self.requests.clear()
        self.ask("Page.navigate", url=path.resolve().as_uri())
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def value(self, expression: str) -> Any:
        """What an expression of JavaScript gives, in JSON's types; awaited, where it is a promise."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression: str, seconds: float = _TIMEOUT) -> None:
        """Waits until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} is not true after {seconds:g} s")
            time.sleep(0.02)

    def press(self, key: str, code: int, text: str = "") -> None:
        """A key, down and up."""
        what = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **what)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **what)

    def screenshot(self, selector: str | None = None) -> NDArray[np.uint8]:
        """The first element that fits, or the whole page: (H, W, 3)."""
        box = "document.documentElement" if selector is None else f"document.querySelector({json.dumps(selector)})"
        found = self.value(f"(({{x, y, width, height}}) => [x + scrollX, y + scrollY, width, height])"
                           f"({box}.getBoundingClientRect())")  # fmt: skip
        clip = dict(zip(("x", "y", "width", "height"), found, strict=True)) | {"scale": 1}
        data = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))

    def tree(self) -> list[dict[str, str]]:
        """What a screen reader is told: role and name of every node that it does not pass over, in their order."""
        nodes = self.ask("Accessibility.getFullAXTree")["nodes"]
        return [
            {part: str(node.get(part, {}).get("value", "")) for part in ("role", "name")}
            for node in nodes
            if not node["ignored"]
        ]


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """A page in a browser of its own, whose profile lies in the folder, and which cannot reach any network."""
    path = executable()
    assert path is not None
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--no-first-run",
               "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
               "--proxy-server=127.0.0.1:9", f"--user-data-dir={folder}", "--hide-scrollbars"]  # fmt: skip
    their_in, our_out = os.pipe()
    our_in, their_out = os.pipe()
    # The browser reads from descriptor 3 and writes to 4.
    shell = ["bash", "-c", f'exec "$@" 3<&{their_in} 4>&{their_out}', "bash", path, *options]
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}  # a sanitizer's, maybe
    log = open(folder / "log.txt", "wb")  # noqa: SIM115 (closed below)
    process = subprocess.Popen(
        shell, pass_fds=(their_in, their_out), stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment,
        start_new_session=True,
    )  # fmt: skip
    os.close(their_in)
    os.close(their_out)
    try:
        yield Page(our_out, our_in)
    finally:
        os.close(our_out)
        os.close(our_in)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        log.close()
