"""The wall's order, filters, sparklines, score and sound, in a real browser."""

import re
import time

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import running_hub
from tests.browser.waiting import until
from tests.support.publisher import Publisher

pytestmark = pytest.mark.timeout(120)
VITALS = {"hr": 78, "spo2": 98, "rr": 16, "abp_sys": 120, "abp_dia": 70, "temp": 36.8}


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A hub of its own: what sounds and what stands first depends on every alert there is."""
    yield from running_hub(tmp_path_factory.mktemp("wall"))


@pytest.fixture
def monitor(hub):
    publisher = Publisher(hub.settings.broker.port, "wall")
    yield publisher
    publisher.close()


def order(page):
    return page.locator(".tile").evaluate_all("nodes => nodes.map((node) => node.dataset.bed)")


def shown(page):
    return page.locator(".tile:visible").evaluate_all(
        "nodes => nodes.map((node) => node.dataset.bed)"
    )


def desaturate(monitor, bed, boot):
    for seq in range(4):
        monitor.numerics(bed, seq, {"spo2": 70}, boot=boot)


def test_an_alert_sounds_until_it_is_acknowledged(sign_in, monitor):
    page = sign_in("expert")
    expect(page.locator("#sound")).to_have_text("声音：开")
    desaturate(monitor, "w/icu/bed-02", "sound")
    until(page, "vigilSound.log.some((b) => b.priority === 'high' && b.pulses === 10)")
    while page.locator("#rail .alert .buttons button:first-child").count():
        page.locator("#rail .alert .buttons button:first-child").first.click()
        page.wait_for_timeout(300)
    played = page.evaluate("vigilSound.log.length")
    page.wait_for_timeout(11_000)  # longer than the time between two bursts
    assert page.evaluate("vigilSound.log.length") == played
    page.locator("#sound").click()
    expect(page.locator("#sound")).to_have_text("声音：关")


def test_the_worst_bed_comes_first_by_acuity_and_the_choice_is_kept(sign_in, monitor):
    page = sign_in("expert")
    desaturate(monitor, "w/icu/bed-04", "acuity")
    expect(page.locator('.tile[data-bed="w/icu/bed-04"]')).to_have_attribute("data-alarm", "high")
    assert order(page)[-1] == "w/icu/bed-04"
    page.get_by_role("button", name="按危重程度").click()
    page.mouse.move(5, 5)
    expect(page.locator(".tile").first).to_have_attribute("data-bed", "w/icu/bed-04")
    expect(page.locator(".tile").first.locator(".place")).to_have_text("测试医院 ICU")
    page.reload()
    expect(page.locator(".tile").first).to_have_attribute("data-bed", "w/icu/bed-04")
    assert page.problems == []


def test_nothing_moves_under_the_pointer(sign_in, monitor):
    page = sign_in("expert")
    page.get_by_role("button", name="按危重程度").click()
    page.locator(".tile").last.hover()
    last = order(page)[-1]
    before = order(page)
    desaturate(monitor, last, "hover")
    expect(page.locator(f'.tile[data-bed="{last}"]')).to_have_attribute("data-alarm", "high")
    page.wait_for_timeout(2500)
    assert order(page) == before
    page.mouse.move(5, 5)
    until(page, "before => document.querySelector('.tiles').children.length && "
                "[...document.querySelectorAll('.tile')].map((n) => n.dataset.bed)"
                ".join() !== before", ",".join(before))  # fmt: skip


def test_filters_and_search_say_what_they_hide(sign_in, monitor):
    page = sign_in("expert")
    monitor.numerics("w/icu/bed-03", 1, VITALS, boot="filter")
    page.keyboard.press("/")
    page.keyboard.type("3床")
    expect(page.locator(".tile:visible")).to_have_count(1)
    assert shown(page) == ["w/icu/bed-03"]
    expect(page.locator(".tools .note")).to_have_text("筛选隐藏了 3 张床")
    page.get_by_label("查找床位或医院").fill("")
    expect(page.locator(".tile:visible")).to_have_count(4)
    expect(page.locator(".tools .note")).to_be_empty()
    page.get_by_role("button", name="离线").click()
    expect(page.locator(".tools .note")).to_contain_text("隐藏")
    assert "w/icu/bed-03" not in shown(page)


def test_the_score_is_a_number_with_the_time_of_what_it_is_made_of(sign_in, monitor):
    page = sign_in("expert")
    seen = {"v": 1, "id": "wall-score", "by": "li", "at": time.time_ns() // 1_000_000,
            "values": {"acvpu": "A", "on_oxygen": False}}  # fmt: skip
    monitor.send("vigil/v1/w/icu/bed-03/observations", seen)
    for seq in range(10, 14):
        monitor.numerics("w/icu/bed-03", seq, VITALS, boot="score")
    number = page.locator('.tile[data-bed="w/icu/bed-03"] [data-vital="news2"]')
    expect(number).to_have_text("0")
    measured = page.locator('.tile[data-bed="w/icu/bed-03"] [data-vital="hr"]')
    assert abs(int(number.get_attribute("data-measured"))
               - int(measured.get_attribute("data-measured"))) < 10_000  # fmt: skip


def test_a_sparkline_is_there_for_a_page_that_comes_later(sign_in, monitor):
    for seq in range(24):  # a point is kept each ten seconds
        monitor.numerics("w/icu/bed-01", seq, VITALS | {"hr": 78 + seq % 3}, boot="spark")
        time.sleep(0.5)
    page = sign_in("expert")
    path = page.locator('.tile[data-bed="w/icu/bed-01"] path.hr')
    expect(path).to_have_attribute("d", re.compile(r"^M[\d.]+ [\d.]+"))
