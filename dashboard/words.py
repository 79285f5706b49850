"""Every word on the screen, zh-CN (default) and English. The glossary is docs/glossary.md."""

from typing import Literal

from care.roles import ROLES
from dashboard.screen_words import SCREEN_WORDS
from schemas.observations import OBSERVATIONS
from schemas.vitals import KNOWN

Language = Literal["zh", "en"]
LANGUAGES: tuple[Language, ...] = ("zh", "en")

WORDS: dict[str, tuple[str, str]] = {
    "title": ("Vigil 守望", "Vigil 守望"),
    "wall": ("总览", "Wall"),
    "switch": ("English", "中文"),
    "sign_in": ("登录", "Sign in"),
    "sign_out": ("退出", "Sign out"),
    "username": ("用户名", "Username"),
    "password": ("密码", "Password"),
    "sign_in_wrong": ("用户名或密码错误", "Wrong username or password"),
    "sign_in_wait": ("尝试次数过多，请稍后再试", "Too many attempts; try again later"),
    "sign_in_down": ("数据库暂不可用，请稍后再试", "The database is away; try again shortly"),
    "demo_mode": (
        "演示系统：无真实患者。以下账号的密码均为 vigil-demo，仅演示模式下存在。",
        "A demonstration: no real patients. These sign in with vigil-demo, in demo mode only.",
    ),
    "oidc_down": (
        "单位登录暂不可用，请稍后再试",
        "The hospital's sign-in is away; try again shortly",
    ),
    "oidc_refused": (
        "单位账号未获授权使用本系统，请联系管理员",
        "This hospital account is not admitted here; ask an administrator",
    ),
    "password_own": (
        "请设置您自己的密码（至少10位）",
        "Choose a password of your own (at least 10 characters)",
    ),
    "password_old": ("当前密码", "Current password"),
    "password_new": ("新密码", "New password"),
    "password_again": ("再次输入新密码", "New password again"),
    "password_save": ("保存", "Save"),
    "password_short": (
        "新密码至少10位，且不同于当前密码",
        "At least 10 characters, and not the old one",
    ),
    "password_differs": ("两次输入的新密码不一致", "The two new passwords differ"),
    "password_wrong": ("当前密码错误", "The current password is wrong"),
    "supplement": (
        "Vigil 为辅助信息系统，不能替代床旁监护仪报警。",
        "Vigil supplements the bedside monitor; it does not replace its alarms.",
    ),
    "alerts": ("报警", "Alerts"),
    "no_alerts": ("当前无报警", "No open alerts"),
    "acknowledge": ("确认", "Acknowledge"),
    "acknowledged": ("已确认", "Acknowledged"),
    "acknowledging": ("确认中…", "Sending…"),
    "ack_failed": ("确认失败，请重试", "Not sent; try again"),
    "high": ("高", "High"),
    "medium": ("中", "Medium"),
    "low": ("低", "Low"),
    "technical": ("技术", "Tech"),
    "delayed": ("延迟", "Delayed"),
    "open": ("未解除", "Open"),
    "resolved": ("已解除", "Resolved"),
    "finding": ("回顾发现", "Finding"),
    "connecting": ("正在连接…", "Connecting…"),
    "lost": ("与服务器连接中断，数值已停止更新", "Connection lost: the numbers are not live"),
    "broker_lost": ("数据总线中断，数值已停止更新", "Message bus lost: the numbers are not live"),
    "intake_lost": (
        "判读服务停止：Vigil 当前不会报警，请依靠床旁监护仪",
        "Judging has stopped: Vigil raises no alerts now; rely on the bedside monitor",
    ),
    "live": ("实时", "Live"),
    "stale": ("无新数据", "No new data"),
    "never": ("尚无数据", "No data yet"),
    "for_s": ("{n}秒", "{n} s"),
    "for_m": ("{n}分", "{n} min"),
    "for_h": ("{n}小时", "{n} h"),
    "ago_s": ("{n}秒前", "{n} s ago"),
    "ago_m": ("{n}分钟前", "{n} min ago"),
    "ago_h": ("{n}小时前", "{n} h ago"),
    "beds": ("张床", "beds"),
    "stale_beds": ("离线", "silent"),
    "other_beds": ("其他床", "other beds:"),
    "waves_only": ("仅有波形，无数值", "Waveforms only, no numbers"),
    "waves": ("波形", "Waveforms"),
    "no_waves": ("本床未发送波形", "This bed sends no waveforms"),
    "wave_lost": ("波形中断", "No waveform"),
    "wave_off": ("导联/探头脱落", "Lead or sensor off"),
    "wave_buffer": ("缓冲 {n} 秒", "buffered {n} s"),
    "trends": ("趋势", "Trends"),
    "trend_empty": ("此时段无数据", "No data in this period"),
    "no_bed": ("没有这张床：{bed}", "No such bed: {bed}"),
    "back": ("返回总览", "Back to the wall"),
    "latched": ("已过，待确认", "Over, to be acknowledged"),
    "muted": ("已抑制", "Muted"),
    "muted_by": ("被 {what} 抑制", "muted by {what}"),
    "shelved": ("搁置至 {until}", "Shelved until {until}"),
    "decline": ("无法处理，转交", "Can't take it"),
    "declined": ("已转交", "Handed over"),
    "told": ("已通知 {who}", "Told: {who}"),
    "grouped": ("{beds} 张床：{what}", "{beds} beds: {what}"),
    "order": ("排序", "Order"),
    "order_place": ("按病区", "By place"),
    "order_acuity": ("按危重程度", "By acuity"),
    "show": ("筛选", "Show"),
    "show_all": ("全部", "All"),
    "show_alarm": ("有报警", "In alarm"),
    "show_silent": ("离线", "Silent"),
    "hospital": ("医院", "Hospital"),
    "all_hospitals": ("全部医院", "All hospitals"),
    "find": ("查找床位或医院 ( / )", "Find bed or hospital ( / )"),
    "hidden_beds": ("筛选隐藏了 {n} 张床", "{n} beds hidden by the filter"),
    "sound_on": ("声音：开", "Sound on"),
    "sound_off": ("声音：关", "Sound off"),
    "sound_blocked": ("声音被浏览器阻止：点击开启", "Browser blocks sound: click to allow"),
    "undelivered": ("{n} 条通知未送达", "{n} notifications did not arrive"),
    "news2_none": ("NEWS2 –", "NEWS2 –"),
    "not_scored": ("未评分", "Not scored"),
    "empty": ("空床", "Empty"),
    "standby": ("外出", "Standby"),
    "back_at": ("预计 {at} 返回", "back at {at}"),
    "exceptions": ("个体化限值", "Patient limits"),
    "until": ("至 {at}", "until {at}"),
    "limits": ("治疗限制", "Treatment limits"),
    "off": ("关闭", "off"),
    "flush": ("冲洗/校零", "flushed"),
    "by": ("由 {who} 确认", "by {who}"),
    "missing": ("缺失", "missing"),
    "sentinel": ("无读数", "no reading"),
    "out_of_range": ("超出量程", "out of range"),
    "frozen": ("数值冻结", "frozen"),
    "jump": ("突变", "implausible jump"),
    "contested": ("床位冲突", "two devices"),
    "contradicted": ("与脉搏矛盾", "contradicted by pulse"),
    "questionable": ("可疑", "questionable"),
    "weak": ("信号弱", "weak signal"),
    "sensor_off": ("探头/导联脱落", "sensor off"),
    "calibrating": ("校准中", "calibrating"),
}

