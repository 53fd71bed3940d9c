"""Shows contracts in the Prefect UI and stops a flow that breaks one."""

from dataclasses import asdict

from prefect.artifacts import create_table_artifact

from checks.contracts import ContractReport


def show(report: ContractReport, subject: str) -> None:
    """Makes a table artifact of every check; raises ContractBreach when one failed."""
    create_table_artifact(
        key=f"contract-{report.contract}",
        table=[asdict(result) for result in report.results],
        description=f"{subject}: {'kept' if report.ok else 'broken'}",
    )
    report.require(subject)
