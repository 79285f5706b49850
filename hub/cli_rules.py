"""Commands around rules: check, show, diff, try, publish; why, burden, evaluate, score."""

import csv
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hub.cli_base import (
    Json,
    app,
    call,
    dump,
    err,
    open_tables,
    out,
    parse_when,
    read_settings,
    show,
)
from schemas.errors import HubError

rules_app = typer.Typer(
    help="Rule packs: check, show, compare, try, publish.", no_args_is_help=True
)
app.add_typer(rules_app, name="rules")
score_app = typer.Typer(help="Early-warning scores of a table.", no_args_is_help=True)
app.add_typer(score_app, name="score")

Overlays = Annotated[Path | None, typer.Option(help="Folder of overlays; default: the setting.")]
PackPath = Annotated[Path | None, typer.Argument(help="Baseline (TOML); default: the setting.")]
OVER_BUDGET = 3


@rules_app.command("check")
def check(pack: PackPath = None, overlays: Overlays = None) -> None:
    """Check a baseline and its overlays; name file, line, key and fix of what is wrong."""
    from hub.packs import configured_rules

    found = configured_rules(read_settings(), pack, overlays)
    baseline = found.baseline
    out.print(
        f"{baseline.name} {baseline.version}: {len(baseline.rules)} rules, "
        f"{len(found.overlays)} overlays: good",
        highlight=False,
    )


@rules_app.command("show")
def show_rules(
    published: Annotated[
        bool, typer.Option(help="What was published last, not the files of the settings.")
    ] = False,
    bed: Annotated[str, typer.Option(help="What applies to this bed, and from where.")] = "",
    pack: PackPath = None,
    overlays: Overlays = None,
    json: Json = False,
) -> None:
    """Show the rules: of the baseline, or as they apply to a bed."""
    from hub.packs import configured_rules
    from schemas.topics import check_bed

    found = configured_rules(read_settings(), pack, overlays)
    if published:
        found = _published(found)
    effective = found.effective(found.of_bed(check_bed(bed)) if bed else ())
    rows = [_rule_row(rule, found.baseline.version) for rule in effective.rules.values()]
    show(rows, json, ("rule", "kind", "limit", "hold_s", "priority", "floor", "from", "zh"))


def _published(otherwise: Any) -> Any:
    """Return the rule set that was published last; the files' when none was."""
    from hub.clock import now_ns
    from hub.explain import rules_at

    found: list[Any] = []

    async def work() -> None:
        async with open_tables(read_settings()) as connection:
            found.append(await rules_at(connection, now_ns(), otherwise))

    call(work())
    return found[0]


def _rule_row(rule: Any, version: str) -> dict[str, Any]:
    limit = " & ".join(
        f"{term.of} {'>' if term.above else '<'} {term.trigger:g} (ok {term.recovery:g})"
        for term in rule.terms
    )
    return {
        "rule": rule.id,
        "kind": rule.kind.value,
        "limit": limit,
        "hold_s": rule.hold_s,
        "samples": rule.samples,
        "recovery_hold_s": rule.recovery_hold_s,
        "priority": rule.priority.value,
        "extreme": rule.extreme,
        "latching": rule.latching,
        "floor": rule.floor,
        "from": rule.overlay or f"baseline@{version}",
        "zh": rule.zh,
        "en": rule.en,
    }


@rules_app.command("diff")
def diff(
    a: Annotated[Path, typer.Argument(help="Baseline A (TOML).")],
    b: Annotated[Path, typer.Argument(help="Baseline B.")],
    bed: Annotated[str, typer.Option(help="As they apply to this bed.")] = "",
    json: Json = False,
) -> None:
    """Compare two rule sets rule by rule."""
    from hub.packs import load_rules

    sides = []
    for path in (a, b):
        found = load_rules(path)
        rows = found.effective(found.of_bed(bed) if bed else ()).rules.values()
        sides.append({rule.id: _rule_row(rule, "") for rule in rows})
    changed: list[dict[str, Any]] = []
    for rule in dict.fromkeys([*sides[0], *sides[1]]):
        before, after = sides[0].get(rule, {}), sides[1].get(rule, {})
        if before != after:
            keys = [key for key in before | after if before.get(key) != after.get(key)]
            changed.append(
                {
                    "rule": rule,
                    "changed": ", ".join(keys),
                    "a": before or None,
                    "b": after or None,
                    "limit_a": before.get("limit", "-"),
                    "limit_b": after.get("limit", "-"),
                }
            )
    if not changed and not json:
        out.print("no difference")
        return
    show(changed, json, ("rule", "changed", "limit_a", "limit_b"))


