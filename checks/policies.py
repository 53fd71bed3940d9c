"""Policies of retraining that a replay compares, and which of them it recommends. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Policy:
    """When to train again: on a clock (`every` days of the model's age, 0 for every time that it
    is asked, None for never), or when the gate says so."""

    name: str
    every: int | None = None
    gated: bool = False

    def is_due(self, model_age_days: int) -> bool:
        """Whether the clock asks for a training now."""
        return self.every is not None and model_age_days >= self.every


def policy(name: str) -> Policy:
    """The policy of a name: `never`, `always`, `gated`, or `every N days`. Raises ValueError."""
    if name == "gated":
        return Policy(name, gated=True)
    if name in ("never", "always"):
        return Policy(name, every=0 if name == "always" else None)
    if found := re.fullmatch(r"every (\d+) days", name):
        return Policy(name, every=int(found[1]))
    raise ValueError(
        f"There is no policy {name!r}; choose never, always, gated, or every N days with a number."
    )


@dataclass(frozen=True)
class Standing:
    """A policy's result: loss (WRMSSE), its ratio to the least loss of all policies with the 95 %
    band of that ratio, trainings after the first, and the CPU seconds they took."""

    policy: str
    loss: float
    ratio: float
    low: float
    high: float
    trainings: int
    training_seconds: float


def recommend(standings: Sequence[Standing]) -> tuple[str, str]:
    """The policy to choose and one sentence that says why.

    Of those whose loss can't be told from the least one (its band reaches 1), the one with the
    fewest trainings; of equals, the one with the lower loss.
    """
    best = min(standings, key=lambda s: s.loss)
    equal = [s for s in standings if s.low <= 1 or s is best]
    chosen = min(equal, key=lambda s: (s.trainings, s.loss))
    bill = f"{_trainings(chosen)} ({chosen.training_seconds:.0f} CPU seconds)"
    if chosen is best:
        rest = _list([s.policy for s in equal if s is not best])
        noise = f" ({rest} did as well within the noise)" if rest else ""
        return chosen.policy, (
            f"Choose `{chosen.policy}`: no other policy forecast better{noise}, and it took {bill}."
        )
    band = f"95 % band {chosen.low - 1:+.1%} to {chosen.high - 1:+.1%}"
    return chosen.policy, (
        f"Choose `{chosen.policy}`: its loss can't be told from the least one, that of "
        f"`{best.policy}` ({chosen.ratio - 1:+.1%}, {band}), and it took {bill} instead of "
        f"{_trainings(best)} ({best.training_seconds:.0f})."
    )


def _trainings(standing: Standing) -> str:
    n = standing.trainings
    return f"{n or 'no'} retraining{'' if n == 1 else 's'}"


def _list(names: Sequence[str]) -> str:
    quoted = [f"`{name}`" for name in names]
    return " and ".join(filter(None, [", ".join(quoted[:-1]), *quoted[-1:]]))
