"""``vigil evaluate``: recordings through the real pipeline, judged beside plain limits."""

import csv
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from alerts.rulesets import RuleSet
from hub import evaluation
from hub.evaluation import ALARM_TYPES, NAIVE, Label, Span, Stay
from hub.replay import file_arrivals, load
from ingest.pipeline import Limits, Pipeline, new_state
from ingest.rerun import in_order, rerun
from schemas.errors import HubError, RecordingError
from simulators.recordings import EPOCH_NS, Recording

SPARSE_S = 30.0
SUFFIXES = (".csv", ".csv.gz")


def recordings_at(path: Path) -> list[Path]:
    """Return the recordings that ``path`` means: itself, or those in the folder."""
    if path.is_dir():
        found = [p for p in sorted(path.iterdir()) if p.name.endswith(SUFFIXES) and _is_one(p)]
        if not found:
            raise HubError(f"{path}: no CSV with a column t_seconds in it")
        return found
    return [path]


def _is_one(path: Path) -> bool:
    import gzip  # noqa: PLC0415 - only for folders

    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        return "t_seconds" in file.readline().strip().split(",")


def read_labels(path: Path, records: set[str]) -> tuple[dict[str, Label], list[str]]:
    """Return the labels beside a recording, and what people should know of them.

    Labels are a CSV with record, alarm_type and is_true; none when there is none. Raises
    RecordingError when it is there and cannot be read.
    """
    for beside in sorted(path.parent.glob("*.csv")):
        with beside.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if not {"record", "alarm_type", "is_true"} <= set(reader.fieldnames or []):
                continue
            labels: dict[str, Label] = {}
            others: Counter[str] = Counter()
            for row in reader:
                kind = row["alarm_type"].strip().lower()
                try:
                    at_s = float(row.get("alarm_t_seconds") or 300)
                    is_true = bool(int(row["is_true"]))
                except ValueError:
                    raise RecordingError(
                        f"{beside.name} line {reader.line_num}: is_true is 0 or 1, "
                        "alarm_t_seconds a number"
                    ) from None
                if row["record"] not in records:
                    others["of records that are not in the recording"] += 1
                elif kind not in ALARM_TYPES:
                    others[f"of {kind}, which our rules do not judge"] += 1
                else:
                    labels[row["record"]] = Label(kind, is_true, at_s)
            notes = [f"{beside.name}: {count} labels {what}" for what, count in others.items()]
            if labels:
                without = len(records) - len(labels)
                if without:
                    notes.append(f"{without} records have no label that is judged; left out")
                return labels, notes
            if others:
                return {}, [*notes, "no label is left: evaluated as burden"]
    return {}, []


def alert_spans(record: Recording, rules: RuleSet) -> list[Span]:
    """Return the alerts that the real pipeline gives on a record, by the record's own clock."""
    line = Pipeline(new_state("evaluate"), rules, {}, Limits())
    arrivals = in_order(file_arrivals(record, "evaluate/icu/bed", EPOCH_NS))
    events = [event for _, outcome in rerun(line, arrivals) for event in outcome.events]
    return evaluation.spans(events, EPOCH_NS, record.last_s)


def evaluate(path: Path, rules: RuleSet, console: Console) -> dict[str, Any]:
    """Return what one recording shows; progress on ``console``."""
    found = load(path)
    records = {name.removesuffix(".csv"): record for name, record in found.records.items()}
    labels, notes = read_labels(path, set(records))
    chosen = [records[name] for name in sorted(labels)] if labels else list(records.values())
    columns = (TextColumn(path.name), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=len(chosen))

        def step() -> None:
            progress.advance(task)

        result = _alarms(chosen, labels, rules, step) if labels else _burden(chosen, rules, step)
    return {
        "recording": path.name,
        "kind": "labelled alarms" if labels else "burden",
        "records": len(chosen),
        "pack": {"name": rules.baseline.name, "version": rules.version},
        "notes": notes,
        "not_shown": "docs/alarm-quality.md",
        **result,
    }


def _alarms(
    records: list[Recording], labels: dict[str, Label], rules: RuleSet, step: Callable[[], None]
) -> dict[str, Any]:
    judged = []
    for record in records:
        label = labels[record.name.removesuffix(".csv")]
        judged.append(
            (record.name, label, *evaluation.judge_alarm(record, label, alert_spans(record, rules)))
        )
        step()
    limits = {
        kind: f"{v} {'>' if above else '<'} {limit:g}"
        for kind, (v, above, limit, _) in (ALARM_TYPES.items())
    }
    return {
        "window_s": evaluation.WINDOW_S,
        "naive_limits": limits,
        "alarms": evaluation.count_alarms(judged),
    }


