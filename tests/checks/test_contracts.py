"""How contracts are run and read."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from importlib.resources import files
from typing import Any

import polars as pl
import pytest
import yaml
from jsonschema import Draft202012Validator

from checks import contracts
from checks.contracts import CheckResult, ContractBreach, ContractReport, rows, verify
from data.warehouse import Connection

Make = Callable[[date, date], pl.DataFrame]
Insert = Callable[[str, pl.DataFrame], None]

DAY = date(2026, 3, 2)
AS_OF = datetime(2026, 3, 3, 11, tzinfo=UTC)
CONTRACTS = sorted(contracts.FOLDER.glob("*.yml"))


@pytest.fixture(scope="session")
def lint() -> Draft202012Validator:
    """Soda's own schema of a contract file, which Soda doesn't apply when it runs one."""
    path = files("soda_core.contracts") / "soda_data_contract_json_schema_1_0_0.json"
    return Draft202012Validator(json.loads(path.read_text()))


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.stem)
def test_contracts_have_no_key_that_soda_would_ignore(path: Any, lint: Any) -> None:
    document = yaml.safe_load(path.read_text())
    assert [error.message for error in lint.iter_errors(document)] == []
    document["checks"][1][next(iter(document["checks"][1]))]["treshold"] = {"must_be": 0}
    assert list(lint.iter_errors(document))


@pytest.mark.parametrize("path", CONTRACTS, ids=lambda path: path.stem)
def test_no_check_only_warns(path: Any) -> None:
    document = yaml.safe_load(path.read_text())
    for body in contracts._declared(document).values():
        assert "level" not in body.get("threshold", {}), "a warning would pass the gate"


def test_a_table_that_is_missing_is_not_ok(con: Connection) -> None:
    con.execute("DROP TABLE sales")
    report = verify("sales", con, as_of=AS_OF)
    assert not {r.outcome for r in report.results} & {"passed", "warned"}
    with pytest.raises(ContractBreach, match=r"and 10 more\. Soda reported: .*sales"):
        report.require("The sales")


def test_a_table_that_is_missing_is_not_ok_with_logging_off(con: Connection) -> None:
    con.execute("DROP TABLE sales")
    logging.disable(logging.CRITICAL)
    try:
        assert not verify("sales", con, as_of=AS_OF).ok
    finally:
        logging.disable(logging.NOTSET)


def test_another_librarys_error_does_not_fail_a_contract(
    con: Connection, insert: Insert, deliveries: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    from soda_core.common.data_source_connection import DataSourceConnection

    query = DataSourceConnection.execute_query

    def noisy(self: Any, *args: Any, **kwargs: Any) -> Any:
        logging.getLogger("another.library").error("connection lost")
        return query(self, *args, **kwargs)

    monkeypatch.setattr(DataSourceConnection, "execute_query", noisy)
    insert("sales", deliveries(DAY, DAY).drop("exclusion", "copies"))
    insert("ingest_log", pl.DataFrame({"batch_id": ["b"], "status": ["published"]}))
    report = verify("sales", con, as_of=AS_OF)
    assert report.ok, report.failures
    assert "connection lost" in report.errors


def test_sodas_log_lines_stay_off_the_console_and_reach_the_report(con: Connection) -> None:
    seen: list[str] = []

    class Console(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.name)

    console = Console()
    logging.getLogger().addHandler(console)
    try:
        con.execute("DROP TABLE sales")
        report = verify("sales", con, as_of=AS_OF)
        logging.getLogger("soda").error("said outside of a verification")
    finally:
        logging.getLogger().removeHandler(console)
    assert report.errors
    assert seen == ["soda"]


@pytest.mark.parametrize(
    ("contract", "variables", "message"),
    [
        ("landing", {}, "landing needs a value for its variable BATCH"),
        ("landing", {"BATCH": "x' OR 1=1 --"}, "BATCH of contract landing is \"x' OR"),
        ("landing", {"BATCH": "b", "BACTH": "b"}, "takes no variable 'BACTH'; it has BATCH"),
        ("landing", {"BATCH": "b", "ANY_BAD": "FALSE"}, "takes no variable 'ANY_BAD'"),
        ("features", {"MIN_ROWS": "many"}, "MIN_ROWS is 'many'; expected a number"),
    ],
)
def test_a_bad_variable_is_refused(
    con: Connection, contract: str, variables: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        verify(contract, con, as_of=AS_OF, variables=variables)


def test_an_unknown_contract_and_a_naive_time_are_refused(con: Connection) -> None:
    with pytest.raises(FileNotFoundError, match="'slaes'; known contracts: features, landing"):
        verify("slaes", con, as_of=AS_OF)
    with pytest.raises(ValueError, match="2026-03-03T11:00:00, without a time zone"):
        verify("sales", con, as_of=AS_OF.replace(tzinfo=None))


def test_a_check_without_a_result_is_not_evaluated(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nothing:
        contract_verification_results = ()

        def get_errors(self) -> list[str]:
            return []

    monkeypatch.setattr(contracts, "_run", lambda *_: Nothing())
    report = verify("sales", None, as_of=AS_OF)  # type: ignore[arg-type]
    assert not report.ok
    assert len(report.results) == 15


def test_two_checks_of_one_name_are_refused() -> None:
    twice = {"dataset": "wh/main/x", "checks": [{"schema": {"name": "a"}}] * 2, "columns": []}
    with pytest.raises(ValueError, match="two checks of wh/main/x have the same name"):
        contracts._declared(twice)


def test_a_report_without_checks_is_not_ok() -> None:
    with pytest.raises(ContractBreach, match="declares no checks"):
        ContractReport("sales", ()).require("The sales")


def test_a_report_becomes_rows_of_its_table(con: Connection, insert: Insert) -> None:
    result = CheckResult("rows", "failed", 0.0, "above 0")
    frame = rows(ContractReport("sales", (result,)), "batch b", AS_OF)
    insert("contract_results", frame)
    stored = con.execute("SELECT * FROM contract_results").fetchall()
    assert stored == [(AS_OF, "batch b", "sales", "rows", "failed", 0.0, "above 0")]
    assert frame.columns == [c[0] for c in con.execute("DESCRIBE contract_results").fetchall()]


def test_sodas_warning_of_its_own_class_stays_off_the_console() -> None:
    code = (
        "import checks.contracts; from datetime import UTC, datetime;"
        "from duckdb import connect;"
        "checks.contracts.verify('sales', connect(), as_of=datetime.now(UTC))"
    )
    asked = [sys.executable, "-W", "always::DeprecationWarning", "-c", code]
    said = subprocess.run(asked, check=True, timeout=60, capture_output=True, text=True)
    assert "soda" not in said.stderr


def test_slow_libraries_are_imported_when_they_are_needed() -> None:
    code = (
        "import sys, checks.contracts, checks.drift, checks.gates;"
        "sys.exit(any(m.split('.')[0] in ('soda_core', 'alibi_detect') for m in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
