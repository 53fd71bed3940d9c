"""Result files agree with themselves, and what is not chance or time is computed once more."""

import re
from statistics import mean, median
from typing import Any

import polars as pl
import pytest

from benchmarks.accuracy import judge, world
from benchmarks.accuracy.__main__ import HEADLINE, settings_of
from benchmarks.accuracy.methods import Bench
from benchmarks.report import RESULTS, read
from benchmarks.worlds import SHIFTS
from data.schema import KEYS
from data.settings import Settings
from models.baselines import baseline_forecasts
from models.dataset import actuals, target_days
from models.metrics import LEVELS, level_scales

FILES = sorted(
    f.stem for f in RESULTS.glob("*.json") if f.stem not in ("thresholds", "accuracy-cells")
)
PAIRED = ("pipeline", "serving")  # their ratio is the median of pairs, not that of two medians
MORE_IS_BETTER = re.compile(
    r".*(throughput|goodput|_cases|batch_vs_loop|recall|right_layer|planted|named_share)"
    r"|demo_series|series|weeks|policies|identical_on_rerun|oracle_gap|levels_with"
)
AROUND = re.compile(r"coverage_(80|95)")  # may be 0.02 from its target
OF_RATIO = re.compile(r"other_data|overload_goodput|.*_vs_")
STRICT = re.compile(r".*_worst_level|cold_start|other_data")  # 1 is a draw, no win
SIMPLE = ["naive", "seasonal naive", "moving average 28", "moving average 56"]
SIMPLE += ["weekday mean", "level x weekday"]


def rows(name: str) -> dict[str, dict[str, Any]]:
    return {row["metric"]: row for row in read(name)["rows"]}


@pytest.mark.parametrize("name", FILES)
def test_a_ratio_is_ours_over_theirs(name: str) -> None:
    for row in rows(name).values():
        ours, theirs, ratio = row["ours"], row["theirs"], row["ratio"]
        if not theirs:
            assert ratio is None, row
            continue
        # Both sides are rounded to four places, the ratio to three or four.
        room = 0.2 * ratio if name in PAIRED else 0.0005 + ratio * (5e-5 / ours + 5e-5 / theirs)
        assert ratio == pytest.approx(ours / theirs, abs=room), row
        assert row.get("low", ratio) <= ratio <= row.get("high", ratio), row


@pytest.mark.parametrize("name", FILES)
def test_a_target_is_met_where_the_figure_says_so(name: str) -> None:
    for metric, row in rows(name).items():
        target = row["target"]
        if target is None:
            assert row["met"] is None, row
            continue
        found = row["ratio"] if OF_RATIO.match(metric) and row["ratio"] else row["ours"]
        if AROUND.match(metric):
            met = abs(found - target) <= 0.02
        elif MORE_IS_BETTER.match(metric):
            met = found >= target
        else:
            met = found < target if STRICT.match(metric) else found <= target
        assert row["met"] is met, row


def test_what_is_said_of_levels_follows_from_the_levels() -> None:
    found = rows("accuracy")
    wrmsse = {
        tuple(metric.removeprefix("wrmsse ").split(": ")): row
        for metric, row in found.items()
        if metric.startswith("wrmsse ")
    }
    for (level, model), row in wrmsse.items():
        if level == "mean":
            own = [wrmsse[lv, model] for lv in judge.HEADLINE]
            for side in ("ours", "theirs"):
                assert row[side] == pytest.approx(mean(r[side] for r in own), abs=1e-4), row
    means = {m: row for (level, m), row in wrmsse.items() if level == "mean"}
    simple = min(r["theirs"] for m, r in means.items() if m not in ("mlforecast", "oracle"))
    headline = found["wrmsse_mean_levels"]
    assert (headline["ours"], headline["theirs"]) == (means["naive"]["ours"], simple)
    for metric, against in (
        ("wrmsse_vs_mlforecast_worst_level", lambda m: m == "mlforecast"),
        ("wrmsse_vs_best_baseline_worst_level", lambda m: m not in ("mlforecast", "oracle")),
    ):
        worst = {
            lv: max(r["ratio"] for (level, m), r in wrmsse.items() if level == lv and against(m))
            for lv in LEVELS
        }
        level = found[metric]["unit"].removeprefix("WRMSSE ")
        assert found[metric]["ratio"] == worst[level] == max(worst.values())
    few = re.compile(r"ratio to .*, [1-7] origins")  # too few to count
    ratios = [r for m, r in found.items() if m.startswith("ratio ") and m.endswith("high")]
    ends = [r["ours"] for r in ratios if not few.fullmatch(r["unit"])]
    assert found["levels_with_interval_below_1"]["ours"] == sum(end < 1 for end in ends)
    series = {m: r["theirs"] for (level, m), r in wrmsse.items() if level == "series"}
    best = min(v for m, v in series.items() if m not in ("mlforecast", "oracle"))
    gap = (best - wrmsse["series", "naive"]["ours"]) / (best - series["oracle"])
    assert found["oracle_gap_closed_series"]["ours"] == pytest.approx(gap, abs=0.005)


def test_the_cells_of_accuracy_add_up_to_the_whole() -> None:
    fifths = [row for row in read("accuracy-cells")["rows"] if row["metric"].startswith("fifth")]
    assert len(fifths) == 5 * 4
    days = [row["days"] for row in fifths]
    for level in (50, 80, 95):
        share = sum(n * row[f"coverage_{level}"] for n, row in zip(days, fifths, strict=True))
        whole = rows("accuracy")[f"coverage_{level}"]["ours"]
        assert share / sum(days) == pytest.approx(whole, abs=0.002)
    worst = max(abs(row[f"coverage_{k}"] - k / 100) for row in fifths for k in (80, 95))
    found = rows("accuracy")["coverage_worst_cell_abs_dev"]["ours"]
    assert worst == pytest.approx(found, abs=0.002)


