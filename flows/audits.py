"""Shows contracts in the Prefect UI and stops a flow that breaks one."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

from prefect.artifacts import create_table_artifact

from checks import contracts
from checks.contracts import ContractReport
from data import ledger
from data.warehouse import Connection


def show(report: ContractReport, subject: str) -> None:
    """Makes a table artifact of every check; raises ContractBreach when one failed."""
    create_table_artifact(
        key=f"contract-{report.contract}",
        table=[asdict(result) for result in report.results],
        description=f"{subject}: {'kept' if report.ok else 'broken'}",
    )
    report.require(subject)


def audit(
    con: Connection,
    contract: str,
    subject: str,
    as_of: datetime,
    variables: Mapping[str, str] | None = None,
) -> None:
    """Verifies a contract, keeps its results, shows them, and raises ContractBreach if broken."""
    report = contracts.verify(contract, con.cursor(), as_of=as_of, variables=variables)
    ledger.append(con, "contract_results", contracts.rows(report, subject, as_of))
    show(report, subject)
