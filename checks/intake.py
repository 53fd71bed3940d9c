"""Takes one delivery: land it, audit it by its contract, then publish it or refuse it whole."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

import polars as pl

from checks import contracts
from checks.contracts import ContractReport
from checks.quality import HISTORY_DAYS, against_history
from data import ingest, ledger, sources
from data.ingest import Batch, Publication
from data.settings import Settings
from data.warehouse import Connection, as_utc, plan_known_until, query

# A longer delivery is a history of its own: there is nothing to compare it with. Nor is a day that
# was passed over asked for any longer.
JUDGED_DAYS = 28


@dataclass(frozen=True)
class Intake:
    """What became of a delivery; without a report it was loaded already, without a publication
    it was refused."""

    batch: Batch
    report: ContractReport | None
    publication: Publication | None

    @property
    def name(self) -> str:
        """The delivery as a reader knows it."""
        batch = self.batch
        return f"Delivery {batch.batch_id[:12]} of {batch.source}, {batch.since} to {batch.until}"

    def record(self) -> dict[str, object]:
        """The intake as one flat row for people."""
        row: dict[str, object] = {"delivery": self.batch.batch_id[:12], "rows": self.batch.rows}
        row |= {"since": str(self.batch.since), "until": str(self.batch.until)}
        if self.publication is None:
            return {**row, "result": "refused" if self.report else "already loaded"}
        reasons = sorted(self.publication.reasons.items())
        return {
            **row,
            "result": "published",
            "published": self.publication.rows_published,
            "unchanged": self.publication.rows_unchanged,
            "excluded": self.publication.rows_excluded,
            "quarantined": self.publication.rows_quarantined,
            "reasons": "; ".join(f"{n} x {reason}" for reason, n in reasons),
        }


def due_days(settings: Settings, last: date | None, end: date) -> list[tuple[date | None, date]]:
    """The deliveries (since, until) due from the step after `last` to `end`.

    The history up to the first cutoff comes at once, then step by step, the closed ones left out.
    """
    due: list[tuple[date | None, date]] = []
    if last is None:
        last = min(settings.first_cutoff, end)
        due.append((None, last))
    steps = settings.steps
    return due + [(ds, ds) for ds in steps.between(last, end) if not steps.is_closed(ds)]


def with_rows(
    con: Connection, settings: Settings, source: str, due: list[tuple[date | None, date]]
) -> list[tuple[date | None, date]]:
    """The due deliveries without the steps that the source has no row of which is not excluded.

    Nothing was sold then, or it comes late. Raises SourceError.
    """
    steps = [until for since, until in due if since]
    if not steps:
        return due
    rows = sources.read_sales(con, settings, source=source, since=steps[0], until=steps[-1])
    sold = set(rows.filter(pl.col("exclusion").is_null())["ds"])
    return [(since, until) for since, until in due if since is None or until in sold]


def passed_over(con: Connection, settings: Settings, last: date) -> list[tuple[date | None, date]]:
    """The open steps of JUDGED_DAYS before `last` that sales have no row of: it may come late."""
    steps, after = settings.steps, last - timedelta(days=JUDGED_DAYS)
    sold = set(query(con, "days_with_sales", after=after)["ds"])
    asked = (ds for ds in steps.between(after, last) if not steps.is_closed(ds))
    return [(ds, ds) for ds in asked if ds not in sold]


def take(
    con: Connection,
    settings: Settings,
    *,
    source: str,
    path: str,
    since: date | None,
    until: date | None,
    as_of: datetime,
) -> Intake:
    """Takes what `source` holds of the days since..until, delivered at `as_of` (with a zone).

    Rows that break a row rule go to quarantine. When the contract is broken as a whole, or new
    days are nothing like the source's own history, the delivery is refused: nothing of it is
    published, the results and the refusal are kept. Raises SourceError and EmptyDelivery.
    """
    rows = sources.read_sales(con, settings, source=source, path=path, since=since, until=until)
    return receive(con, settings, rows, source=source, as_of=as_of, with_plan=not path)


def receive(
    con: Connection,
    settings: Settings,
    rows: pl.DataFrame,
    *,
    source: str,
    as_of: datetime,
    with_plan: bool,
) -> Intake:
    """Takes rows (columns of data.ingest.CONTENT) as `take` does, and the plan that goes with them.

    Raises SourceError and EmptyDelivery.
    """
    batch = ingest.land(con, settings, rows, source=source, as_of=as_of)
    if ingest.is_published(con, batch.batch_id):
        return Intake(batch, None, None)
    variables = {"BATCH": batch.batch_id, "CLOSED": ",".join(settings.closed_days)}
    contract = contracts.verify("landing", con.cursor(), as_of=as_of, variables=variables)
    rules = contracts.row_rules(as_of=as_of)
    unusual = _against_history(con, settings, batch, ingest.fit_rows(con, batch, rules))
    report = ContractReport("landing", contract.results + unusual.results, contract.errors)
    results = contracts.rows(report, f"batch {batch.batch_id[:12]}", as_of)
    ledger.append(con, "contract_results", results)
    if not report.ok:
        ingest.reject(con, batch)
        return Intake(batch, report, None)
    plan = None
    if with_plan:
        after = plan_known_until(con)
        plan = sources.read_plan(con, settings, source=source, known_after=after, known_until=as_of)
    publication = ingest.publish(con, batch, rules, plan)
    return Intake(batch, report, publication)


def _against_history(
    con: Connection, settings: Settings, batch: Batch, fit: pl.DataFrame
) -> ContractReport:
    """The days of a batch's fit rows that are not in sales yet, against the weeks before them.

    A day long before the newest is a mistyped one, or of a history: it judges no other.
    """
    known = query(con, "days_with_sales", after=date.min)
    fresh = fit.join(known, on="ds", how="anti")
    steps = settings.steps
    fresh = fresh.filter(
        (pl.col("ds").max() - pl.col("ds")).dt.total_days() <= JUDGED_DAYS * steps.days
    )
    if fresh.is_empty() or fresh["ds"].n_unique() > JUDGED_DAYS:
        return ContractReport("history", ())
    first: date = fresh["ds"].min()  # type: ignore[assignment]
    since = first - timedelta(days=HISTORY_DAYS)
    sales = query(con, "recent_sales", since=since, as_of=as_utc(batch.as_of))
    return against_history(fresh, sales, steps=steps)