def test_the_summary_of_the_gate_follows_from_what_it_said_of_each_seed() -> None:
    """A word per seed, a letter per week: Q holds, D alerts, P retrains, ? knows too little."""
    found = rows("gates")
    said: dict[str, list[tuple[str, list[str]]]] = {"Q": [], "D": [], "P": []}
    for shift in SHIFTS:
        for size in shift.sizes:
            name = f"{shift.name} {size:+g} ({shift.layer})"
            kind = "retrained" if shift.layer == "none" else "recall"
            words = found[f"{kind}: {name}"]["worlds"].split()
            assert len(words) == 10, name
            if shift.layer == "none":
                for control, letter in (("retrained", "P"), ("alerted", "D"), ("held", "Q")):
                    assert found[f"{control}: {name}"]["ours"] == mean(letter in w for w in words)
                continue
            own = {"quality": "Q", "drift": "D", "performance": "P"}[shift.layer]
            said[own].append((name, words))
            days = [7 + 7 * word.find(own) for word in words if own in word]
            assert found[f"recall: {name}"]["ours"] == len(days) / 10
            assert found.get(f"delay: {name}", {"ours": None})["ours"] == (
                median(days) if days else None
            )
    words_of = {own: [w for _, words in worlds for w in words] for own, worlds in said.items()}
    every = [(own, word) for own, words in words_of.items() for word in words]
    assert found["seeded_worlds"]["ours"] == len(every)
    recall = mean(own in word for own, word in every)
    assert found["drift_recall"]["ours"] == pytest.approx(recall, abs=1e-4)
    first = [(own, re.search("[QDP]", word)) for own, word in every]
    right = mean(own == spoke[0] for own, spoke in first if spoke)
    assert found["right_layer_share"]["ours"] == pytest.approx(right, abs=1e-4)
    poisoned = "".join(words_of["Q"])
    assert found["retrains_on_poisoned_data"]["ours"] == poisoned.count("P")
    assert found["alerts_on_poisoned_data"]["ours"] == poisoned.count("D")


def test_what_the_gate_did_in_clean_weeks_follows_from_what_it_said() -> None:
    found = rows("gates")
    words = found["clean_weeks"]["worlds"].split()
    weeks = [letter for word in words for letter in word if letter != "?"]
    assert (len(words), found["clean_weeks"]["ours"]) == (10, len(weeks))
    for what, letter in (("retrains", "P"), ("alerts", "D"), ("holds", "Q")):
        per_40 = 40 * weeks.count(letter) / len(weeks)
        assert found[f"false_{what}_per_40_clean_weeks"]["ours"] == pytest.approx(per_40, abs=1e-4)


def test_the_summary_of_the_replay_follows_from_its_policies() -> None:
    found = rows("replay")
    loss = {m.removeprefix("policy "): r["ours"] for m, r in found.items() if m[:7] == "policy "}
    assert found["policies"]["ours"] == len(loss)
    for name, own in loss.items():
        against = found[f"against the least, {name}"]["ours"]
        assert against == pytest.approx(own / min(loss.values()), abs=3e-4)
        assert found[f"false retrains, {name}"]["ours"] <= found[f"retrainings, {name}"]["ours"]
    said = found["recommendation"]["unit"]
    chosen, least = re.findall(r"`([^`]+)`", said)
    assert loss[least] == min(loss.values())
    over = found[f"against the least, {chosen}"]["ours"] - 1
    assert f"({over:+.1%}, " in said
    for name in (chosen, least):
        assert f"({found[f'training, {name}']['ours']:.0f}" in said
        count = f"{found[f'retrainings, {name}']['ours']:.0f}".replace("0", "no")
        assert f"{count} retrainings" in said


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The data of the benchmark of accuracy, loaded anew from the package."""
    settings: Settings = settings_of(tmp_path_factory.mktemp("accuracy"))
    world.load(settings)
    made = Bench(settings, HEADLINE)
    world.build_features(settings, world.snapshot_of(settings, HEADLINE[0]), HEADLINE)
    return made


def test_the_errors_of_simple_methods_are_what_they_were(bench: Bench) -> None:
    steps, until, sums, scales = bench.settings.steps, bench.sales["ds"].max(), [], []
    for origin in HEADLINE:
        dense, features = bench.history(origin), bench.features(origin)
        horizon = bench.settings.horizon
        made = baseline_forecasts(features, dense, horizon, bench.spec, SIMPLE)
        grid = target_days(bench.series.with_columns(cutoff=pl.lit(origin)), horizon, steps)
        sold = actuals(grid, bench.sales, until=until, steps=steps)
        scored = made.join(sold.select(*KEYS, "cutoff", "ds", "y"), on=[*KEYS, "cutoff", "ds"])
        sums += [judge.errors(part) for _, part in scored.group_by("model")]
        scales.append(judge.scale_table(level_scales(dense), origin))
    table = judge.figures(judge.scaled(pl.concat(sums), pl.concat(scales)))
    found, kept = table.select("model", "level", "wrmsse").rows(), rows("accuracy")
    assert len(found) == len(SIMPLE) * len(LEVELS)
    for model, level, value in found:
        assert round(value, 4) == kept[f"wrmsse {level}: {model}"]["theirs"], (level, model)
