"""Requests that schemathesis makes up from the OpenAPI document, good and bad, and what is wrong.

In the process, without a server: what is tried is the API, not the network.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.core.failures import Failure, FailureGroup

LOCAL = {"Host": "localhost"}  # without keys only this machine may ask
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


@dataclass
class Fuzzed:
    """What came of it: cases, by status, and sentences about answers that are not as documented."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    sequences: Counter[str] = field(default_factory=Counter)
    """Operations that were tried after another one."""

    @property
    def cases(self) -> int:
        return self.statuses.total()

    @property
    def server_errors(self) -> int:
        """Answers of 500 and above; 503 says that a part is down, which none is."""
        return sum(n for status, n in self.statuses.items() if status >= 500)


def fuzz(api: FastAPI, examples: int) -> Fuzzed:
    """Up to `examples` cases per operation and mode; fewer where there are not so many.

    Then a quarter as many sequences, each operation after another on what that one answered.

    Each answer has to be of a documented status and content type and fit its schema; one to a
    request that does not fit the document has to be a refusal.
    """
    found = Fuzzed()
    for methods in api.openapi()["paths"].values():
        for operation in methods.values():
            operation.pop("security", None)  # no key was created: nobody has to show one
    schema = schemathesis.openapi.from_asgi("/openapi.json", api)
    rejection = schema.config.checks.negative_data_rejection
    rejection.expected_statuses = [*rejection.expected_statuses, "413"]  # too large is no success
    operations: Iterable[Any] = schema.get_all_operations()
    for result in operations:
        for mode in MODES:
            _try_operation(result.ok(), mode, examples, found)
    _try_sequences(schema, max(1, examples // 4), found)
    return found


def _quick(examples: int, steps: int = 50) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
        stateful_step_count=steps,
    )


def _try_sequences(schema: Any, examples: int, found: Fuzzed) -> None:
    """Schemathesis' own state machine; it reads from the document what may follow what."""

    class Sequences(schema.as_state_machine()):  # type: ignore[misc]
        def get_call_kwargs(self, _case: Any) -> dict[str, Any]:
            return {"headers": LOCAL}

        def validate_response(self, response: Any, case: Any, **_: Any) -> None:
            found.sequences[case.operation.label] += 1
            _judge(case, response, found)

    Sequences.run(settings=_quick(examples, steps=6))


def _judge(case: Any, answer: Any, found: Fuzzed) -> None:
    found.statuses[answer.status_code] += 1
    try:
        case.validate_response(answer, checks=CHECKS)
    except (Failure, FailureGroup) as error:
        said = " ".join(str(error).split())[:600]
        found.wrong.append(f"{case.operation.label} {answer.status_code}: {said}")


def _try_operation(operation: Any, mode: GenerationMode, examples: int, found: Fuzzed) -> None:
    @_quick(examples)
    @given(case=operation.as_strategy(generation_mode=mode))
    def one(case: Any) -> None:
        _judge(case, case.call(headers=LOCAL), found)

    try:
        one()
    except Exception as error:  # no such case can be made: an operation without parameters
        if "Unsatisfiable" not in type(error).__name__:
            raise


def _checks() -> list[Any]:
    from schemathesis.checks import CHECKS, load_all_checks

    load_all_checks()
    names = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
    )
    return [CHECKS.get_one(name) for name in names]


CHECKS = _checks()
