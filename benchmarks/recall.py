"""What the retraining gate saw of each world, and how often it was wrong: rows of gates.json.

A row keeps `worlds`, what it was counted from: a word per seed in their order, a letter per weekly
decision of LETTERS.
"""

import statistics
from collections.abc import Sequence

from benchmarks.margins import CLEAN, LAYERS, Week
from benchmarks.rows import Row, plain_row
from benchmarks.worlds import SHIFTS, Layer, Shift

OF_LAYER: dict[Layer, str] = {"quality": "Q", "drift": "D", "performance": "P"}
LETTERS: dict[str, str] = {
    "pass": ".",
    "insufficient": "?",  # too little has matured for a decision
    **{outcome: OF_LAYER[layer] for outcome, layer in LAYERS.items()},
}
CONTROLS = {"retrained": "P", "alerted": "D", "held": "Q"}


def rows(weeks: Sequence[Week]) -> list[Row]:
    """The rows of gates.json: summary first, then those of each world."""
    said = [(s, size, spoken(weeks, s.name, size)) for s in SHIFTS for size in s.sizes]
    seeded = [(OF_LAYER[s.layer], words) for s, _, words in said if s.layer != "none"]
    each = [row for shift, size, words in said for row in _of_world(shift, size, words)]
    return [*_summary(seeded), *_of_clean(spoken(weeks, CLEAN, 0.0)), *each]


def spoken(weeks: Sequence[Week], shift: str, size: float) -> list[str]:
    """A word per seed: what the gate said in the weeks of its world."""
    words: dict[int, str] = {}
    for week in sorted(weeks, key=lambda w: (w.seed, w.cutoff)):
        if (week.shift, week.size) == (shift, size):
            words[week.seed] = words.get(week.seed, "") + LETTERS[week.outcome]
    return list(words.values())


def _summary(seeded: Sequence[tuple[str, list[str]]]) -> list[Row]:
    """Over all shifts that a layer (its letter) has to see, by seed."""
    seen = [own in word for own, words in seeded for word in words]
    first = [(own, word.strip(".?")[:1]) for own, words in seeded for word in words]
    right = [own == spoke for own, spoke in first if spoke]
    poisoned = "".join(word for own, words in seeded if own == "Q" for word in words)
    return [
        plain_row("drift_recall", "share", statistics.mean(seen), target=0.9),
        plain_row("right_layer_share", "share", statistics.mean(right), target=0.95),
        _at_most("retrains_on_poisoned_data", "retrains", poisoned.count("P"), 0.0),
        _at_most("alerts_on_poisoned_data", "alerts", poisoned.count("D")),
        plain_row("seeded_worlds", "worlds", len(seen)),
    ]


def _of_clean(words: list[str]) -> list[Row]:
    decisions = "".join(words).replace("?", "")
    per_40 = 40 / max(len(decisions), 1)
    return [
        _at_most(
            "false_retrains_per_40_clean_weeks", "retrains", decisions.count("P") * per_40, 1.0
        ),
        _at_most("false_alerts_per_40_clean_weeks", "alerts", decisions.count("D") * per_40),
        _at_most("false_holds_per_40_clean_weeks", "holds", decisions.count("Q") * per_40),
        {**plain_row("clean_weeks", "decisions", len(decisions)), "worlds": " ".join(words)},
    ]


def _of_world(shift: Shift, size: float, words: list[str]) -> list[Row]:
    name, worlds = f"{shift.name} {size:+g} ({shift.layer})", " ".join(words)
    if shift.layer == "none":
        shares = {what: statistics.mean(own in w for w in words) for what, own in CONTROLS.items()}
        made = [_at_most(f"{what}: {name}", "share", share) for what, share in shares.items()]
        return [{**made[0], "worlds": worlds}, *made[1:]]
    own = OF_LAYER[shift.layer]
    days = [7 * (word.index(own) + 1) for word in words if own in word]
    recall = plain_row(f"recall: {name}", "share", len(days) / len(words))
    delay = [plain_row(f"delay: {name}", "days", statistics.median(days))] if days else []
    return [{**recall, "worlds": worlds}, *delay]


def _at_most(metric: str, unit: str, value: float, target: float | None = None) -> Row:
    return plain_row(metric, unit, value, target, more_is_better=False)


def show(weeks: Sequence[Week]) -> None:
    """Prints what each world measured at each decision, to set thresholds by."""
    for w in sorted(weeks, key=lambda w: (w.shift, w.size, w.seed, w.days, w.cutoff)):
        print(w.shift, w.size, w.seed, w.cutoff, w.days, w.outcome, "; ".join(w.reasons))
