"""Past forecasts come out again byte for byte, or it is said that they do not."""

from datetime import date, timedelta

import polars as pl
import pytest

from checks.policies import policy
from checks.replay import Replay, day, issued, load
from checks.replay_decisions import serving
from models.forecaster import Forecaster
from models.reissue import reissue

CUTOFF = date(2017, 9, 12)


@pytest.fixture
def model(replayed: Replay) -> Forecaster:
    return load(replayed, serving(replayed, policy("gated"), CUTOFF))


@pytest.fixture
def ledger(replayed: Replay, model: Forecaster) -> pl.DataFrame:
    """What the ledger holds of a cutoff."""
    return issued(replayed, CUTOFF, model.version).with_columns(
        snapshot_id=pl.lit(day(replayed, CUTOFF).snapshot),
        feature_service=pl.lit(model.feature_service),
    )


@pytest.mark.score("infrastructure", 1)
def test_a_past_forecast_comes_out_byte_for_byte(
    replayed: Replay, model: Forecaster, ledger: pl.DataFrame
) -> None:
    found = reissue(replayed.settings, ledger.reverse(), model)
    assert found.is_identical and found.now == found.then
    assert (found.cutoff, found.rows) == (CUTOFF, 24 * 28)


def test_some_series_of_it_come_out_alone(
    replayed: Replay, model: Forecaster, ledger: pl.DataFrame
) -> None:
    some = ledger.filter((pl.col("item_id") == "i1") & (pl.col("step") <= 7))
    assert reissue(replayed.settings, some, model).is_identical


def test_another_number_is_noticed(
    replayed: Replay, model: Forecaster, ledger: pl.DataFrame
) -> None:
    changed = ledger.with_columns(
        pl.col("q0.9") + pl.when(pl.col("step") == 3).then(1e-9).otherwise(0)
    )
    assert not reissue(replayed.settings, changed, model).is_identical


def test_another_model_does_not_pass_for_the_one_that_issued_it(
    replayed: Replay, ledger: pl.DataFrame
) -> None:
    later = CUTOFF + timedelta(days=7)
    other = load(replayed, serving(replayed, policy("always"), later))
    assert not reissue(replayed.settings, ledger, other).is_identical


def test_what_is_needed_and_gone_is_named(
    replayed: Replay, model: Forecaster, ledger: pl.DataFrame
) -> None:
    gone = ledger.with_columns(snapshot_id=pl.lit("0123"))
    with pytest.raises(LookupError, match=r"snapshot 0123 .* is not in"):
        reissue(replayed.settings, gone, model)
    other = ledger.with_columns(feature_service=pl.lit("demand_v0"))
    with pytest.raises(ValueError, match="feature service demand_v0"):
        reissue(replayed.settings, other, model)
