from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

from data import ledger
from data.settings import Settings
from data.warehouse import connect, query

NOW = datetime(2017, 9, 11, 10, tzinfo=UTC)


def result(check: str, outcome: str, at: datetime = NOW) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "checked_at": [at],
            "subject": ["batch"],
            "contract": ["landing"],
            "check_name": [check],
            "outcome": [outcome],
        }
    )


def test_a_check_counts_as_failed_until_it_passes_again(settings: Settings) -> None:
    with connect(settings) as con:
        ledger.append(con, "contract_results", result("rows", "passed"))
        ledger.append(con, "contract_results", result("rows", "failed"))
        ledger.append(con, "contract_results", result("stores", "not evaluated"))
        since = NOW - timedelta(days=1)
        assert ledger.failed_checks(con, since) == ["landing: rows", "landing: stores"]
        ledger.append(con, "contract_results", result("rows", "passed"))
        assert ledger.failed_checks(con, since) == ["landing: stores"]
        assert ledger.failed_checks(con, NOW + timedelta(hours=1)) == []


def test_rows_are_added_by_name_and_only_to_ledger_tables(settings: Settings) -> None:
    row = pl.DataFrame({"model": ["1"], "cutoff": [date(2017, 9, 10)], "y_hat": [2.5]})
    with connect(settings) as con:
        assert not ledger.is_issued(con, date(2017, 9, 10), "1")
        assert ledger.append(con, "forecasts", row) == 1
        assert ledger.is_issued(con, date(2017, 9, 10), "1")
        kept = ledger.issued_forecasts(con, date(2017, 9, 1))
        assert kept["y_hat"].to_list() == [2.5] and kept["q0.5"].to_list() == [None]
        with pytest.raises(ValueError, match="'sales' is not a ledger table"):
            ledger.append(con, "sales", row)


def test_a_decision_is_kept_with_its_reasons(settings: Settings) -> None:
    with connect(settings) as con:
        for outcome in ("hold", "pass"):
            ledger.append_decision(
                con,
                decided_at=NOW,
                gate="retrain",
                outcome=outcome,
                reasons=["no drift", "low loss"],
                measurements={"matured_days": 28, "ratio": None},
            )
        found = query(con, "latest_decision", gate="retrain").row(0, named=True)
    assert found["outcome"] == "pass" and found["reasons"] == ["no drift", "low loss"]
    assert found["measurements"] == '{"matured_days": 28, "ratio": null}'


def test_no_sales_have_no_last_day(settings: Settings) -> None:
    with connect(settings) as con:
        assert ledger.last_day(con) is None


def test_trainings_are_listed_from_their_beginning_the_newest_first(settings: Settings) -> None:
    days = [NOW - timedelta(days=k) for k in (1, 40, 9)]
    with connect(settings) as con:
        for started in days:
            ledger.note_training(con, started)
        assert ledger.trainings(con, NOW - timedelta(days=30)) == [days[0], days[2]]


DAY = date(2017, 9, 10)


def answered(request: str, y_hat: float, minute: int, **other: object) -> dict[str, object]:
    """A row of served_forecasts, one day ahead of DAY."""
    row = {"store_id": "1", "item_id": "A", "cutoff": DAY, "ds": DAY + timedelta(days=1)}
    row |= {"step": 1, "model": "3", "y_hat": y_hat, "request_id": request, "what_if": False}
    return row | {"issued_at": NOW + timedelta(minutes=minute)} | other


def test_a_forecast_is_scored_once_as_answered_last_and_never_a_what_if(
    settings: Settings,
) -> None:
    served = [answered(f"r{k}", float(k), minute) for k, minute in enumerate((1, 30, 9))]
    served += [
        answered("r7", 7.0, 40, what_if=True),
        answered("r8", 8.0, 41, item_id="B"),
        answered("r9", 9.0, 42, ds=DAY + timedelta(days=9)),
    ]
    with connect(settings) as con:
        ledger.append(con, "served_forecasts", pl.DataFrame(served))
        found = query(con, "forecasts_for", since=DAY, until=DAY + timedelta(days=2))
        assert found.select("item_id", "y_hat").rows() == [("A", 1.0), ("B", 8.0)]
        batch = answered("", 5.0, 0)
        del batch["request_id"], batch["what_if"]
        ledger.append(con, "forecasts", pl.DataFrame([batch]))
        found = query(con, "forecasts_for", since=DAY, until=DAY + timedelta(days=2))
        assert found.select("item_id", "y_hat").rows() == [("A", 5.0), ("B", 8.0)]


def test_shadow_is_given_the_newest_requests_whole_and_no_what_ifs(settings: Settings) -> None:
    rows = [
        answered("old", 1.0, 1),
        answered("new", 1.0, 5),
        answered("new", 1.0, 5, ds=DAY + timedelta(days=2), step=2),
        answered("what if", 1.0, 9, what_if=True),
    ]
    with connect(settings) as con:
        ledger.append(con, "served_forecasts", pl.DataFrame(rows))
        found = query(con, "served_lately", requests=1)
        assert found.sort("step").select("request_id", "step").rows() == [("new", 1), ("new", 2)]
        assert query(con, "served_lately", requests=9)["request_id"].n_unique() == 2


def test_quarantined_rows_are_counted_by_reason_from_their_first_delivery_to_their_last(
    settings: Settings,
) -> None:
    later = NOW + timedelta(days=3)
    with connect(settings) as con:
        for batch, at, status in (("a", NOW, "published"), ("b", later, "published")):
            logged = f"('{batch}', 'csv', NULL, NULL, '{at}', 3, 1, 0, 2, '{status}')"
            con.execute(f"INSERT INTO ingest_log VALUES {logged}")
        for batch, reason in (("a", "negative"), ("b", "negative"), ("a", "no item")):
            con.execute(f"INSERT INTO quarantine (batch_id, reason) VALUES ('{batch}', '{reason}')")
        negative, no_item = ledger.quarantined(con)
    assert (negative.detail, negative.count) == ("negative", 2)
    assert (negative.first_seen, negative.last_seen) == (NOW, later)
    assert (no_item.detail, no_item.count, no_item.last_seen) == ("no item", 1, NOW)
