"""The Dash tree: the shell of every page. What lives below its empty nodes is the scripts'.

Live numbers never pass through Dash: the nodes here are empty and carry what the scripts need.
"""

import json
from dataclasses import dataclass
from typing import Any

from dash import dcc, html

from care.roles import May
from dashboard.gate import Person
from dashboard.words import LANGUAGES, Language, script_words, word
from schemas.waves import CHANNELS

NAVIGATION = (
    ("/", "wall"),
    ("/consults", "consults"),
    ("/ward", "ward"),
    ("/review", "review"),
    ("/rules", "rules"),
    ("/handover", "handover"),
    ("/system", "system"),
)


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
    *,
    numbers: bool = False,
) -> Any:
    """Return the whole page for a path, with the places that the person may see."""
    first, _, argument = path.strip("/").partition("/")
    at = LANGUAGES.index(language)
    here = {
        name: {"h": p.hospital[at], "u": p.unit[at], "n": p.number} for name, p in places.items()
    }
    return html.Div(
        [
            html.A(word("skip", language), href="#main", className="skip"),
            html.Header(
                [
                    dcc.Link(word("title", language), href="/", className="brand"),
                    html.Nav(
                        [
                            dcc.Link(
                                word(name, language),
                                href=href,
                                className="here" if href == f"/{first}" else "",
                            )
                            for href, name in NAVIGATION
                        ],
                        **{"aria-label": word("menu", language)},
                    ),
                    html.Span(id="summary", **{"aria-live": "polite"}),
                    html.Span(className="spring"),
                    html.Span(id="feed-state", role="status"),
                    html.Button(id="sound", type="button"),
                    html.Button(
                        word("numbers_on" if numbers else "numbers_off", language),
                        id="numbers",
                        type="button",
                        **{"aria-pressed": str(numbers).lower()},
                    ),
                    html.Span(person.username, className="person"),
                    html.Button(
                        word("switch", language),
                        id="language",
                        type="button",
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
            html.Div(word("numbers_says", language), className="numbers-note", hidden=not numbers),
            html.Main(_content(first, argument, language, places), id="main"),
            html.Footer(word("supplement", language)),
            html.Div(
                id="context",
                hidden=True,
                **{
                    "data-words": json.dumps(script_words(language), ensure_ascii=False),
                    "data-places": json.dumps(here, ensure_ascii=False),
                    "data-lang": language,
                    "data-bed": argument if first == "bed" else "",
                    "data-me": json.dumps(
                        {
                            "username": person.username,
                            "role": person.role,
                            "may": [what for what in May if person.may(what)],
                        }
                    ),
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


def _content(first: str, argument: str, language: Language, places: dict[str, Place]) -> Any:
    """Return the empty nodes of a page, by the first level of its path."""
    if first == "bed" and argument not in places:
        return [
            html.P(word("no_bed", language).format(bed=argument), className="problem"),
            dcc.Link(word("back", language), href="/"),
        ]
    if first == "bed":
        return html.Div(
            [
                html.Div(id="bed"),
                html.Div(
                    [
                        html.Section(html.Div(id="waves"), className="panel waves"),
                        html.Div(**{"data-screen": "bed", "data-argument": argument}),
                    ],
                    className="bed-right",
                ),
            ],
            className="bed-page",
        )
    if f"/{first}" in {href for href, _ in NAVIGATION[1:]}:
        return html.Div(
            className=f"screen {first}", **{"data-screen": first, "data-argument": argument}
        )
    return html.Div(id="wall")
