"""Takes deliveries of sales into the warehouse: land, audit by contract, publish or reject."""

from collections.abc import Sequence
from datetime import date, datetime, timedelta

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_table_artifact

from checks import audits, intake
from data import sources
from data.settings import Settings
from data.warehouse import Connection, business_day, connect, known_at_morning
from flows.audits import show
from flows.slots import clock, done, writing


@task(task_run_name="deliver {since} to {until}")
def deliver(
    settings: Settings, source: str, path: str, since: date | None, until: date | None
) -> dict[str, object]:
    """Takes one delivery through write, audit and publish; a breach fails the run."""
    with connect(settings) as con:
        as_of = _delivery_time(settings, con, path, until)
        taken = intake.take(
            con, settings, source=source, path=path, since=since, until=until, as_of=as_of
        )
    if taken.report:
        show(taken.report, taken.name)
    return taken.record()


def _delivery_time(settings: Settings, con: Connection, path: str, until: date | None) -> datetime:
    """When a delivery arrives; in replay the morning after its day.

    Own files and days that come late arrive an hour after now: no earlier morning knew of them.
    """
    last, now = clock(settings, con)
    if settings.mode == "live":
        return now
    if path or until is None or (last and until <= last):
        return now + timedelta(hours=1)
    return known_at_morning(until, settings.timezone)


@task
def due_days(
    settings: Settings, source: str, until: date | None
) -> tuple[list[tuple[date | None, date]], list[date]]:
    """What is due, and the open steps without rows: before the last that is due, or all of them.

    The history up to the first cutoff is due at once, then step by step; without `until` it is
    the next step that has rows, in live mode each that is over. Steps passed over before that have
    rows by now come last: one that is refused keeps nothing else from being loaded.
    """
    with connect(settings) as con:
        last, now = clock(settings, con)
        available = sources.days_available(con, settings, source)[1]
        end = until or (settings.steps.after(last, 1) if last else settings.first_cutoff)
        if settings.mode == "live":  # the rest of a step that is not over would never be asked for
            available = min(available, business_day(now, settings.timezone) - timedelta(days=1))
            end = until or (available if last else end)  # after an outage several are due
        asked = intake.due_days(settings, last, min(end, available))
        due = intake.with_rows(con, settings, source, asked)
        if not due and until is None:  # the next step is closed or without a row
            asked = intake.due_days(settings, last, available)
            due = intake.with_rows(con, settings, source, asked)[:1]
        late = intake.passed_over(con, settings, last) if last else []
        late = intake.with_rows(con, settings, source, late)
    rowless = [step[1] for step in asked if step not in due]
    if due or late:  # those after the last one that is loaded are asked for again anyway
        rowless = [ds for ds in rowless if due and ds < due[-1][1]]
    return due + late, rowless


@task
def audit_sales(settings: Settings) -> None:
    """Verifies the contract of the published sales as a whole; a breach fails the run."""
    with connect(settings) as con:
        show(audits.audit_sales(con, settings, clock(settings, con)[1]), "The published sales")


@flow(flow_run_name="ingest")
def ingest(
    until: date | None = None, source: str | None = None, path: str = ""
) -> list[dict[str, object]]:
    """Loads sales: what is due by default, every step until a day, or one file of your own.

    Args:
        until: last day of sales to load; empty loads the next step that is not loaded yet, in live
            mode every one that is over.
        source: name of a SQL file in data/sources; empty takes the source of the settings.
        path: a CSV or Parquet file for the csv and parquet sources, delivered now as one batch.
    """
    settings = Settings()
    source = source or settings.source
    deliveries: list[dict[str, object]] = []
    due: Sequence[tuple[date | None, date | None]] = [(None, None)]
    rowless: list[date] = []
    with writing():
        if not path:
            due, rowless = due_days(settings, source, until)
        said = f"no rows of {', '.join(map(str, rowless))}" if rowless else ""
        if said and due:
            said += ", passed over"
            get_run_logger().warning("%s", said)
        for since, last in due:
            deliveries.append(deliver(settings, source, path, since, last))
            get_run_logger().info("%s", deliveries[-1])
        if not due:
            return done(message=f"{said or 'no day is due'}: nothing to load", data=deliveries)
        audit_sales(settings)
    create_table_artifact(key="deliveries", table=deliveries, description="What was delivered")
    return done(message="; ".join(filter(None, (_summary(deliveries), said))), data=deliveries)


def _summary(deliveries: list[dict[str, object]]) -> str:
    def total(key: str) -> int:
        return sum(int(str(d.get(key, 0))) for d in deliveries)

    loaded = sum(d["result"] == "published" for d in deliveries)
    if not loaded:
        return f"already loaded: {', '.join(str(d['delivery']) for d in deliveries)}"
    counts = ", ".join(
        f"{total(key):,} {key}" for key in ("published", "excluded", "quarantined") if total(key)
    )
    return f"{loaded} {'delivery' if loaded == 1 else 'deliveries'}: {counts or 'no new rows'}"
