"""A page in headless Chromium, driven through its DevTools protocol: for the documentation's pictures and for tests."""

from __future__ import annotations

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
]
KEYS = {
    "Enter": (13, "Enter", "\r"),
    "Escape": (27, "Escape", ""),
    "Tab": (9, "Tab", ""),
    "r": (82, "KeyR", ""),
    "n": (78, "KeyN", ""),
    " ": (32, "Space", " "),
    "Backspace": (8, "Backspace", ""),
    "ArrowLeft": (37, "ArrowLeft", ""),
    "ArrowRight": (39, "ArrowRight", ""),
    "0": (48, "Digit0", "0"),
    "2": (50, "Digit2", "2"),
}
ALT = 1  # a modifier, as the protocol numbers them
SHIFT = 8


def browser() -> str | None:
    """The path of an installed browser."""
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


class Tab:
    """An open page. `ask` is any method of the protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)

    def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        number = next(self.numbers)
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self.socket.recv(timeout=60))
            if message.get("id") == number:
                result: dict[str, Any] = message.get("result", {})
                return result

    def value(self, script: str) -> Any:
        """What a JavaScript expression gives; promises are awaited."""
        answer = self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise ValueError(answer["exceptionDetails"]["exception"].get("description", script))
        return answer["result"].get("value")

    def wait(self, script: str, seconds: float = 30) -> None:
        """Wait until an expression is true. Raises TimeoutError."""
        wait(lambda: bool(self.value(script)), script, seconds)

    def write(self, text: str) -> None:
        """Text into what has the focus, as an input method would put it there."""
        self.ask("Input.insertText", text=text)

    def press(self, key: str, modifiers: int = 0) -> None:
        code, name, text = KEYS[key]
        common = {"key": key, "code": name, "windowsVirtualKeyCode": code, "modifiers": modifiers}
        typed = {} if modifiers & ALT else {"text": text}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **common, **typed)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **common)

    def click(self, selector: str) -> None:
        """A click of the mouse in the middle of an element, which has to be in sight."""
        if not self.click_on(f"document.querySelector({json.dumps(selector)})"):
            raise ValueError(f"there is no {selector} to click on")

    def click_text(self, text: str, among: str = "a, button, [role=tab], [role=button]", seconds: float = 60) -> None:
        """A click on the last element whose first line is this text, once there is one. Raises TimeoutError."""
        found = (
            f"[...document.querySelectorAll({json.dumps(among)})].filter(one => one.offsetWidth && !one.disabled"
            f" && one.innerText?.trim().split('\\n')[0] === {json.dumps(text)}).pop()"
        )
        wait(lambda: self.click_on(found), f"`{text}` to click on", seconds)

    def click_on(self, element: str) -> bool:
        """A click in the middle of the element that a JavaScript expression gives; whether there is one."""
        box = self.value(
            f"(() => {{ const found = {element}; if (!found) return null;"
            " found.scrollIntoView({block: 'nearest'}); const box = found.getBoundingClientRect();"
            " return [box.x + box.width / 2, box.y + box.height / 2, box.width]; })()"
        )
        if not box or not box[2]:
            return False
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)
        return True

    def size(self, width: int, height: int, phone: bool = False) -> None:
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.ask("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def tab(address: str, width: int = 1200, height: int = 900) -> Iterator[Tab]:
    """The page at an address, in a browser of its own that is closed afterwards."""
    from websockets.sync.client import connect

    binary = browser()
    if binary is None:
        raise ValueError("No Chromium is installed.")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        size = f"--window-size={width},{height}"
        command = [binary, *FLAGS, f"--user-data-dir={profile}", size, "--remote-debugging-port=0", address]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            port_file = Path(profile) / "DevToolsActivePort"
            wait(lambda: port_file.exists() and bool(port_file.read_text().split()), "the browser")
            port = port_file.read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=30) as answer:
                target = next(target for target in json.load(answer) if target["type"] == "page")
            with connect(target["webSocketDebuggerUrl"], max_size=None) as socket:
                yield Tab(socket)
        finally:
            process.terminate()
            process.wait()


def wait(condition: Callable[[], bool], what: str, seconds: float = 90) -> None:
    """Raises TimeoutError if the condition does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {seconds:.0f} s there is still no {what}")
        time.sleep(0.1)
