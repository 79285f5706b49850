"""A running hub and a real Chromium."""

import pytest
from playwright.sync_api import sync_playwright

from tests.bench.browser import CHROMIUM_FLAGS
from tests.support import chromium
from tests.support.hub import Hub

SITES = """
[[hospital]]
id = "w"
zh = "测试医院"
en = "Test Hospital"
  [[hospital.unit]]
  id = "icu"
  zh = "ICU"
  en = "ICU"
  beds = ["bed-01", "bed-02", "bed-03", "bed-04"]
"""


def running_hub(folder):
    """Yield a hub with two accounts and a registered hospital."""
    (folder / "sites.toml").write_text(SITES, "utf-8")
    hub = Hub(folder / "data", {"VIGIL_SITES": str(folder / "sites.toml")})
    hub.start()
    for name in ("nurse", "expert"):
        hub.account(name)
    yield hub
    hub.stop()


@pytest.fixture(scope="session")
def hub(tmp_path_factory):
    yield from running_hub(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium; skipped, with the reason, where there is none."""
    path = chromium.find()
    if path is None:
        pytest.skip("no chromium on this machine: install Debian's chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(CHROMIUM_FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def sign_in(hub, browser):
    """Return a function that opens a signed-in page in a context of its own."""
    contexts = []

    def open_page(name="nurse", *, width=1920, height=1080, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.problems = []
        page.on("pageerror", lambda error: page.problems.append(str(error)))
        page.goto(f"{hub.address}/")
        page.get_by_label("用户名").fill(name)
        page.get_by_label("密码").fill("long enough")
        page.get_by_role("button", name="登录").click()
        page.wait_for_selector(".tile")
        return page

    yield open_page
    for context in contexts:
        context.close()
