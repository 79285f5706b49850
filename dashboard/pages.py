"""The shell of every page: header, navigation, empty nodes. What lives below is the scripts'.

A page is asked for whole, or as a part: what stands inside ``#page``, which the scripts put in the
place of the page before, so that the sound and the way back go on.
"""

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from care.roles import May
from dashboard.gate import PAGES, Person
from dashboard.words import LANGUAGES, Language, as_language, script_words, word
from schemas.waves import CHANNELS

HERE = Path(__file__).parent
ASSETS = HERE / "assets"
NAVIGATION = (("/", "wall"), *((f"/{name}", name) for name in PAGES if name != "bed"))
FIRST = ("kit.js", "sound.js", "vigil.js", "waves.js")
"""The scripts whose order matters; the screens follow, libraries come when they are needed."""
FOREVER = "public, max-age=31536000, immutable"
_templates = Environment(
    loader=FileSystemLoader(HERE), autoescape=select_autoescape(), trim_blocks=True
)


@dataclass(frozen=True, slots=True)
class Place:
    """A bed's place in words, by language."""

    hospital: tuple[str, str]
    unit: tuple[str, str]
    number: str


class Assets(StaticFiles):
    """The scripts, styles and fonts; asked for with their version, a browser keeps them."""

    def __init__(self) -> None:
        super().__init__(directory=ASSETS)
        found = sorted(p for p in ASSETS.rglob("*") if p.is_file())
        self.version = sha256(b"".join(p.read_bytes() for p in found)).hexdigest()[:12]
        names = [p.relative_to(ASSETS).as_posix() for p in found if p.suffix == ".js"]
        later = [name for name in names if name not in FIRST and name.startswith("screens/")]
        self.scripts = (*FIRST, *later)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Return a file, to be kept for good when its version was named."""
        response = await super().get_response(path, scope)
        kept = f"v={self.version}".encode() in scope["query_string"]
        response.headers["Cache-Control"] = FOREVER if kept else "no-cache"
        return response


def render(name: str, **fields: Any) -> str:
    """Return a template of this folder, filled."""
    return _templates.get_template(name).render(**fields)


def page(  # noqa: PLR0913 - what a page depends on
    assets: Assets,
    person: Person,
    language: Language,
    path: str,
    places: dict[str, Place],
    *,
    numbers: bool = False,
    part: bool = False,
    demo: bool = False,
) -> str:
    """Return the page of a path, with the places that the person may see."""
    first, _, argument = path.strip("/").partition("/")
    at = LANGUAGES.index(language)
    here = {
        name: {"h": p.hospital[at], "u": p.unit[at], "n": p.number} for name, p in places.items()
    }
    me = {
        "username": person.username,
        "role": person.role,
        "may": [what for what in May if person.may(what)],
    }
    return render(
        "page.html",
        assets=assets,
        part=part,
        language=language,
        lang="zh-CN" if language == "zh" else "en",
        say=lambda key: word(key, language),
        navigation=NAVIGATION,
        person=person,
        person_may=me["may"],
        demo=demo,
        first=first,
        argument=argument,
        known=first != "bed" or argument in places,
        numbers=numbers,
        data={
            **_of_language(language),
            "places": _json(here),
            "lang": language,
            "bed": argument if first == "bed" else "",
            "me": _json(me),
        },
    )


@cache
def _of_language(language: Language) -> dict[str, str]:
    """Return what the pages of a language have in common: the words and the channels."""
    at = LANGUAGES.index(language)
    channels = {
        channel.name: {
            "name": (channel.zh, channel.en)[at],
            "kind": channel.kind,
            "order": order,
        }
        for order, channel in enumerate(CHANNELS.values())
    }
    return {"words": _json(script_words(language)), "channels": _json(channels)}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def language_of(request: Request) -> Language:
    """Return the language that the browser asks for."""
    return as_language(request.cookies.get("vigil_language"))


def render_page(name: str, language: Language, **fields: Any) -> str:
    """Return a page of its own: sign-in, password, offline."""
    lang = "zh-CN" if language == "zh" else "en"
    return render(name, lang=lang, say=lambda key: word(key, language), **fields)