VITAL_SHORT: dict[str, tuple[str, str]] = {
    "hr": ("心率", "HR"),
    "spo2": ("血氧", "SpO₂"),
    "rr": ("呼吸", "RR"),
    "abp": ("动脉压", "ABP"),
    "nibp": ("无创压", "NIBP"),
    "temp": ("体温", "Temp"),
    "pr": ("脉率", "PR"),
    "pi": ("灌注", "PI"),
    "etco2": ("呼末CO₂", "etCO₂"),
    "cvp": ("CVP", "CVP"),
    "bp": ("血压", "BP"),
}


ROLE_WORDS: dict[str, tuple[str, str]] = {f"role_{name}": texts for name, texts in ROLES.items()}


OBSERVED = {f"obs_{kind.name}": (kind.zh, kind.en) for kind in OBSERVATIONS.values()}
_VITAL_NAMES = {v.name: (v.zh, v.en) for v in KNOWN.values()} | VITAL_SHORT
_UNITS = {v.name: (v.unit_zh, {"Cel": "°C"}.get(v.unit, v.unit)) for v in KNOWN.values()}
_ALL = WORDS | SCREEN_WORDS | ROLE_WORDS | OBSERVED


def word(key: str, language: Language) -> str:
    """Return one word or sentence."""
    return _ALL[key][LANGUAGES.index(language)]


def script_words(language: Language) -> dict[str, str]:
    """Return what the scripts in the browser say, short names of vitals included."""
    at = LANGUAGES.index(language)
    return {key: texts[at] for key, texts in _ALL.items()} | {
        f"{what}_{key}": texts[at]
        for what, table in (("vital", _VITAL_NAMES), ("unit", _UNITS))
        for key, texts in table.items()
    }


def as_language(text: str | None) -> Language:
    """Return the language of a cookie; zh when there is none."""
    return "en" if text == "en" else "zh"
