"""Contracts of tables: Soda runs checks/contracts/NAME.yml on an open DuckDB connection."""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any, cast

import yaml

from checks.report import CheckResult, ContractBreach, ContractReport, read_result, rows
from data.warehouse import Connection

__all__ = [
    "CheckResult",
    "ContractBreach",
    "ContractReport",
    "row_rules",
    "rows",
    "verify",
]

FOLDER = Path(__file__).parent / "contracts"
DATA_SOURCE = "wh"  # first segment of `dataset:` in every contract
HARMLESS = re.compile(r"[\w.:,+\- ]*")  # values are pasted into SQL, and none needs a quote


def verify(
    contract: str,
    cursor: Connection,
    *,
    as_of: datetime,
    variables: Mapping[str, str] | None = None,
) -> ContractReport:
    """Runs a contract on the tables that `cursor` sees; changes nothing and doesn't close it.

    `as_of` (with a time zone) plays now: freshness counts from it, and the contract's variable
    AS_OF is set to it. Raises FileNotFoundError for an unknown contract and ValueError for a
    variable that is missing, unknown or unfit to stand in SQL. A failing check raises nothing:
    see ContractReport.require.
    """
    document = _read(contract)
    values = _values(contract, document, as_of, variables or {})
    with _without_soda_noise():
        session = _run(FOLDER / f"{contract}.yml", cursor, values, as_of)
    found = {
        _label(r.check.column_name, r.check.name): r
        for verification in session.contract_verification_results
        for r in verification.check_results
    }
    declared = _declared(document)
    results = tuple(read_result(label, body, found.get(label)) for label, body in declared.items())
    return ContractReport(contract, results, tuple(session.get_errors()))


def row_rules(contract: str = "landing", *, as_of: datetime) -> list[tuple[str, str]]:
    """Reasons in words, each with the SQL predicate that is true for a bad row.

    They are the contract's own row rules, for a WHERE on the same table: they select the rows
    that the contract counts. None is ever true of a row that was excluded. A predicate may be
    NULL, which means not bad.
    """
    rules = _rules(_read(contract), as_of)
    return [(reason, f"exclusion IS NULL AND ({sql})") for reason, sql in rules]


def _read(contract: str) -> dict[str, Any]:
    path = FOLDER / f"{contract}.yml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.yml")))
        raise FileNotFoundError(f"there is no contract {contract!r}; known contracts: {known}")
    return cast(dict[str, Any], yaml.safe_load(path.read_text(encoding="utf-8")))


def _rules(document: Mapping[str, Any], as_of: datetime) -> list[tuple[str, str]]:
    """Name and SQL of each row rule; other failed_rows checks have a query."""
    moment = _moment(as_of)
    bodies = [check["failed_rows"] for check in document["checks"] if "failed_rows" in check]
    return [
        (body["name"], body["expression"].replace("${var.AS_OF}", moment))
        for body in bodies
        if "expression" in body
    ]


def _label(column: str | None, name: str | None) -> str:
    return f"{column} {name}" if column else str(name)


def _declared(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All checks of a contract by label; each has a name that is unique within its column."""
    checks = [(None, check) for check in document["checks"]]
    checks += [(c["name"], check) for c in document["columns"] for check in c.get("checks", [])]
    pairs = [(_label(col, body["name"]), body) for col, c in checks for body in c.values()]
    if len(dict(pairs)) < len(pairs):
        raise ValueError(f"two checks of {document['dataset']} have the same name")
    return dict(pairs)


def _moment(as_of: datetime) -> str:
    if as_of.tzinfo is None:
        raise ValueError(f"as_of is {as_of.isoformat()}, without a time zone; it needs one")
    return as_of.isoformat()


def _values(
    contract: str,
    document: Mapping[str, Any],
    as_of: datetime,
    given: Mapping[str, str],
) -> dict[str, str | float]:
    """Values of the contract's variables: the given ones, AS_OF, and ANY_BAD where declared."""
    defaults = {n: (body or {}).get("default") for n, body in document["variables"].items()}
    if unknown := [name for name in given if name not in defaults or name == "ANY_BAD"]:
        raise ValueError(
            f"contract {contract} takes no variable {unknown[0]!r}; it has {', '.join(defaults)}"
        )
    for name, value in given.items():
        if not HARMLESS.fullmatch(value):
            raise ValueError(
                f"variable {name} of contract {contract} is {value!r};"
                " expected letters, digits, blanks and . : , + - _ only"
            )
    values = {"AS_OF": _moment(as_of), **given}
    values["ANY_BAD"] = "(" + " OR ".join(f"({sql})" for _, sql in _rules(document, as_of)) + ")"
    for name, default in defaults.items():
        if default is None and name not in values:
            raise ValueError(f"contract {contract} needs a value for its variable {name}")
    return {n: _typed(n, v, defaults[n]) for n, v in values.items() if n in defaults}


def _typed(name: str, value: str, default: object) -> str | float:
    """A number where the contract's default is one: Soda takes no text for a threshold."""
    if not isinstance(default, int | float):
        return value
    try:
        return float(value)
    except ValueError:
        raise ValueError(f"variable {name} is {value!r}; expected a number") from None


def _run(path: Path, cursor: Connection, values: dict[str, str | float], as_of: datetime) -> Any:
    """Soda's own session result."""
    # Before the first import: otherwise Soda sends telemetry and takes over OpenTelemetry's
    # global tracer provider, which MLflow, Prefect and Ray use.
    os.environ["SODA_CORE_TELEMETRY_ENABLED"] = "false"
    with warnings.catch_warnings():  # Soda defines a class of one that it deprecates
        warnings.simplefilter("ignore", DeprecationWarning)
        from soda_core.contracts import verify_contract_locally
        from soda_duckdb import DuckDBDataSource

    return verify_contract_locally(
        data_sources=[DuckDBDataSource.from_existing_cursor(cursor, name=DATA_SOURCE)],
        contract_file_path=str(path),
        variables=values,
        data_timestamp=_moment(as_of),
    )


@contextmanager
def _without_soda_noise() -> Iterator[None]:
    """Keeps Soda's log lines off the console and leaves the records to Soda's own collector."""

    def keep(record: logging.LogRecord) -> bool:
        return not record.name.startswith("soda")

    handlers = [
        handler
        for handler in logging.getLogger().handlers
        if not type(handler).__module__.startswith("soda_core")
    ]
    for handler in handlers:
        handler.addFilter(keep)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(keep)