@rules_app.command("try")
def try_rules(
    pack: Annotated[Path, typer.Argument(help="The changed baseline (TOML).")],
    overlays: Annotated[
        Path | None, typer.Option(help="The changed overlays; default: the setting.")
    ] = None,
    since: Annotated[str, typer.Option(help="RFC 3339 time, or e.g. -7d or 7d.")] = "7d",
    until: Annotated[str, typer.Option(help="RFC 3339 time, or now.")] = "now",
    bed: Annotated[list[str] | None, typer.Option(help="Only these beds.")] = None,
    budget: Annotated[
        float | None, typer.Option(help="Fail when more alerts a bed-day would come.", min=0)
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Write all of it (.json) or a chart (.png).")
    ] = None,
    json: Json = False,
) -> None:
    """Run a changed rule set over what is stored: alerts before and after, what is new and lost.

    Exit code 3 when --budget is exceeded.
    """
    from hub import trial
    from hub.packs import configured_rules

    settings = read_settings()
    sides = (configured_rules(settings), configured_rules(settings, pack, overlays))
    first, last = (
        parse_when(since if since[:1] == "-" or "T" in since else f"-{since}"),
        parse_when(until),
    )
    if first >= last:
        raise HubError(f"--since {since} is not before --until {until}")
    found: dict[str, Any] = {}

    async def work() -> None:
        async with open_tables(settings) as connection:
            beds = bed or await trial.beds_with_data(connection, first)
            columns = (
                TextColumn("beds {task.completed}/{task.total}"),
                BarColumn(),
                TimeRemainingColumn(),
            )
            with Progress(*columns, console=err, transient=True) as progress:
                task = progress.add_task("try", total=len(beds))
                made = await trial.run_trial(
                    connection, settings, sides, beds, (first, last), lambda: progress.advance(task)
                )
            found.update(trial.summarise(made))

    call(work())
    if output is not None:
        trial.write(found, output)
    if json:
        dump(found)
    else:
        trial.render(found, out)
    rate = found["after"]["alerts_per_bed_day"]
    if budget is not None and rate is not None and rate > budget:
        err.print(f"[red]over budget:[/] {rate} alerts a bed-day, {budget:g} allowed")
        raise typer.Exit(OVER_BUDGET)


@rules_app.command("publish")
def publish(
    reason: Annotated[str, typer.Option(help="Why; it stays in the history.")],
    by: Annotated[str, typer.Option(help="Who.")],
    pack: PackPath = None,
    overlays: Overlays = None,
) -> None:
    """Check a rule set, keep it in the history, and have intake run it from now on."""
    from hub.publish_rules import publish_rules

    settings = read_settings()
    version: list[str] = []

    async def work() -> None:
        async with open_tables(settings) as connection:
            version.append(
                await publish_rules(settings, connection, pack, overlays, by=by, reason=reason)
            )

    call(work())
    out.print(f"published {version[0]}", highlight=False)


@rules_app.command("history")
def history(
    limit: Annotated[int, typer.Option(help="At most so many.", min=1)] = 50, json: Json = False
) -> None:
    """List the rule sets that were published, newest first: the first is what intake runs."""
    from hub.reads import fetch

    rows: list[dict[str, Any]] = []

    async def work() -> None:
        async with open_tables(read_settings()) as connection:
            rows.extend(await fetch(connection, "select_rule_sets", limit=limit))

    call(work())
    show(rows, json, ("at", "version", "by", "reason", "overlays"))


@app.command()
def why(
    bed: Annotated[str, typer.Option(help="hospital/unit/bed")],
    at: Annotated[str, typer.Option(help="RFC 3339 time, now, or e.g. -5m.")] = "now",
    rule: Annotated[str | None, typer.Option(help="Only this rule, by id or name.")] = None,
    run: Annotated[str | None, typer.Option("--run", help="In this run.")] = None,
    json: Json = False,
) -> None:
    """Say of every rule on a bed why it did or did not alert at a moment."""
    from hub.explain import why as ask
    from hub.packs import configured_rules
    from hub.sites import load_sites
    from schemas.times import from_datetime
    from schemas.topics import check_bed

    settings = read_settings()
    check_bed(bed)
    moment = from_datetime(parse_when(at))
    found: dict[str, Any] = {}

    async def work() -> None:
        async with open_tables(settings, run) as connection:
            labels = load_sites(settings.sites).labels()
            rules = configured_rules(settings)
            found.update(await ask(connection, settings, rules, labels, bed, moment, rule))

    call(work())
    if rule is not None and not found["rules"]:
        raise HubError(f"rule {rule}: none of this name on {bed}; `vigil rules show --bed {bed}`")
    if json:
        dump(found)
        return
    _print_why(found)


def _print_why(found: dict[str, Any]) -> None:
    out.print(f"{found['bed']} at {found['at']}: {found['state']}", highlight=False)
    inputs = ", ".join(
        f"{name} {item['value']:g} ({item['age_s']:g} s{'' if item['fresh'] else ', stale'})"
        for name, item in found["inputs"].items()
    )
    out.print(f"inputs: {inputs or 'none'}", highlight=False, soft_wrap=True)
    for name, item in found["observations"].items():
        gone = ", expired" if item["expired"] else ""
        out.print(f"observed: {name} {item['value']} by {item['by']} ({item['age_s']:g} s{gone})")
    news2 = found["scores"]["news2"]
    lacks = f"; missing {', '.join(news2['missing'])}" if news2["missing"] else ""
    out.print(f"NEWS2: {news2['total']} ({news2['risk']}){lacks}", highlight=False)
    table = Table("rule", "priority", "state", "why", "为什么")
    for row in found["rules"]:
        table.add_row(row["rule"], row["priority"], row["reason"], row["why_en"], row["why_zh"])
    out.print(table)


