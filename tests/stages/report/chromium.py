"""A headless Chromium that says of a page what a person would see in it: by its own DevTools, over one
web socket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from tests.waiting import LIMIT_SECONDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_SMALLEST = 7
_LOOK = """
(() => {
  const luminance = ([r, g, b]) => {
    const [x, y, z] = [r, g, b].map(v => v / 255).map(
      v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const found = channels(getComputedStyle(at).backgroundColor);
      if (found.length < 4 || found[3] > 0.99) return found;
    }
    return [255, 255, 255];
  };
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const element = walk.currentNode.parentElement;
    const text = walk.currentNode.textContent.trim();
    const box = element.getBoundingClientRect();
    if (!text || !box.width || element.closest("svg, style")) continue;
    const style = getComputedStyle(element);
    const pair = [luminance(channels(style.color)), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (contrast < 4.5) faint.push([text.slice(0, 40), Math.round(contrast * 100) / 100]);
  }
  const wide = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const range = document.createRange();
    range.selectNodeContents(texts.currentNode);
    const beyond = range.getBoundingClientRect().right > document.documentElement.clientWidth + 1;
    if (beyond && !texts.currentNode.parentElement.closest(".scroll, figure, style"))
      wide.push(texts.currentNode.textContent.trim().slice(0, 60));
  }
  const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map(each => Number(each.tagName[1]));
  const unnamed = [...document.querySelectorAll("svg, img")].filter(each =>
    !(each.getAttribute("alt") || each.getAttribute("aria-label") || "").trim() &&
    each.getAttribute("alt") !== "" && !each.closest("svg[aria-label] svg")
  ).map(each => each.outerHTML.slice(0, 80));
  const tiny = [...document.querySelectorAll("svg text")].map(each => [
    each.textContent.trim().slice(0, 40),
    parseFloat(getComputedStyle(each).fontSize) * Math.hypot(each.getScreenCTM().a, each.getScreenCTM().b),
  ]).filter(([, size]) => size < SMALLEST);
  const headless = [...document.querySelectorAll("table")].filter(
    each => !each.querySelector("th[scope]")).length;
  return {
    faint, wide, levels, unnamed, headless, tiny,
    scrolls: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    language: document.documentElement.lang, title: document.title,
  };
})()
"""


@dataclass
class Seen:
    """What a page was like at one width, in one colour scheme."""

    messages: list[str] = field(default_factory=list)
    """Of the console, and errors."""
    requests: list[str] = field(default_factory=list)
    """But for the page itself and what it holds."""
    faint: list[Any] = field(default_factory=list)
    """Texts whose contrast is below 4.5 (WCAG 2, AA)."""
    wide: list[str] = field(default_factory=list)
    """Texts that reach beyond the page."""
    scrolls: int = 0
    """Pixels that the page is wider than its window."""
    levels: list[int] = field(default_factory=list)
    """Of its headings, in order."""
    unnamed: list[str] = field(default_factory=list)
    """Pictures without a text."""
    headless: int = 0
    """Tables without marked heads."""
    tiny: list[Any] = field(default_factory=list)
    """Texts within pictures that are smaller than `_SMALLEST` pixels."""
    language: str = ""
    title: str = ""
    picture: bytes = b""


def look(page: Path, *, width: int, scheme: str = "light", printed: bool = False) -> Seen:
    """Open a page and return what is seen of it."""
    return asyncio.run(_look(page, width, scheme, "print" if printed else "screen"))


async def _look(page: Path, width: int, scheme: str, media: str) -> Seen:
    seen = Seen()
    async with _socket() as socket:
        calls = _Calls(socket, seen, page.as_uri())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await calls.call(f"{domain}.enable")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        await calls.call("Emulation.setDeviceMetricsOverride", **size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        await calls.call("Emulation.setEmulatedMedia", media=media, features=features)
        await calls.call("Page.navigate", url=page.as_uri())
        await calls.wait_for("Page.loadEventFired")
        expression = _LOOK.replace("SMALLEST", str(_SMALLEST))
        found = await calls.call("Runtime.evaluate", expression=expression, returnByValue=True)
        for name, value in found["result"]["value"].items():
            setattr(seen, name, value)
        shot = await calls.call("Page.captureScreenshot", captureBeyondViewport=True)
        seen.picture = base64.b64decode(shot["data"])
    return seen


@contextlib.asynccontextmanager
async def _socket() -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    assert CHROMIUM is not None
    words = [
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--remote-debugging-port=0",
    ]
    process = subprocess.Popen(
        [CHROMIUM, *words, "--disable-background-networking", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        address = await asyncio.to_thread(_address, process)
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{address}/json") as answer:
                tabs = await answer.json()
            (url, *_) = [tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"]
            async with session.ws_connect(url, max_msg_size=0) as socket:
                yield socket
    finally:
        process.terminate()
        process.wait()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    for line in process.stderr:
        found = re.search(r"DevTools listening on ws://([^/]+)/", line)
        if found:
            return found[1]
    raise AssertionError("Chromium did not start")


class _Calls:
    """Questions to a page, and what it tells meanwhile."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, seen: Seen, own: str) -> None:
        self.socket = socket
        self.seen = seen
        self.own = own
        self.number = 0
        self.events: list[str] = []

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self.number += 1
        await self.socket.send_json({"id": self.number, "method": method, "params": parameters})
        while True:
            told = await self.socket.receive_json(timeout=LIMIT_SECONDS)
            if told.get("id") == self.number:
                assert "error" not in told, told
                return told["result"]
            self._hear(told)

    async def wait_for(self, event: str) -> None:
        while event not in self.events:
            self._hear(await self.socket.receive_json(timeout=LIMIT_SECONDS))

    def _hear(self, told: dict[str, Any]) -> None:
        method = told.get("method", "")
        self.events.append(method)
        if method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.seen.messages.append(str(told["params"]))
        if method == "Network.requestWillBeSent":
            url = told["params"]["request"]["url"]
            if url != self.own and not url.startswith("data:"):
                self.seen.requests.append(url)
