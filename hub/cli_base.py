"""What every command shares: the Typer application, settings, errors as one line, output."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from psycopg import AsyncConnection
from rich.console import Console
from rich.table import Table

from hub.settings import Settings, load_settings
from schemas.errors import HubError

app = typer.Typer(
    help="Vigil 守望: a hub for real-time ICU vital signs. It supplements the bedside alarm.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
options: dict[str, Any] = {}
PIPE_WIDTH = 250
"""Columns of a table that no terminal bounds."""
err = Console(stderr=True)
out = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


@app.callback()
def main(
    data: Annotated[Path | None, typer.Option(help="Data folder (VIGIL_DATA).")] = None,
    settings: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
) -> None:
    """Options that every command takes."""
    from hub.logs import quiet

    quiet()
    options.update(data=data, file=settings)


def read_settings(data: Path | None = None) -> Settings:
    """Return the settings; raise SettingsError for a variable or value that is none."""
    from hub.environment import check_names

    check_names(os.environ)
    return load_settings(options.get("file"), data=data or options.get("data"))


def call(work: Coroutine[Any, Any, None]) -> None:
    """Run a command's coroutine to its end."""
    asyncio.run(work)


@asynccontextmanager
async def open_tables(settings: Settings, run: str | None = None) -> AsyncIterator[AsyncConnection]:
    """Yield a connection to the live tables or to a run's, the embedded database serving."""
    from hub.database import connect
    from hub.runs import open_run
    from hub.up import database_there

    async with database_there(settings) as there:
        if run is not None:
            async with open_run(there.database_address, run) as connection:
                yield connection
        else:
            async with await connect(there.database_address) as connection:
                yield connection


def parse_when(text: str) -> datetime:
    """Return the time that a person means; HubError says how to write one."""
    from schemas import times

    try:
        return times.parse_when(text, datetime.now(UTC))
    except ValueError as error:
        raise HubError(str(error)) from None


def show(rows: list[dict[str, Any]], json: bool, columns: tuple[str, ...]) -> None:
    """Print rows: all of each as JSON, or some columns as a table."""
    if json:
        dump(rows)
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*(cell(row[column]) for column in columns))
    out.print(table)


def dump(value: object) -> None:
    """Print JSON for people and programs."""
    text = orjson.dumps(value, option=orjson.OPT_INDENT_2, default=str).decode()
    sys.stdout.write(text + "\n")


def cell(value: object) -> str:
    """Return a value as a table shows it."""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S%z")
    return "" if value is None else str(value)