@app.command()
def burden(
    since: Annotated[
        str | None, typer.Option(help="RFC 3339 time, or e.g. -7d; of a run: all of it.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339 time, or now.")] = None,
    bed: Annotated[str | None, typer.Option(help="Only this bed.")] = None,
    zone: Annotated[str, typer.Option(help="Time zone of the shifts.")] = "Asia/Shanghai",
    run: Annotated[str | None, typer.Option("--run", help="In this run.")] = None,
    json: Json = False,
) -> None:
    """Say how many alerts a bed-day people get, for how long, how soon they acknowledge."""
    from hub.burden import burden as measure
    from hub.runs import list_runs

    found: dict[str, Any] = {}

    async def work() -> None:
        settings = read_settings()
        first = parse_when(since or "-7d")
        last = parse_when(until or "now")
        if run is not None:
            async with open_tables(settings) as connection:
                mine = [r for r in await list_runs(connection) if r["id"] == run]
            if mine and mine[0]["first_at"] is not None:
                first = parse_when(since) if since else mine[0]["first_at"]
                last = parse_when(until) if until else mine[0]["last_at"] + timedelta(seconds=1)
        async with open_tables(settings, run) as connection:
            found.update(await measure(connection, (first, last), bed, zone))

    call(work())
    if json:
        dump(found)
        return
    columns = ("", "bed_days", "alerts", "alerts_per_bed_day", "alarm_hours_per_bed_day",
               "acknowledged", "acknowledged_after_median_s")  # fmt: skip
    rows = [{"": "all", **found}]
    rows += [{"": name, **row} for name, row in found["by_hospital"].items()]
    rows += [{"": name, **row} for name, row in found["by_shift"].items()]
    show(rows, json=False, columns=columns)
    for key, name in (("top_rules", "rule"), ("top_beds", "bed")):
        listed = ", ".join(f"{row[name]} {row['alerts']}" for row in found[key])
        out.print(f"{key.replace('_', ' ')}: {listed}", highlight=False, soft_wrap=True)


@app.command()
def deliveries(
    since: Annotated[str, typer.Option(help="RFC 3339 time, or e.g. -1d.")] = "-1d",
    failed: Annotated[bool, typer.Option(help="Only those that did not arrive.")] = False,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 200,
    json: Json = False,
) -> None:
    """List notifications to people and what became of them."""
    from hub.reads import fetch

    rows: list[dict[str, Any]] = []

    async def work() -> None:
        async with open_tables(read_settings()) as connection:
            asked = {"since": parse_when(since), "failed": failed, "limit": limit, "scope": None}
            rows.extend(await fetch(connection, "select_deliveries", **asked))

    call(work())
    show(rows, json, ("at", "bed", "person", "role", "target", "state", "attempts", "detail"))


@app.command()
def evaluate(
    path: Annotated[Path, typer.Argument(help="A recording (CSV), or a folder of them.")],
    output: Annotated[Path, typer.Option(help="Folder for result.json and figures.")] = Path(
        "evaluation"
    ),
    pack: Annotated[Path | None, typer.Option(help="Baseline to evaluate (TOML).")] = None,
    json: Json = False,
) -> None:
    """Run recordings through the rules; count alerts beside plain limits and expert labels.

    A CSV with record, alarm_type and is_true beside a recording labels its alarms. Without labels:
    alerts a bed-day, and how many onsets of MAP < 60 and SpO2 < 88 were announced.
    """
    from hub import evaluate as evaluation
    from hub.packs import configured_rules

    rules = configured_rules(read_settings(), pack)
    results = [evaluation.evaluate(file, rules, err) for file in evaluation.recordings_at(path)]
    written = evaluation.write(results, output)
    if json:
        dump(results[0] if len(results) == 1 else {"recordings": results})
        return
    for result in results:
        evaluation.render(result, out)
    for file in written:
        out.print(f"written: {file}", highlight=False)


@score_app.command("news2")
def score_news2(
    path: Annotated[Path, typer.Argument(help="CSV: id,rr,spo2,spo2_scale,on_oxygen,…")],
) -> None:
    """Print NEWS2 of every row as CSV: its parts, total, risk. Empty cells are missing."""
    from hub.score import OUT
    from hub.score import score_news2 as score

    with path.open(encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        rows = score(file, path.name)
        first = True
        for row, problems in rows:
            if first:
                writer.writerow(OUT)
                first = False
            writer.writerow(row)
            for problem in problems:
                err.print(f"[yellow]vigil:[/] {problem}", highlight=False, soft_wrap=True)
        if first:
            writer.writerow(OUT)
