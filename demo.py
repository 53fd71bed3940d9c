"""The whole main job on real data, through the running stack: what `make demo` does."""

import math
import sys
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
from rich.console import Console
from rich.table import Table

from data.settings import Settings, command_settings
from data.warehouse import WarehouseBusy, connect, known_at_morning, query, sales_as_of
from serving.keys import operator_headers
from stack.commands import up
from stack.prefect_api import Prefect

OUT = Console(highlight=False, soft_wrap=True)
RUN_LIMIT_SECONDS = 1800
BARS = "▁▂▃▄▅▆▇█"
PLANTED = timedelta(days=14)  # from the first cutoff to the day that is delivered again


class RunFailed(RuntimeError):
    """A deployment's run did not end well."""


def follow(prefect: Prefect, deployment: str, parameters: dict[str, Any]) -> str:
    """Starts a deployment and prints its steps as they end; returns the final message.

    Raises RunFailed with the run's own message when it fails, or with where it is shown when it has
    not ended after RUN_LIMIT_SECONDS; it goes on then.
    """
    run, started, shown = prefect.start(deployment, parameters), time.monotonic(), set()
    with OUT.status(f"{deployment}: waiting for the worker") as status:
        while True:
            state = prefect.state(run)
            steps = prefect.children(run)
            for step in steps:
                name = step["name"]
                if step["state_type"] == "RUNNING":
                    elapsed = time.monotonic() - started
                    status.update(f"{name} is running ({elapsed:.0f} s since the start)")
                elif step["id"] not in shown and step["state_type"] in ("COMPLETED", "FAILED"):
                    shown.add(step["id"])
                    message = step["state"]["message"] or ""
                    OUT.print(f"  {name:<12} {step['total_run_time']:6.1f} s  {message}")
            if state["state_type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
                break
            if time.monotonic() - started > RUN_LIMIT_SECONDS:
                raise RunFailed(
                    f"{deployment} has not ended after {RUN_LIMIT_SECONDS:,} s, its state is "
                    f"{state['state_name']!r}: follow it at {prefect.runs_url}/{run}, and run "
                    "`make demo` again when it has ended."
                )
            time.sleep(0.5)
    message = str((state["state"] or {}).get("message") or "")
    if state["state_type"] != "COMPLETED":
        raise RunFailed(f"{deployment} ended as {state['state_name']}: {message}")
    OUT.print(f"  {deployment:<12} {time.monotonic() - started:6.1f} s  {message}")
    return message


def plant(settings: Settings) -> tuple[Path, dict[str, Any], int]:
    """Writes a redelivery of one day: one row revised, up to three rows that break the contract.

    The day is that of two weeks after the first cutoff, or the last before it that had sales; it
    holds fewer bad rows when it is small, since a delivery with 5 % of them is refused whole.
    Returns the file, the revised row and the number of bad rows. The same rows every time, so that
    a second delivery is recognised by its content.
    """
    asked = settings.first_cutoff + PLANTED
    with connect(settings) as con:
        known = sales_as_of(con, known_at_morning(asked, settings.timezone))
    known = known.filter(pl.col("ds") <= asked)
    day: date = known["ds"].max()  # type: ignore[assignment]
    rows = known.filter(pl.col("ds") == day).sort("store_id", "item_id").head(120)
    rows = rows.select("store_id", "item_id", "ds", "y", "price")
    biggest = known.group_by("store_id", "item_id").agg(units=pl.col("y").sum())
    ranked = rows.join(biggest, on=["store_id", "item_id"]).sort("units", descending=True)
    revised = ranked.row(0, named=True)
    is_it = (pl.col("store_id") == revised["store_id"]) & (pl.col("item_id") == revised["item_id"])
    rows = rows.with_columns(y=pl.when(is_it).then(pl.col("y") + 25).otherwise(pl.col("y")))
    bad = min(3, (rows.height - 1) // 19)  # of n + bad rows these are less than 5 %
    planted = rows.head(bad).with_columns(
        item_id=pl.Series(["NEGATIVE", "LATER", None]).head(bad),
        ds=pl.Series([day, day + timedelta(weeks=58), day]).head(bad),
        y=pl.Series([-4.0, 1.0, 2.0]).head(bad),
    )
    path = settings.state_dir / "demo" / "redelivery.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    pl.concat([rows, planted]).write_csv(path)
    return path, revised, bad


def show_knowledge(settings: Settings, revised: dict[str, Any]) -> None:
    """Prints the revised row as known before and after, and what went to quarantine."""
    key = (pl.col("store_id") == revised["store_id"]) & (pl.col("item_id") == revised["item_id"])
    with connect(settings) as con:
        morning = known_at_morning(settings.first_cutoff + PLANTED, settings.timezone)
        before, after = (
            sales_as_of(con, at).filter(key & (pl.col("ds") == revised["ds"]))["y"][0]
            for at in (morning, morning + timedelta(days=3650))
        )
        reasons = query(con, "quarantined")
    OUT.print(
        f"  Store {revised['store_id']}, {revised['item_id']}, {revised['ds']}: "
        f"{before:g} units as known before, {after:g} as known now."
    )
    for reason, n in reasons.iter_rows():
        OUT.print(f"  In quarantine: {n} x {reason}")


def sparkline(values: list[float]) -> str:
    """The values as one line of bars, scaled to the largest."""
    top = max(values) or 1.0
    return "".join(BARS[min(int(v / top * len(BARS)), len(BARS) - 1)] for v in values)


def show_forecast(settings: Settings, series: dict[str, str]) -> None:
    """Fetches one forecast over REST, as far as the model reaches, and prints 14 steps of it."""
    url, step = f"{settings.serve_url}/v1/forecasts", settings.steps.unit
    body = {"series": [series], "quantiles": [0.1, 0.5, 0.9]}
    headers = operator_headers(settings)
    got = httpx.post(url, json=body, headers=headers, timeout=15, trust_env=False)
    answer = got.raise_for_status().json()
    one = answer["forecasts"][0]
    table = Table(
        title=f"Store {series['store_id']}, {series['item_id']}: units a {step} after "
        f"{one['cutoff']}, model {answer['model_version']}, snapshot {one['snapshot_id']}",
        title_justify="left",
    )
    for name in (step, "expected", f"80 % of {step}s between"):
        table.add_column(name, justify="right")
    for day in one["days"][:14]:
        low, high = day["quantiles"]["0.1"], day["quantiles"]["0.9"]
        table.add_row(day["ds"], f"{day['y_hat']:.1f}", f"{low:.1f} and {high:.1f}")
    OUT.print(table)
    bars = sparkline([day["y_hat"] for day in one["days"]])
    OUT.print(f"  {len(one['days'])} {step}s  {bars}\n")


def show_accuracy(settings: Settings) -> None:
    """Prints the matured forecasts' errors beside the baselines', and the gate's decision."""
    with connect(settings) as con:
        scores = query(con, "latest_scores")
        decision = query(con, "latest_decision", gate="retrain").row(0, named=True)
    ahead = f"{settings.horizon} {settings.steps.unit}s"
    if scores.is_empty():
        OUT.print(f"No forecast is scored yet: none has seen the sales of all its {ahead}.")
    else:
        OUT.print(_accuracy(scores, ahead))
    OUT.print(f"\nRetraining gate: [bold]{decision['outcome']}[/bold]")
    for reason in decision["reasons"]:
        OUT.print(f"  {reason}")


def _accuracy(scores: pl.DataFrame, ahead: str) -> Table:
    """A line per model (columns of latest_scores.sql), the best first."""
    wanted = {
        "wrmsse mean": "WRMSSE",
        "wrmsse total": "total",
        "wrmsse series": "series",
        "bias": "bias",
        "coverage 80 of counts": "in 80 % band",
    }
    title = f"{ahead} after {scores['cutoff'][0]}, forecast before they happened"
    table = Table(title=title, title_justify="left")
    table.add_column("model", no_wrap=True)
    for name in wanted.values():
        table.add_column(name, justify="right")
    ranked = scores.filter(pl.col("metric") == "wrmsse mean").sort("value")["model"]
    for model in ranked:
        figures = dict(scores.filter(pl.col("model") == model).select("metric", "value").rows())
        cells = [f"{figures[m]:.3f}" if m in figures else "" for m in wanted]
        table.add_row(f"LightGBM, version {model}" if model.isdigit() else model, *cells)
    return table


def run(settings: Settings) -> None:
    """The main job, a redelivery, and what came of it; raises RunFailed or httpx.HTTPError."""
    prefect = Prefect(settings)
    OUT.print("\nThe main job, as Prefect deployments")
    # As many weeks as the first forecast reaches, so that it can be scored.
    weeks = math.ceil(settings.horizon * settings.steps.days / 7)
    follow(prefect, "pipeline/pipeline", {"weeks": weeks})
    path, revised, bad = plant(settings)
    many = ("no bad one: the day is too small", "one bad one", "two bad ones", "three bad ones")
    OUT.print(f"\nA redelivery with a revised row and {many[bad]}")
    follow(prefect, "ingest/ingest", {"source": "csv", "path": str(path)})
    show_knowledge(settings, revised)
    OUT.print("\nA forecast over REST")
    show_forecast(settings, {k: revised[k] for k in ("store_id", "item_id")})
    show_accuracy(settings)


def main() -> int:
    """Runs the demonstration; 1 when a step failed, with its message printed."""
    settings, started = command_settings(), time.monotonic()
    if up(settings):
        return 1
    try:
        run(settings)
    except (RunFailed, WarehouseBusy) as error:
        OUT.print(f"\n[red]{error}[/red]\nThe logs are in {settings.logs_dir}.")
        return 1
    except httpx.HTTPStatusError as error:
        answer = error.response
        OUT.print(f"\n[red]{answer.url} answered {answer.status_code}.[/red]\n{answer.text}")
        return 1
    except httpx.HTTPError as error:
        OUT.print(
            f"\n[red]{error.request.url} does not answer ({error}).[/red]\n"
            "`make status` shows what runs; `make demo` goes on where it was."
        )
        return 1
    OUT.print(f"\nPrefect    {settings.prefect_ui_url}")
    OUT.print(f"MLflow     {settings.mlflow_url}")
    OUT.print(f"Planner    {settings.serve_url}/")
    OUT.print(f"API        {settings.serve_url}/docs")
    OUT.print(f"\nDone in {time.monotonic() - started:.0f} s. `make down` stops the stack.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