def _burden(records: list[Recording], rules: RuleSet, step: Callable[[], None]) -> dict[str, Any]:
    ours: list[Stay] = []
    naive: dict[str, list[Stay]] = {name: [] for name in NAIVE}
    for record in records:
        ours.append(evaluation.measure(record, alert_spans(record, rules)))
        for name, stays in naive.items():
            stays.append(evaluation.measure(record, evaluation.naive_spans(record, name)))
        step()
    return {
        "naive_limits": {name: [list(limit) for limit in limits] for name, limits in NAIVE.items()},
        "burden": {"vigil": evaluation.summarise(ours)}
        | {f"naive_{name}": evaluation.summarise(stays) for name, stays in naive.items()},
        "beside_naive": {
            name: evaluation.compare_burden(ours, stays) for name, stays in naive.items()
        },
    }


def render(result: dict[str, Any], console: Console) -> None:
    """Print a result as a table."""
    title = f"{result['recording']} · {result['records']} records"
    if "alarms" in result:
        table = Table(
            "alarm", "true", "false", "naive fires", "Vigil fires", "missed", "false ratio",
            title=title,
        )  # fmt: skip
        for kind, row in result["alarms"].items():
            table.add_row(
                kind,
                str(row["true"]),
                str(row["false"]),
                f"{row['naive_true_fired']} true, {row['naive_false_fired']} false",
                f"{row['vigil_true_fired']} true, {row['vigil_false_fired']} false",
                ", ".join(row["missed_that_naive_fired"]) or "none",
                f"{row['false_ratio']} {row['false_ratio_ci95']}",
            )
    else:
        table = Table("", "alerts a bed-day", "in alarm", *evaluation.ONSETS, title=title)
        for name, row in result["burden"].items():
            shares = [
                f"{o['announced']}/{o['onsets']} = {o['announced_share']}"
                for o in row["onsets"].values()
            ]
            table.add_row(
                name, str(row["alerts_per_bed_day"]), str(row["share_of_time_in_alarm"]), *shares
            )
    console.print(table)
    for note in result["notes"]:
        console.print(f"note: {note}", highlight=False)
    for name, row in result.get("beside_naive", {}).items():
        console.print(
            f"alerts beside naive_{name}: {row['alerts_ratio']} {row['alerts_ratio_ci95']}",
            highlight=False,
        )


def draw(result: dict[str, Any], path: Path) -> None:
    """Write the figure of a result as PNG."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import, and only here

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    naive_colour, our_colour = "#9aa5b1", "#0b6e99"
    if "alarms" in result:
        kinds = list(result["alarms"])
        figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
        for axis, what, title in (
            (axes[0], "true_fired", "Fired on true alarms (more is better)"),
            (axes[1], "false_fired", "Fired on false alarms (fewer is better)"),
        ):
            for shift, who, colour in ((-0.2, "naive", naive_colour), (0.2, "vigil", our_colour)):
                heights = [result["alarms"][kind][f"{who}_{what}"] for kind in kinds]
                where = [i + shift for i in range(len(kinds))]
                name = "plain limit" if who == "naive" else "Vigil"
                bars = axis.bar(where, heights, 0.38, color=colour, label=name)
                axis.bar_label(bars)
            axis.set_xticks(range(len(kinds)), kinds)
            axis.set_title(title)
            axis.spines[["top", "right"]].set_visible(False)
        axes[0].legend(frameon=False)
    else:
        rows = result["burden"]
        names = list(rows)
        onsets = list(evaluation.ONSETS)
        panels = [
            ("Alerts a bed-day", [rows[n]["alerts_per_bed_day"] or 0 for n in names]),
            ("Share of time in alarm", [rows[n]["share_of_time_in_alarm"] or 0 for n in names]),
        ] + [
            (
                f"{onset.replace('_', ' ')}:\nalert in force a row before",
                [rows[n]["onsets"][onset]["announced_share"] or 0 for n in names],
            )
            for onset in onsets
        ]
        figure, axes = plt.subplots(1, len(panels), figsize=(13, 4), layout="constrained")
        colours = [our_colour, *[naive_colour] * (len(names) - 1)]
        for axis, (title, heights) in zip(axes, panels, strict=True):
            axis.bar_label(axis.bar(names, heights, color=colours))
            axis.set_title(title, fontsize=10)
            axis.tick_params(axis="x", labelsize=8)
            axis.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{result['recording']}, rules {result['pack']['version']}")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def write(results: list[dict[str, Any]], folder: Path) -> list[Path]:
    """Write ``result.json`` and a figure for each recording; return what was written."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for result in results:
        figure = folder / f"{result['recording'].split('.')[0]}.png"
        draw(result, figure)
        written.append(figure)
    content = results[0] if len(results) == 1 else {"recordings": results}
    target = folder / "result.json"
    target.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return [target, *written]
