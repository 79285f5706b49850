"""The Dash tree: shell, wall and bed page. What lives below ``#wall`` and ``#bed`` is the scripts'.

Live numbers never pass through Dash: the nodes here are empty and carry what the scripts need.
"""

import json
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from dash import dcc, html

from dashboard.gate import Person
from dashboard.words import LANGUAGES, Language, script_words, word
from schemas.waves import CHANNELS


@dataclass(frozen=True, slots=True)
class Place:
    """A bed's place in words, by language."""

    hospital: tuple[str, str]
    unit: tuple[str, str]
    number: str


def shell() -> Any:
    """Return the root of every page: the address, and where the page goes."""
    return html.Div([dcc.Location(id="url"), html.Div(id="page")])


def page(
    person: Person,
    language: Language,
    path: str,
    places: dict[str, Place],
    bed: str | None,
    known: bool,  # noqa: FBT001
) -> Any:
    """Return the whole page for a path."""
    content: Any
    if bed is None:
        content = html.Main(html.Div(id="wall"), id="main")
    elif known:
        content = html.Main(_bed(bed, language), id="main")
    else:
        content = html.Main(
            [
                html.P(word("no_bed", language).format(bed=bed), className="problem"),
                dcc.Link(word("back", language), href="/"),
            ],
            id="main",
        )
    at = LANGUAGES.index(language)
    here = {
        name: {"h": p.hospital[at], "u": p.unit[at], "n": p.number} for name, p in places.items()
    }
    return html.Div(
        [
            html.Header(
                [
                    dcc.Link(word("title", language), href="/", className="brand"),
                    html.Span(id="summary", **{"aria-live": "polite"}),
                    html.Span(className="spring"),
                    html.Span(id="feed-state", role="status"),
                    html.Button(id="sound", type="button"),
                    html.Span(person.username, className="person"),
                    html.Button(
                        word("switch", language),
                        id="language",
                        **{"data-to": "en" if language == "zh" else "zh"},
                    ),
                    html.Form(
                        html.Button(word("sign_out", language), type="submit"),
                        action="/logout",
                        method="POST",
                    ),
                ],
                className="bar",
            ),
            html.Div(id="feed-banner", role="alert"),
            content,
            html.Footer(word("supplement", language)),
            html.Div(
                id="context",
                hidden=True,
                **{
                    "data-words": json.dumps(script_words(language), ensure_ascii=False),
                    "data-places": json.dumps(here, ensure_ascii=False),
                    "data-lang": language,
                    "data-bed": bed or "",
                    "data-channels": json.dumps(
                        {
                            channel.name: {
                                "name": (channel.zh, channel.en)[at],
                                "kind": channel.kind,
                                "order": order,
                            }
                            for order, channel in enumerate(CHANNELS.values())
                        },
                        ensure_ascii=False,
                    ),
                },
            ),
        ],
        id="root",
        lang="zh-CN" if language == "zh" else "en",
        key=f"{path}{language}",
    )


def _bed(bed: str, language: Language) -> Any:
    return html.Div(
        [
            html.Div(id="bed"),
            html.Section(html.Div(id="waves"), className="panel waves"),
            html.Section(
                [
                    html.Div(
                        [
                            html.H2(word("trends", language)),
                            dcc.RadioItems(
                                id="span",
                                value="hour",
                                inline=True,
                                className="choice",
                                options=[
                                    {"label": word(k, language), "value": k}
                                    for k in ("hour", "day")
                                ],
                            ),
                        ],
                        className="head",
                    ),
                    html.P(id="trend-note", className="note"),
                    dcc.Graph(
                        id="trend",
                        responsive=True,
                        style={"height": "max(430px, calc(100vh - 640px))"},
                        config={
                            "displayModeBar": False,
                            "locale": "zh-CN" if language == "zh" else "en",
                        },
                    ),
                ],
                className="panel trends",
            ),
            html.Section(
                [html.H2(word("alert_history", language)), html.Div(id="history")],
                className="panel",
            ),
            dcc.Store(id="bed-name", data=bed),
            dcc.Interval(id="refresh", interval=10_000),
        ],
        className="bed-page",
    )


def _state(row: dict[str, Any]) -> str:
    """Return the word for what has become of an alert."""
    if row["kind"] in ("resolved", "finding"):
        return str(row["kind"])
    if row["latched"]:
        return "latched"
    return "acknowledged" if row["acknowledged_by"] else "open"


def history(rows: list[dict[str, Any]], language: Language, zone: tzinfo) -> Any:
    """Return the bed's alerts of the last day as a list, newest first, in the browser's time."""
    if not rows:
        return html.P(word("history_empty", language), className="note")
    items = []
    for row in rows:
        state = _state(row)
        priority = "technical" if row["technical"] else row["priority"]
        note = [html.Span(word(state, language), className=f"state {state}")]
        if row["muted_by"]:
            note.append(html.Span(word("muted_by", language).format(what=row["muted_by"])))
        if row["acknowledged_by"]:
            note.append(html.Span(word("by", language).format(who=row["acknowledged_by"])))
        if row["delayed"]:
            note.append(html.Span(word("delayed", language)))
        items.append(
            html.Li(
                [
                    html.Span(f"{row['onset_at'].astimezone(zone):%H:%M:%S}", className="time"),
                    html.Span(word(priority, language), className=f"mark {priority}"),
                    html.Span(row[language], className="sentence"),
                    *note,
                ]
            )
        )
    return html.Ul(items, className="history")
