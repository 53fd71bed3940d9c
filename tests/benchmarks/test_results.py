"""Results that do not depend on a machine are what they were."""

from benchmarks import data_quality, report


def test_the_data_are_as_dirty_as_the_documents_say() -> None:
    assert data_quality.count() == report.read("data")["rows"]
