"""What serves after a fall back: the version before, what sold last, or the champion still."""

from collections.abc import Callable, Sequence
from datetime import date

from models.baselines import SEASONAL_NAIVE
from models.forecaster import Forecaster


def choose(
    champion: Forecaster,
    *,
    before: Forecaster | None,
    last_week: Callable[[], Forecaster],
    lost: Sequence[date],
    beats_naive: Callable[[Forecaster], bool],
) -> Forecaster:
    """The model that serves from now on, decided alike by the deployment and by a replay.

    That is `before`, the version that a rollback would go back to, if it has learnt something and
    beats seasonal naive in the weeks that the champion lost (last days `lost`; empty, by hand, asks
    nobody). Else it is the model that repeats the last week, which `last_week` makes. In daily data
    that is seasonal naive, which won those weeks; in weekly data seasonal naive repeats the year
    before, and the last week serves only if it would have beaten it, too. A champion that repeats
    serves on, and so does one that nobody would have done better than.
    """
    if champion.repeats:
        return champion
    asked = before is not None and not before.repeats and before.version != champion.version
    if before and asked and lost and beats_naive(before):
        return before
    last = last_week()
    if not lost or last.method == SEASONAL_NAIVE or beats_naive(last):
        return last
    return champion
