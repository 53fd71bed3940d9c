"""Answers from the Parquet that flows publish: history, accuracy, decisions, exceptions."""

import json
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Any

import polars as pl

from data import publication
from data.settings import Settings
from feature_repo.store import UnknownSeries
from serving.api.insight import (
    Accuracy,
    AccuracyQuery,
    AccuracyRow,
    Decision,
    Decisions,
    DecisionsQuery,
    Exceptions,
    ExceptionsQuery,
    Figure,
    History,
    HistoryQuery,
    PastForecast,
    PlannedDay,
    PlanningException,
    SoldDay,
)
from serving.problems import NotPublished
from serving.snapshots import Key, Snapshots


class Published:
    """The published tables of one state folder; files are read as they are now."""

    def __init__(self, settings: Settings, snapshots: Snapshots) -> None:
        self._folder, self._snapshots = settings.published_dir, snapshots
        self._steps = settings.steps
        self._seen = lru_cache(maxsize=1)(self._read_seen)

    def about(self) -> dict[str, Any]:
        """When was published, and as of what. Raises NotPublished before the first time."""
        facts = publication.about(self._folder)
        if facts is None:
            raise NotPublished(
                "Nothing is published yet; run the forecast deployment, then ask again."
            )
        return facts | {"published_at": datetime.fromisoformat(facts["published_at"])}

    def history(self, key: Key, query: HistoryQuery) -> History:
        """Sales of a series and its past forecasts; of a new one, what was sold so far.

        Raises UnknownSeries, NotPublished, StaleFeatures.
        """
        about = self.about()
        snapshot_id = about["snapshot_id"]
        cutoff = date.fromisoformat(about["cutoff"])
        since = cutoff - timedelta(days=query.days - 1)
        sold = self._sold(snapshot_id, key, since, cutoff)
        if sold.is_empty() and not self._snapshots.has_like(snapshot_id, key):
            raise UnknownSeries(
                f"Series store_id={key[0]!r}, item_id={key[1]!r} has no sales in snapshot "
                f"{snapshot_id}; GET /v1/series lists the series that are forecast."
            )
        past = self.past(key, query.lead).join(sold, on="ds", how="semi")
        return History(
            store_id=key[0],
            item_id=key[1],
            snapshot_id=snapshot_id,
            cutoff=cutoff,
            days=[SoldDay.model_construct(**row) for row in sold.to_dicts()],
            planned=[PlannedDay(**d) for d in self._snapshots.planned(snapshot_id, key, cutoff)],
            lead=query.lead,
            forecasts=[_past(row) for row in past.to_dicts()],
        )

    def _sold(self, snapshot_id: str, key: Key, since: date, cutoff: date) -> pl.DataFrame:
        """Every step (ds, y, price, display, mailer) since the first sale or `since`."""
        sales = self._snapshots.sales(snapshot_id, of_series(key)).sort("ds")
        if sales.is_empty():
            return sales
        first = sales["ds"][0]
        every = [ds for ds in [first, *self._steps.between(first, cutoff)] if ds >= since]
        grid = pl.DataFrame({"ds": every}, schema={"ds": pl.Date})
        plan = publication.scan(self._folder, "plan").filter(of_series(key)).collect()
        closed = [ds for ds in every if self._steps.is_closed(ds)]
        y = pl.when(~pl.col("ds").is_in(closed)).then(pl.col("y").fill_null(0))
        return (
            grid.join(sales.select("ds", "y", "price"), on="ds", how="left", maintain_order="left")
            .join(
                plan.select("ds", "display", "mailer"), on="ds", how="left", maintain_order="left"
            )
            .with_columns(y, pl.col("display", "mailer").fill_null(0))
        )

    def past(self, key: Key, lead: int) -> pl.DataFrame:
        """Per day the newest forecast of a series made at least `lead` days ahead, by day.

        Of models that forecast it from the same cutoff, that of the highest number.
        """
        number = pl.col("model").cast(pl.Int64, strict=False)
        return (
            publication.scan(self._folder, "forecasts")
            .filter(of_series(key) & (pl.col("ds") >= pl.col("cutoff").dt.offset_by(f"{lead}d")))
            .sort("ds", "step", number, descending=[False, False, True], nulls_last=True)
            .unique("ds", keep="first", maintain_order=True)
            .collect()
        )

    def accuracy(self, query: AccuracyQuery) -> Accuracy:
        """Accuracy of a level's nodes, and the figures of the newest cutoff that is over."""
        about = self.about()
        rows = publication.scan(self._folder, "accuracy").filter(pl.col("level") == query.level)
        wanted = {"store_id": query.store_id, "item_id": query.item_id}
        for name, value in wanted.items():
            rows = rows if value is None else rows.filter(pl.col(name) == value)
        figures = publication.scan(self._folder, "figures").collect()
        return Accuracy(
            published_at=about["published_at"],
            since=about.get("since"),
            until=about.get("until"),
            cutoff=figures["cutoff"].max(),
            figures=[Figure(**row) for row in figures.drop("cutoff").to_dicts()],
            rows=[AccuracyRow(**row) for row in rows.drop("level").collect().to_dicts()],
        )

    def seen(self) -> pl.DataFrame:
        """Lowest and highest display, mailer and price of each item, in all that is published.

        Columns item_id and `display low`, `display high`, …; a day without a promotion counts as
        none. Kept until the next publication.
        """
        return self._seen(self.about()["snapshot_id"])

    def _read_seen(self, snapshot_id: str) -> pl.DataFrame:
        plan = (
            publication.scan(self._folder, "plan")
            .group_by("item_id")
            .agg(
                *(pl.lit(0.0).alias(f"{c} low") for c in ("display", "mailer")),
                *(pl.col(c).max().alias(f"{c} high") for c in ("display", "mailer")),
            )
        )
        sales = self._snapshots.scan(snapshot_id, "sales.parquet").filter(pl.col("y") > 0)
        prices = sales.group_by("item_id").agg(
            pl.col("price").min().alias("price low"), pl.col("price").max().alias("price high")
        )
        return (
            prices.join(plan, on="item_id", how="left")
            .with_columns(
                pl.col("display low", "display high", "mailer low", "mailer high").fill_null(0)
            )
            .collect()
        )

    def decisions(self, query: DecisionsQuery) -> Decisions:
        """Gate decisions, newest first."""
        about, rows = self.about(), publication.scan(self._folder, "decisions")
        if query.gate is not None:
            rows = rows.filter(pl.col("gate") == query.gate)
        found = rows.head(query.limit).collect().to_dicts()
        return Decisions(
            published_at=about["published_at"],
            decisions=[
                Decision(**row | {"measurements": _finite(row["measurements"])}) for row in found
            ],
        )

    def exceptions(self, query: ExceptionsQuery) -> Exceptions:
        """What needs a look, most money first."""
        about, rows = self.about(), publication.scan(self._folder, "exceptions").collect()
        for name, value in {"kind": query.kind, "store_id": query.store_id}.items():
            rows = rows if value is None else rows.filter(pl.col(name) == value)
        return Exceptions(
            published_at=about["published_at"],
            count=rows.height,
            exceptions=[PlanningException(**row) for row in rows.head(query.limit).to_dicts()],
        )


def of_series(key: Key) -> pl.Expr:
    """The rows of one series."""
    return (pl.col("store_id") == key[0]) & (pl.col("item_id") == key[1])


def _finite(text: str) -> dict[str, Any]:
    """A JSON object as it was kept; what is not a finite number becomes null."""
    found: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return found


def _past(row: dict[str, Any]) -> PastForecast:
    ranges = {"likely": ("q0.1", "q0.9"), "very_likely": ("q0.025", "q0.975")}
    found = {k: (row[a], row[b]) if row[a] is not None else None for k, (a, b) in ranges.items()}
    return PastForecast(**found, **{k: row[k] for k in ("ds", "cutoff", "model", "y_hat")})
