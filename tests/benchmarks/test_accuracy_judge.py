"""What the accuracy benchmark draws from forecasts, against loops that a reader can check."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from benchmarks.accuracy import cells, judge, methods, point, uncertain
from benchmarks.accuracy.methods import AUTO_ETS, ORACLE, OURS, Bench
from benchmarks.accuracy.uncertain import coverage_table, plain_step
from data.schema import QUANTILE_COLUMNS
from data.settings import Settings
from models.metrics import LEVELS, level_scales, pinball, wrmsse

CUTOFFS = [date(2017, 9, 10), date(2017, 9, 17)]


def scored(model: str, factor: float, cutoff: date, seed: int = 0) -> pl.DataFrame:
    """Two stores x three items x 28 days; forecasts are off by `factor` times the same noise."""
    rng = np.random.default_rng([seed, cutoff.toordinal()])
    rows = []
    for s in "ab":
        for i in "xyz":
            for k in range(1, 29):
                y = float(rng.poisson(4))
                off = y + factor * rng.normal()
                rows.append((s, i, cutoff, cutoff + timedelta(days=k), k, y, off, model))
    names = ["store_id", "item_id", "cutoff", "ds", "step", "y", "y_hat", "model"]
    return pl.DataFrame(rows, schema=names, orient="row")


def scales_at(cutoff: date) -> dict[str, pl.DataFrame]:
    past = scored("past", 0.0, cutoff - timedelta(days=28), seed=5)
    return level_scales(past.select("store_id", "item_id", "ds", "y"))


@pytest.fixture(scope="module")
def nodes() -> pl.DataFrame:
    sums = [judge.errors(scored(m, f, c)) for m, f in (("a", 1), ("b", 2)) for c in CUTOFFS]
    scales = [judge.scale_table(scales_at(c), c) for c in CUTOFFS]
    return judge.scaled(pl.concat(sums), pl.concat(scales))


def test_wrmsse_from_sums_is_the_metric_of_the_models_room(nodes: pl.DataFrame) -> None:
    table = judge.figures(nodes).filter(pl.col("model") == "a")
    found = dict(table.select("level", "wrmsse").iter_rows())
    each = [wrmsse(scored("a", 1, c), scales_at(c)) for c in CUTOFFS]
    for level, value in found.items():
        assert value == pytest.approx(np.mean([e[level] for e in each]))
    assert set(found) == set(each[0]) - {"mean"}


def test_twice_the_error_is_twice_the_loss_with_an_interval_around_it(nodes: pl.DataFrame) -> None:
    for level in ("total", "store", "series"):
        value, low, high = judge.ratio_interval(nodes, [level], "b", "a", seed=1)
        assert value == pytest.approx(2) and low == pytest.approx(2) and high == pytest.approx(2)


def test_the_interval_of_a_ratio_holds_it_and_is_not_a_point(nodes: pl.DataFrame) -> None:
    other = [judge.errors(scored("c", 1, c, seed=9)) for c in CUTOFFS]
    scales = [judge.scale_table(scales_at(c), c) for c in CUTOFFS]
    both = pl.concat([nodes, judge.scaled(pl.concat(other), pl.concat(scales))])
    value, low, high = judge.ratio_interval(both, ["series"], "c", "a", seed=1)
    assert low < value < high


def test_a_ratio_on_few_origins_is_shown_with_their_number_and_counts_for_nothing(
    nodes: pl.DataFrame,
) -> None:
    def counted(origins: int) -> tuple[set[str], float]:
        first = nodes.filter(pl.col("cutoff") == CUTOFFS[0])
        many = [
            first.with_columns(cutoff=pl.lit(CUTOFFS[0] + timedelta(k))) for k in range(origins)
        ]
        names = pl.col("model").replace({"a": OURS, "b": AUTO_ETS})
        bench = Bench(Settings(_env_file=None), CUTOFFS)
        renamed = pl.concat(many).with_columns(names)
        found = point._interval_rows(bench, renamed, {"total": AUTO_ETS, "store": AUTO_ETS})
        return {row["unit"] for row in found[:-1]}, found[-1]["ours"]

    assert counted(8) == ({f"ratio to {AUTO_ETS}, 8 origins"}, 2)
    assert counted(7) == ({f"ratio to {AUTO_ETS}, 7 origins"}, 0)


def test_the_share_of_the_gap_has_an_interval_and_the_number_of_its_origins(
    nodes: pl.DataFrame,
) -> None:
    zero = [judge.errors(scored(ORACLE, 0.0, c)) for c in CUTOFFS[:1]]
    scales = [judge.scale_table(scales_at(c), c) for c in CUTOFFS]
    names = pl.col("model").replace({"a": OURS, "b": "naive"})
    every = pl.concat([nodes.with_columns(names), judge.scaled(pl.concat(zero), scales[0])])
    wrmsse = {(OURS, "series"): 0.9, ("naive", "series"): 1.8, (ORACLE, "series"): 0.0}
    bench = Bench(Settings(_env_file=None), CUTOFFS)
    gap, low, high = point._gap_rows(bench, every, wrmsse, "naive")
    assert gap["ours"] == 0.5 and gap["met"] is True
    assert low["unit"] == high["unit"] == "share, 1 origins"
    assert low["ours"] == pytest.approx(0.5) == high["ours"]  # b errs twice as much everywhere


def test_errors_by_lead_week_add_up(nodes: pl.DataFrame) -> None:
    sums = judge.errors(scored("a", 1, CUTOFFS[0]))
    assert sorted(sums["lead_week"].unique()) == [1, 2, 3, 4]
    series = sums.filter(pl.col("level") == "series")
    frame = scored("a", 1, CUTOFFS[0])
    assert series["sse"].sum() == pytest.approx(((frame["y"] - frame["y_hat"]) ** 2).sum())


def test_the_worst_bias_is_that_of_a_group_that_is_large_enough() -> None:
    frame = pl.DataFrame(
        {"g": ["a", "b", "c"], "y": [100.0, 100.0, 1.0], "y_hat": [104.0, 91.0, 9.0]}
    )
    assert judge.worst_bias(frame, pl.col("g"), 0.02) == pytest.approx(0.09)
    assert judge.worst_bias(frame, pl.col("g")) == pytest.approx(8.0)


def test_tiers_hold_a_fifth_of_the_series_each() -> None:
    features = pl.DataFrame(
        {"store_id": ["s"] * 10, "item_id": [str(k) for k in range(10)], "mean_56": range(10)}
    )
    tiers = judge.tiers_of(features)
    assert tiers["tier"].to_list() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


def test_coverage_is_counted_by_tier_and_lead_week() -> None:
    u = np.tile((np.arange(100) + 0.5) / 100, 2)
    rows = pl.DataFrame(
        {"u": u, "tier": [1] * 100 + [2] * 100, "step": [3] * 100 + [27] * 100}
    ).with_columns(pl.lit(0.0).alias("q0.1"), pl.lit(2.0).alias("q0.9"))
    table = coverage_table(rows)
    assert table["lead_week"].to_list() == [1, 4]
    assert table["coverage_80"].to_list() == pytest.approx([0.8, 0.8])
    assert table["width_80"].to_list() == [2.0, 2.0]


def test_the_errors_of_a_cell_are_those_of_its_days() -> None:
    frame = scored("a", 1, CUTOFFS[0]).filter(pl.col("item_id") != "z")
    tier = pl.when(pl.col("item_id") == "x").then(1).otherwise(2)
    spread = [pl.lit(float(c[1:]) * 8).alias(c) for c in QUANTILE_COLUMNS]
    mine = frame.with_columns(*spread, tier=tier, u=pl.lit(0.5))
    scales = judge.scale_table(scales_at(CUTOFFS[0]), CUTOFFS[0])
    found = {row["metric"]: row for row in cells.of_series(mine, scales)}
    assert len(found) == 2 * 4
    cell = mine.filter((pl.col("item_id") == "y") & pl.col("step").is_between(8, 14))
    gap, row = (cell["y"] - cell["y_hat"]).abs(), found["fifth 2, week 2"]
    assert row["days"] == 14
    assert row["wape"] == pytest.approx(gap.sum() / cell["y"].sum(), abs=1e-4)
    assert row["bias"] == pytest.approx(cell["y_hat"].sum() / cell["y"].sum() - 1, abs=1e-4)
    assert row["pinball"] == pytest.approx(pinball(cell)["mean"], abs=1e-4)
    assert row["width_80"] == pytest.approx(6.4)
    seasonal = dict(scales_at(CUTOFFS[0])["series"].select("node", "seasonal").iter_rows())
    by_series = [
        gap.to_numpy()[k : k + 7].mean() / seasonal[f"/{s}/y"] for k, s in ((0, "a"), (7, "b"))
    ]
    assert row["mase"] == pytest.approx(np.mean(by_series), abs=1e-4)


def test_levels_are_told_by_lead_week_in_their_order(nodes: pl.DataFrame) -> None:
    sums = pl.concat(judge.errors(scored("a", 1, c)) for c in CUTOFFS)
    scales = pl.concat(judge.scale_table(scales_at(c), c) for c in CUTOFFS)
    rows = cells.of_levels(judge.scaled(sums, scales, ["lead_week"]))
    levels = [lv for lv in LEVELS if lv in set(nodes["level"])]
    assert [r["metric"] for r in rows] == [f"{lv}, week {w}" for lv in levels for w in range(1, 5)]


def test_intervals_that_cross_and_forecasts_below_zero_are_counted() -> None:
    bands = {c: [float(k), 2.0] for k, c in enumerate(QUANTILE_COLUMNS)}
    frame = pl.DataFrame({**bands, "y_hat": [1.0, -0.1]})
    clean = uncertain._order_rows(frame[:1])
    assert [(row["ours"], row["met"]) for row in clean] == [(0, True), (0, True)]
    wrong = frame.with_columns(pl.lit(-1.0).alias("q0.975"))
    found = [row["ours"] for row in uncertain._order_rows(wrong)]
    assert found == [2, 3] and uncertain._order_rows(wrong)[0]["met"] is False


def test_what_other_code_or_libraries_made_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "ROOT", tmp_path)
    made = [tmp_path / name for name in methods.ALONE]
    made += [tmp_path / "data" / "sql" / "sales.sql", tmp_path / "checks" / "contracts" / "a.yml"]
    made += [tmp_path / "models" / "baselines.py", tmp_path / "feature_repo" / "transforms.py"]
    kept = [tmp_path / "models" / "plots.py", tmp_path / "data" / "state" / "a.sql"]
    for path in made + kept:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("one")
    before = methods.code_of()
    for path in kept:
        path.write_text("two")
    assert methods.code_of() == before
    seen = {before}
    for path in made:
        path.write_text("two")
        seen.add(methods.code_of())
    assert len(seen) == 1 + len(made)


def test_series_of_an_earlier_origin_are_chosen_there_in_a_state_of_their_own() -> None:
    settings = Settings(_env_file=None)
    early = methods.since(settings, date(2017, 4, 16))
    assert early.first_cutoff == date(2017, 4, 16) < settings.first_cutoff
    assert early.state_dir.parent == settings.state_dir
    assert early.series_min_days < settings.series_min_days


def test_plain_conformal_quantiles_hold_at_every_volume() -> None:
    rng = np.random.default_rng(3)
    y_hat = rng.gamma(1, 20, 40_000)
    y = rng.normal(y_hat, 0.5 * np.sqrt(y_hat))
    rows = pl.DataFrame({"y": y, "y_hat": y_hat})
    past, now = rows[:20_000], rows[20_000:]
    bands = plain_step(Bench(Settings(_env_file=None), CUTOFFS), past, now)
    assert (np.diff(bands, axis=1) >= 0).all() and (bands >= 0).all()
    inside = (now["y"].to_numpy() >= bands[:, 1]) & (now["y"].to_numpy() <= bands[:, -2])
    for low in (True, False):
        of = (now["y_hat"] < now["y_hat"].median()).to_numpy() == low
        assert abs(inside[of].mean() - 0.8) < 0.02


def test_plain_conformal_quantiles_of_forecasts_that_are_alike_rest_on_all_errors() -> None:
    past = pl.DataFrame({"y": [float(k % 5) for k in range(100)], "y_hat": [2.0] * 100})
    bands = plain_step(Bench(Settings(_env_file=None), CUTOFFS), past, past.head(1))
    lower = plain_step(
        Bench(Settings(_env_file=None), CUTOFFS), past, pl.DataFrame({"y_hat": [1.0]})
    )
    assert bands[0, 0] == 0.0 and bands[0, -1] == 4.0
    assert (np.diff(lower[0]) >= 0).all()
