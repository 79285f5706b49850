"""The console as people use it: real browser, real hub."""

import os
import signal
import time
from threading import Thread

import numpy as np
import pytest
from playwright.sync_api import expect

from tests.browser.waiting import until
from tests.support.publisher import Publisher

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def monitor(hub):
    publisher = Publisher(hub.settings.broker.port, "monitor")
    yield publisher
    publisher.close()


def tile(page, bed):
    return page.locator(f'.tile[data-bed="{bed}"]')


def number(page, bed, vital):
    return tile(page, bed).locator(f'[data-vital="{vital}"]')


def test_a_reading_appears_with_its_time_and_goes_grey_by_itself(sign_in, monitor):
    page = sign_in()
    before = time.time_ns() // 1_000_000
    monitor.numerics(
        "w/icu/bed-01",
        1,
        {"hr": 77, "spo2": 96, "abp_sys": 118, "abp_dia": 64, "abp_mean": 82, "temp": 36.9},
    )
    expect(number(page, "w/icu/bed-01", "hr")).to_have_text("77")
    expect(number(page, "w/icu/bed-01", "abp")).to_have_text("118/64 (82)")
    expect(number(page, "w/icu/bed-01", "temp")).to_have_text("36.9")
    measured = int(number(page, "w/icu/bed-01", "hr").get_attribute("data-measured"))
    assert before - 50 <= measured <= before + 5000
    expect(tile(page, "w/icu/bed-01")).to_have_attribute("data-stale", "false")
    expect(tile(page, "w/icu/bed-01")).to_have_attribute("data-stale", "true", timeout=20_000)
    assert page.problems == []


def test_an_unusable_value_is_words_and_not_a_number(sign_in, monitor):
    page = sign_in()
    monitor.numerics("w/icu/bed-01", 2, {"hr": None, "spo2": 300}, quality={"hr": "sensor_off"})
    expect(number(page, "w/icu/bed-01", "hr")).to_have_text("探头/导联脱落")
    expect(number(page, "w/icu/bed-01", "spo2")).to_have_text("超出量程")


def test_an_alert_appears_is_acknowledged_and_the_other_browser_sees_it(sign_in, monitor):
    nurse, expert = sign_in("nurse"), sign_in("expert")
    for seq in range(10, 13):
        monitor.numerics("w/icu/bed-02", seq, {"spo2": 71})
    for page in (nurse, expert):
        expect(tile(page, "w/icu/bed-02")).to_have_attribute("data-alarm", "high")
    alert = nurse.locator("#rail .alert", has_text="血氧饱和度极低")
    expect(alert).to_contain_text("测试医院 ICU 2床")
    expect(alert).to_contain_text("71")
    alert.get_by_role("button", name="确认").click()
    expect(expert.locator("#rail .alert .done")).to_have_text("✓ 由 nurse 确认")
    expect(tile(expert, "w/icu/bed-02")).to_have_attribute("data-ack", "true")
    assert nurse.problems == expert.problems == []


def test_bed_page_shows_numbers_trend_and_alerts_and_leads_back(sign_in, monitor):
    page = sign_in()
    now = time.time_ns() // 1_000_000
    for seq in range(30):
        monitor.numerics(
            "w/icu/bed-03",
            seq,
            {"hr": 80 + seq % 5, "spo2": 97},
            measured_ms=now - 30_000 + seq * 1000,
        )
    expect(number(page, "w/icu/bed-03", "hr")).to_have_text("84")
    tile(page, "w/icu/bed-03").click()
    expect(page.get_by_role("heading", name="3床")).to_be_visible()
    expect(page.locator('.big [data-vital="spo2"]')).to_have_text("97")
    page.wait_for_selector(".charts canvas", timeout=20_000)
    page.get_by_text("24 小时", exact=True).click()
    page.get_by_text("← 总览").click()
    expect(tile(page, "w/icu/bed-03")).to_be_visible()
    assert page.problems == []


def test_language_switch_is_reached_by_keyboard_and_stays(sign_in):
    page = sign_in()
    expect(page.locator("#root footer")).to_contain_text("不能替代床旁监护仪报警")
    page.locator("#language").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#root footer")).to_contain_text("does not replace")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    page.reload()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()


