"""What the retraining gate saw of each world, and how often it was wrong: rows of gates.json."""

import statistics
from collections.abc import Sequence

from benchmarks.margins import CLEAN, Week
from benchmarks.rows import Row, plain_row
from benchmarks.worlds import SHIFTS


def rows(weeks: Sequence[Week]) -> list[Row]:
    """The rows of gates.json: summary first, then two per seeded world."""
    clean = [w for w in weeks if w.shift == CLEAN and w.outcome != "insufficient"]
    per_40 = 40 / max(len(clean), 1)
    found, first, delays, made = [], [], [], []
    for shift in SHIFTS:
        for size in shift.sizes:
            own = [w for w in weeks if (w.shift, w.size) == (shift.name, size)]
            name = f"{shift.name} {size:+g} ({shift.layer})"
            if shift.layer == "none":
                seeds = max(len({w.seed for w in own}), 1)
                wrong = {w.seed for w in own if w.layer == "performance"}
                made.append(_at_most(f"retrained: {name}", "share", len(wrong) / seeds))
                continue
            by_seed = [[w for w in own if w.seed == s] for s in sorted({w.seed for w in own})]
            seen = [next((w for w in world if w.layer == shift.layer), None) for world in by_seed]
            alarms = [next((w for w in world if w.layer != "none"), None) for world in by_seed]
            found += [w is not None for w in seen]
            first += [w.layer == shift.layer for w in alarms if w]
            delays = [w.days for w in seen if w]
            made.append(plain_row(f"recall: {name}", "share", len(delays) / len(seen)))
            if delays:
                made.append(plain_row(f"delay: {name}", "days", statistics.median(delays)))
    poisoned = {s.name for s in SHIFTS if s.layer == "quality"}
    trained = [w for w in weeks if w.shift in poisoned and w.layer == "performance"]
    return [
        plain_row("drift_recall", "share", statistics.mean(found), target=0.9),
        plain_row("right_layer_share", "share", statistics.mean(first), target=0.95),
        _at_most(
            "false_retrains_per_40_clean_weeks",
            "retrains",
            sum(w.layer == "performance" for w in clean) * per_40,
            1.0,
        ),
        _at_most("retrains_on_poisoned_data", "retrains", len(trained), 0.0),
        _at_most(
            "false_alerts_per_40_clean_weeks",
            "alerts",
            sum(w.layer == "drift" for w in clean) * per_40,
        ),
        _at_most(
            "false_holds_per_40_clean_weeks",
            "holds",
            sum(w.layer == "quality" for w in clean) * per_40,
        ),
        plain_row("clean_weeks", "decisions", len(clean)),
        plain_row("seeded_worlds", "worlds", len(found)),
        *made,
    ]


def _at_most(metric: str, unit: str, value: float, target: float | None = None) -> Row:
    row = plain_row(metric, unit, value)
    return row if target is None else {**row, "target": target, "met": value <= target}


def show(weeks: Sequence[Week]) -> None:
    """Prints what each world measured at each decision, to set thresholds by."""
    for w in sorted(weeks, key=lambda w: (w.shift, w.size, w.seed, w.days, w.cutoff)):
        print(w.shift, w.size, w.seed, w.cutoff, w.days, w.outcome, "; ".join(w.reasons))
