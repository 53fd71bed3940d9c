"""What the check of a contract found, and the error that stops a flow over it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import polars as pl

from data.schema import UTC

Outcome = Literal["passed", "failed", "warned", "not evaluated"]
NAMED = 5  # failing checks that an error names in full; all of them are in the report
OUTCOMES: dict[str, Outcome] = {
    "PASSED": "passed",
    "FAILED": "failed",
    "WARN": "warned",
}
THRESHOLDS = {  # Soda's keys, in words
    "must_be": "",
    "must_not_be": "other than ",
    "must_be_greater_than": "above ",
    "must_be_greater_than_or_equal": "at least ",
    "must_be_less_than": "below ",
    "must_be_less_than_or_equal": "at most ",
}


class ContractBreach(ValueError):
    """A table doesn't keep its contract."""


@dataclass(frozen=True)
class CheckResult:
    """Outcome of one check; `measured` is a count, a percentage or a ratio, by the check."""

    check: str
    outcome: Outcome
    measured: float | None
    expected: str

    def __str__(self) -> str:
        if self.measured is None:
            return f"{self.check} ({self.outcome})"
        return f"{self.check} ({self.outcome}: {self.measured:.6g}, expected {self.expected})"


@dataclass(frozen=True)
class ContractReport:
    """Results of every check that the contract declares, in its order.

    `errors` holds what Soda logged as an error. It explains checks that weren't evaluated and
    decides nothing: records of other libraries end up in it too.
    """

    contract: str
    results: tuple[CheckResult, ...]
    errors: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when every declared check was evaluated and none failed."""
        return bool(self.results) and not self.failures

    @property
    def failures(self) -> tuple[CheckResult, ...]:
        """Checks that failed or weren't evaluated."""
        return tuple(r for r in self.results if r.outcome not in ("passed", "warned"))

    def require(self, subject: str) -> None:
        """Raises ContractBreach that names each failing check, unless the contract is kept.

        `subject` says what was checked, as a reader knows it: "batch 3f2a…", "sales".
        """
        if self.ok:
            return
        found = "; ".join(map(str, self.failures[:NAMED])) or "it declares no checks"
        if len(self.failures) > NAMED:
            found += f"; and {len(self.failures) - NAMED} more"
        cause = ""
        if self.errors and any(f.outcome == "not evaluated" for f in self.failures):
            cause = f" Soda reported: {' '.join(self.errors[0].split())[:300]}"
        raise ContractBreach(f"{subject} breaks the contract {self.contract}: {found}.{cause}")


def rows(report: ContractReport, subject: str, checked_at: datetime) -> pl.DataFrame:
    """The report as rows of the table contract_results, in its column order."""
    schema: dict[str, pl.DataType | type[pl.DataType]] = {
        "checked_at": UTC,
        "subject": pl.String,
        "contract": pl.String,
        "check_name": pl.String,
        "outcome": pl.String,
        "measured": pl.Float64,
        "expected": pl.String,
    }
    head = (checked_at, subject, report.contract)
    records = [(*head, r.check, r.outcome, r.measured, r.expected) for r in report.results]
    return pl.DataFrame(records, schema=schema, orient="row")


def read_result(label: str, body: Mapping[str, Any], found: Any) -> CheckResult:
    """Soda's result of a check declared as `body`, or "not evaluated" when it gave none.

    Soda's overall status isn't used: it comes from captured log records, so that it may say
    "passed" of a table that doesn't exist and "error" for another library's log line.
    """
    if found is None:
        return CheckResult(label, "not evaluated", None, "a result")
    outcome = OUTCOMES.get(found.outcome.name, "not evaluated")
    measured = None if found.threshold_value is None else float(found.threshold_value)
    return CheckResult(label, outcome, measured, _expected(body, found))


def _expected(body: Mapping[str, Any], found: Any) -> str:
    """The threshold in words: "below 5 % of the rows"; for a schema, what differs from it."""
    if found.check.type == "schema":
        return f"no difference; found {_schema_differences(found) or 'none'}"
    limits = [
        f"{words}{limit:g}"
        for key, words in THRESHOLDS.items()
        if (limit := getattr(found.check.threshold, key, None)) is not None
    ]
    unit = " % of the rows" if (body.get("threshold") or {}).get("metric") == "percent" else ""
    return " and ".join(limits) + unit


def _schema_differences(found: Any) -> str:
    """What a schema check found to differ, in words."""
    words = [f"column {name} missing" for name in found.expected_column_names_not_actual or []]
    words += [f"column {name} not agreed" for name in found.actual_column_names_not_expected or []]
    for other in found.column_data_type_mismatches or []:
        agreed, actual = other.expected_data_type, other.actual_data_type
        words.append(f"column {other.column} {actual} instead of {agreed}")
    return ", ".join(words)