def test_a_phone_shows_the_wall_without_scrolling_sideways(sign_in):
    page = sign_in(width=390, height=844, has_touch=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


LONG_SUMMARY = """() => {
    const node = document.getElementById("summary");
    node.textContent = "High 1 · Medium 3 | other beds: High 1 · Medium 2 · Low 4";
    return node.getBoundingClientRect().right;
}"""


def test_a_phone_shows_all_of_a_long_summary(sign_in):
    page = sign_in(width=390, height=844, has_touch=True)
    assert page.evaluate(LONG_SUMMARY) <= 390


def test_a_dead_judge_is_said_aloud_and_the_wall_recovers(sign_in, hub, monitor):
    page = sign_in()
    [intake] = hub.pids("intake")
    os.kill(intake, signal.SIGKILL)
    expect(page.locator("#feed-banner")).to_contain_text("判读服务停止", timeout=15_000)
    expect(page.locator("#feed-banner")).to_be_empty(timeout=30_000)
    monitor.numerics("w/icu/bed-04", 1, {"hr": 66})
    expect(number(page, "w/icu/bed-04", "hr")).to_have_text("66")


def test_a_server_that_hangs_or_dies_never_leaves_numbers_looking_live(sign_in, hub, monitor):
    page = sign_in()
    [dashboard] = hub.pids("dashboard")
    os.kill(dashboard, signal.SIGSTOP)
    expect(page.locator("#feed-banner")).to_contain_text("数值已停止更新", timeout=15_000)
    os.kill(dashboard, signal.SIGKILL)
    expect(page.locator("#feed-banner")).to_be_empty(timeout=30_000)
    monitor.numerics("w/icu/bed-04", 2, {"hr": 67})
    expect(number(page, "w/icu/bed-04", "hr")).to_have_text("67")


def send_waves(monitor, bed, seconds, *, until=lambda: False, missing=()):
    """Send ECG II live, half a second a chunk."""
    start = time.time_ns()
    t = np.arange(50) / 100
    for seq in range(int(seconds * 2)):
        if until():
            return
        samples = (200 * np.exp(-((t - 0.25) ** 2) / 0.0004)).astype(np.int16)
        if seq not in missing:
            at = start + seq * 500_000_000
            monitor.waves(bed, seq, samples, start_ns=0, measured_ns=at)
        time.sleep(max(0, (start + (seq + 1) * 500_000_000 - time.time_ns()) / 1e9))


def inked(page):
    """Return how many columns of the first lane hold some of the trace."""
    return page.evaluate(
        """() => {
            const canvas = document.querySelector(".lane canvas");
            const {data, width, height} = canvas.getContext("2d").getImageData(
                0, 0, canvas.width, canvas.height);
            let columns = 0;
            for (let x = 0; x < width; x++)
                for (let y = 0; y < height; y++)
                    if (data[4 * (y * width + x) + 3]) { columns += 1; break; }
            return columns;
        }"""
    )


def test_waveforms_sweep_and_a_lost_feed_is_said_and_leaves_no_old_trace(sign_in, monitor):
    page = sign_in()
    monitor.numerics("w/icu/bed-04", 50, {"hr": 60})
    page.goto(page.url + "bed/w/icu/bed-04")
    expect(page.get_by_text("本床未发送波形")).to_be_visible()
    sender = Thread(target=send_waves, args=(monitor, "w/icu/bed-04", 12))
    sender.start()
    lane = page.locator(".lane")
    expect(lane).to_have_count(1)
    expect(lane.locator(".lane-name")).to_have_text("心电 II")
    page.wait_for_timeout(3500)
    before = page.evaluate("window.vigilWaves.draws")
    wide = inked(page)
    assert wide > 60
    page.wait_for_timeout(1000)
    assert page.evaluate("window.vigilWaves.draws") - before > 20
    expect(page.locator(".waves .delay")).to_contain_text("缓冲")
    again = sign_in("expert")
    again.goto(again.url + "bed/w/icu/bed-04")
    again.wait_for_selector(".lane")
    again.wait_for_timeout(1200)
    assert inked(again) > 60  # who comes later sees the last seconds at once
    sender.join()
    expect(lane).to_have_attribute("data-state", "wave_lost", timeout=10_000)
    expect(lane.locator(".lane-state")).to_have_text("波形中断")
    expect(page.locator(".lane")).to_have_count(1)
    until(page, "document.querySelector('.lane canvas').width > 0")
    hub_side = page.evaluate("window.vigilWaves.chunks")
    assert hub_side >= 8
    page.wait_for_timeout(12_000)  # the sweep has gone round: nothing old is left
    assert inked(page) == 0
    assert page.problems == []


def test_a_lead_that_is_off_says_so(sign_in, monitor):
    page = sign_in()
    monitor.numerics("w/icu/bed-03", 90, {"hr": 60})
    page.goto(page.url + "bed/w/icu/bed-03")
    page.wait_for_selector("#waves .head")
    page.wait_for_timeout(500)
    start = time.time_ns()
    for seq in range(4):
        off = np.full(50, -32_768, np.int16)
        monitor.waves("w/icu/bed-03", seq, off, start_ns=0, measured_ns=start + seq * 500_000_000)
        time.sleep(0.5)
    expect(page.locator(".lane-state")).to_have_text("导联/探头脱落")


def test_who_was_told_is_shown_and_an_alert_can_be_handed_over(hub, sign_in, monitor):
    done = hub.run("care", "ladder", "--unit", "w/icu", "--by", "lead")
    assert done.returncode == 0, done.stderr
    page = sign_in()
    hub.wait("the ladder is known", lambda: hub.json("care", "list"))
    for seq in range(600, 603):
        monitor.numerics("w/icu/bed-04", seq, {"spo2": 70}, boot="ladder")
    alert = page.locator("#rail .alert.high", has_text="4床")
    expect(alert).to_contain_text("已通知")
    for seq in range(603, 625):
        monitor.numerics("w/icu/bed-04", seq, {"spo2": 70}, boot="ladder",
                         measured_ms=time.time_ns() // 1_000_000 + (seq - 603) * 1000)  # fmt: skip
    expect(page.locator("#rail .kept summary")).to_contain_text("已抑制")
    page.locator("#rail .kept summary").click()
    expect(page.locator("#rail .kept .alert").first).to_contain_text("抑制")
    hub.run("care", "ladder", "--unit", "w/icu", "--by", "lead", "--off")
    assert page.problems == []


def test_what_is_not_as_usual_with_a_patient_stands_on_the_bed(hub, sign_in, monitor):
    bed = "w/icu/bed-01"
    stay = hub.run("care", "admit", "--bed", bed, "--by", "li", "--age", "12", "--limit", "DNI")
    name = stay.stdout.strip()
    done = hub.run("care", "except", name, "spo2_low", "--by", "li", "--reason", "COPD", "--below",
                   "85", "--until", "+6h")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for seq in range(800, 803):
        monitor.numerics(bed, seq, {"hr": 80, "spo2": 97}, boot="care")
    page = sign_in()
    expect(tile(page, bed).locator(".score")).to_have_text("未评分")
    page.goto(f"{hub.address}/bed/{bed}")
    care = page.locator(".care")
    for words in ("未评分", "治疗限制: DNI", "COPD", "< 85", "li"):
        expect(care).to_contain_text(words)
    outside = """node => [...node.children].filter((n) => n.getBoundingClientRect().bottom >
        node.getBoundingClientRect().bottom + 1).map((n) => n.className)"""
    assert care.evaluate(outside) == []
    done = hub.run("care", "state", "standby", "--bed", bed, "--by", "li", "--until", "+30m",
                   "--reason", "CT")  # fmt: skip
    assert done.returncode == 0, done.stderr
    expect(care).to_contain_text("外出 · CT")
    hub.run("care", "discharge", name, "--by", "li")
    expect(care).to_contain_text("空床")
    assert page.problems == []


def test_skipping_to_the_content_stays_on_the_page(sign_in):
    page = sign_in()
    page.evaluate("document.querySelector('.tile').dataset.same = 'yes'")
    page.locator(".skip").focus()
    page.keyboard.press("Enter")
    page.wait_for_timeout(800)
    expect(page.locator(".tile[data-same]")).to_have_count(1)
    assert page.evaluate("document.activeElement.id") == "main"
    page.go_back()
    page.wait_for_timeout(500)
    expect(page.locator(".tile[data-same]")).to_have_count(1)
