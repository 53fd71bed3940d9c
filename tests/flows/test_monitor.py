"""What monitoring shows in the Prefect UI."""

from datetime import date
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from data.settings import Settings
from flows import monitor as flow


@pytest.mark.parametrize(
    ("cutoff", "said"),
    [
        (date(2017, 9, 10), "The 8 weeks after 2017-09-10"),
        (None, "No forecast has seen all its 8 weeks yet"),
    ],
)
def test_scores_are_called_after_the_horizon_that_was_scored(
    monkeypatch: pytest.MonkeyPatch, cutoff: date | None, said: str
) -> None:
    shown: dict[str, Any] = {}
    monkeypatch.setattr(
        flow,
        "create_table_artifact",
        lambda key, **made: shown.update({key: made["description"]}),
    )
    table = pl.DataFrame(schema={"model": pl.String, "metric": pl.String, "value": pl.Float64})
    weeks = pl.DataFrame(schema={"week": pl.Date})
    quality = SimpleNamespace(results=[])
    seen: Any = SimpleNamespace(
        decay=SimpleNamespace(weeks=weeks), drift=[], muted="", until=cutoff, quality=quality
    )
    performance: Any = SimpleNamespace(table=table, cutoff=cutoff)
    flow.show(Settings(_env_file=None, frequency="1w", horizon=8), seen, performance)
    assert shown["matured-forecasts"] == said


@pytest.mark.parametrize(
    ("frequency", "since"), [("1d", date(2017, 6, 18)), ("1w", date(2017, 2, 26))]
)
def test_forecasts_are_scored_as_far_back_as_their_whole_horizon(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, frequency: str, since: date
) -> None:
    asked: list[date] = []
    scores: Any = SimpleNamespace(scores=pl.DataFrame(schema={"n": pl.Int64}))
    monkeypatch.setattr(flow, "read_snapshot", lambda _: SimpleNamespace(cutoff=date(2017, 9, 10)))
    monkeypatch.setattr(flow.ledger, "issued_forecasts", lambda _con, day: asked.append(day))
    monkeypatch.setattr(flow.monitoring, "score_issued", lambda *_: scores)
    given = settings.model_copy(update={"frequency": frequency, "horizon": 28})
    flow.score_matured.fn(given, settings.state_dir, None)  # type: ignore[arg-type]
    assert asked == [since]
