"""Audits of what the warehouse and the feature store hold; the results are kept."""

from collections.abc import Mapping
from datetime import date, datetime

from checks import contracts
from checks.contracts import ContractReport
from data import ledger
from data.settings import Settings
from data.warehouse import Connection


def audit(
    con: Connection,
    contract: str,
    subject: str,
    as_of: datetime,
    variables: Mapping[str, str] | None = None,
) -> ContractReport:
    """Verifies a contract and keeps its results; a failing check raises nothing."""
    report = contracts.verify(contract, con.cursor(), as_of=as_of, variables=variables)
    ledger.append(con, "contract_results", contracts.rows(report, subject, as_of))
    return report


def audit_sales(con: Connection, settings: Settings, as_of: datetime) -> ContractReport:
    """Audits the published sales as a whole."""
    most_days = {"MOST_DAYS": str(settings.steps.days + 1)}
    return audit(con, "sales", "The published sales", as_of, most_days)


def audit_features(
    con: Connection, settings: Settings, cutoff: date, series: int, as_of: datetime
) -> ContractReport:
    """Audits the newest feature rows of a cutoff, which have to cover `series` series."""
    files = sorted((settings.features_dir / "demand" / str(cutoff)).glob("*.parquet"))
    ledger.view_features(con, files[-1:])
    return audit(con, "features", f"The features of {cutoff}", as_of, {"MIN_ROWS": str(series)})
