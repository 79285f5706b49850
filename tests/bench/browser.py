"""``vigil bench wall``, ``sweep`` and ``pages``: a real browser on the console."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from hub.accounts import DEMO_PASSWORD
from schemas.errors import HubError
from tests.bench.ingest import sign_in
from tests.bench.stack import Stack, percentiles

WARM_S = 8.0
CHROMIUM_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@asynccontextmanager
async def _page(stack: Stack, path: str = "/") -> AsyncIterator[Any]:
    """Yield a signed-in page of a real browser."""
    try:
        from playwright.async_api import async_playwright
    except ImportError:
        raise HubError("this benchmark needs playwright: make env") from None
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        raise HubError("this benchmark needs Debian's chromium")
    base = f"http://127.0.0.1:{stack.settings.dashboard.port}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=list(CHROMIUM_FLAGS)
        )
        page = await browser.new_page(viewport={"width": 1920, "height": 1080})
        await page.goto(f"{base}/login")
        await page.get_by_label("用户名").fill("bench")
        await page.get_by_label("密码").fill(DEMO_PASSWORD)
        await page.get_by_role("button", name="登录").click()
        await page.wait_for_selector(".tile")
        if path != "/":
            await page.goto(base + path)
        yield page
        await browser.close()


async def _heap_mb(page: Any) -> float:
    """Return the page's JavaScript heap after a collection."""
    session = await page.context.new_cdp_session(page)
    await session.send("HeapProfiler.collectGarbage")
    used = (await session.send("Runtime.getHeapUsage"))["usedSize"]
    return round(used / 2**20, 1)


async def _busy_percent(page: Any, seconds: float) -> float:
    """Return how much of ``seconds`` the page's main thread was busy."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable")

    async def busy_s() -> float:
        metrics = (await session.send("Performance.getMetrics"))["metrics"]
        return float(next(m["value"] for m in metrics if m["name"] == "TaskDuration"))

    before = await busy_s()
    await asyncio.sleep(seconds)
    return round(100 * (await busy_s() - before) / seconds, 1)


async def wall(stack: Stack, *, beds: int, seconds: float) -> dict[str, Any]:
    """Measure a browser on the wall: arrival at the console to paint, main-thread load."""
    await sign_in(stack)
    sender = stack.spawn("simulate", "--beds", str(beds), "--seconds", str(seconds + 3 * WARM_S))
    await asyncio.sleep(WARM_S)
    async with _page(stack) as page:
        await _until(page, f"document.querySelectorAll('.tile').length >= {beds}")
        await asyncio.sleep(3)
        await page.evaluate("window.vigil.paints.length = window.vigil.measured.length = 0")
        heap = await _heap_mb(page)
        busy = await _busy_percent(page, seconds)
        paints = await page.evaluate("window.vigil.paints")
        measured = await page.evaluate("window.vigil.measured")
        heap_after = await _heap_mb(page)
    sender.terminate()
    sender.communicate()
    return {
        "frames": len(paints),
        "server_to_paint_ms": percentiles(paints),
        "measured_to_paint_ms": percentiles(measured),
        "main_thread_percent": busy,
        "heap_mb": [heap, heap_after],
    }


PAGES = {
    "wall": "/",
    "bed": "/bed/sim/icu/bed-0001",
    "consults": "/consults",
    "ward": "/ward/sim/icu",
    "review": "/review",
    "rules": "/rules",
    "handover": "/handover/sim/icu",
    "system": "/system",
}


async def pages(stack: Stack, *, beds: int, seconds: float) -> dict[str, Any]:
    """Measure what each page loads with an empty cache, and a bed's page from click to use."""
    await sign_in(stack)
    sender = stack.spawn(
        *("simulate", "--beds", str(beds), "--waves", str(min(beds, 24))),
        *("--seconds", str(seconds + 90)),
    )
    await asyncio.sleep(WARM_S)
    found: dict[str, Any] = {}
    async with _page(stack) as page:
        session = await page.context.new_cdp_session(page)
        await session.send("Network.enable")
        await session.send("Network.setCacheDisabled", {"cacheDisabled": True})
        loaded: list[float] = []
        session.on("Network.loadingFinished", lambda e: loaded.append(e["encodedDataLength"]))
        base = f"http://127.0.0.1:{stack.settings.dashboard.port}"
        for name, path in PAGES.items():
            loaded.clear()
            await page.goto(base + path)
            await page.wait_for_selector("#rail, .screen .page")
            await asyncio.sleep(2)
            found[name] = round(sum(loaded) / 1000)
        await session.send("Network.setCacheDisabled", {"cacheDisabled": False})
        usable = [await _open_bed(page, base) for _ in range(5)]
    sender.terminate()
    sender.communicate()
    return {"page_kb": found, "bed_usable_ms": percentiles(usable)}


async def _open_bed(page: Any, base: str) -> float:
    """Return how long it takes from the click on a tile to numbers, a wave and a trend, ms."""
    await page.goto(base)
    await page.wait_for_selector(".tile")
    await asyncio.sleep(1)
    clicked = await page.evaluate("document.querySelector('.tile').click() || performance.now()")
    await _until(
        page,
        "/^[0-9]/.test((document.querySelector('.big [data-vital=hr]') || {}).textContent)"
        " && document.querySelector('.lane canvas') && document.querySelector('.charts canvas')",
    )
    return float(await page.evaluate("performance.now()")) - float(clicked)


async def _until(page: Any, expression: str, timeout_s: float = 30) -> None:
    """Poll from outside: the console's policy lets no text be evaluated inside."""
    async with asyncio.timeout(timeout_s):
        while not await page.evaluate(expression):  # noqa: ASYNC110 - asked, not told
            await asyncio.sleep(0.02)


async def sweep(stack: Stack, *, beds: int, seconds: float) -> dict[str, Any]:
    """Measure a browser on one bed's waveforms: draws a second, buffer, main-thread load."""
    await sign_in(stack)
    count = str(beds)
    sender = stack.spawn(
        *("simulate", "--beds", count, "--waves", count, "--seconds", str(seconds + 3 * WARM_S))
    )
    await asyncio.sleep(WARM_S)
    async with _page(stack, "/bed/sim/icu/bed-0001") as page:
        await page.wait_for_selector(".lane")
        await asyncio.sleep(3)
        before = await page.evaluate("({at: performance.now(), ...window.vigilWaves})")
        busy = await _busy_percent(page, seconds)
        after = await page.evaluate("({at: performance.now(), ...window.vigilWaves})")
        lanes = await page.locator(".lane").count()
    sender.terminate()
    sender.communicate()
    return {
        "lanes": lanes,
        "draws_a_second": round(
            1000 * (after["draws"] - before["draws"]) / (after["at"] - before["at"]), 1
        ),
        "underruns": after["underruns"] - before["underruns"],
        "buffer_ms": after["buffer_ms"],
        "main_thread_percent": busy,
    }
