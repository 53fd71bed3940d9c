"""The REST API over HTTP, without Ray: what it answers and how it says no."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx import Response

from feature_repo.store import StaleFeatures
from serving.api.forecasts import ForecastResponse
from serving.api.series import SeriesPage
from serving.api.system import Problem

GROCERY = {"store_id": "1", "item_id": "GROCERY"}
MEAT = {"store_id": "1", "item_id": "MEAT"}


def post(client: TestClient, body: dict[str, Any], **kwargs: Any) -> Response:
    return client.post("/v1/forecasts", json=body, **kwargs)


def problem_of(answer: Response, status: int, kind: str) -> Problem:
    """The problem in an answer, after checking that it is one and of that kind."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = Problem.model_validate_json(answer.content, strict=True)
    assert problem.type == f"urn:shelfcast:problem:{kind}"
    assert problem.status == status
    assert problem.request_id == answer.headers["x-request-id"]
    assert problem.detail.endswith(".")
    return problem


def test_a_forecast_has_the_documented_shape_and_provenance(client: TestClient) -> None:
    answer = post(client, {"series": [MEAT, GROCERY], "horizon": 3, "quantiles": [0.9, 0.5]})
    assert answer.status_code == 200
    body = answer.json()
    parsed = ForecastResponse.model_validate_json(answer.content, strict=True)
    assert body.keys() == ForecastResponse.model_fields.keys()
    assert [f.item_id for f in parsed.forecasts] == ["MEAT", "GROCERY"]
    assert body["model_version"] == "1"
    assert body["feature_service"] == "demand_v1"
    assert (body["snapshot_id"], body["cutoff"]) == ("s1", "2017-09-10")
    assert body["generated_at"] == "2017-09-11T12:00:00Z"
    assert [d["ds"] for d in body["forecasts"][0]["days"]] == [
        "2017-09-11",
        "2017-09-12",
        "2017-09-13",
    ]
    assert body["forecasts"][0]["days"][0] == {
        "ds": "2017-09-11",
        "y_hat": 20.0,
        "quantiles": {"0.9": 36.0, "0.5": 20.0},
    }


def test_the_promotion_plan_of_the_target_days_reaches_the_model(client: TestClient) -> None:
    answer = post(client, {"series": [GROCERY, MEAT], "horizon": 3}).json()
    grocery, meat = ([d["y_hat"] for d in f["days"]] for f in answer["forecasts"])
    assert grocery == [10.0, 13.0, 10.0]
    assert meat == [20.0, 20.0, 20.0]


def test_without_horizon_and_quantiles_the_defaults_are_used(client: TestClient) -> None:
    days = post(client, {"series": [GROCERY]}).json()["forecasts"][0]["days"]
    assert len(days) == 28
    assert list(days[0]["quantiles"]) == ["0.1", "0.5", "0.9"]


def test_no_quantiles_may_be_asked_for(client: TestClient) -> None:
    answer = post(client, {"series": [GROCERY], "quantiles": [], "horizon": 1}).json()
    assert answer["forecasts"][0]["days"][0]["quantiles"] == {}


def test_series_of_two_snapshots_carry_their_own_cutoff(client: TestClient, online: Any) -> None:
    online.rows["1", "MEAT"] = ("s1", "2017-09-08", 20.0)
    answer = post(client, {"series": [MEAT, GROCERY], "horizon": 2}).json()
    assert answer["cutoff"] == "2017-09-10"
    assert [f["cutoff"] for f in answer["forecasts"]] == ["2017-09-08", "2017-09-10"]
    assert answer["forecasts"][0]["days"][0]["ds"] == "2017-09-09"


@pytest.mark.parametrize(
    ("field", "value", "path", "expected"),
    [
        ("horizon", 0, "/horizon", "from 1 to 28"),
        ("horizon", 29, "/horizon", "from 1 to 28"),
        ("horizon", -1, "/horizon", "from 1 to 28"),
        ("horizon", 10**9, "/horizon", "from 1 to 28"),
        ("horizon", "7", "/horizon", "from 1 to 28"),
        ("horizon", 7.5, "/horizon", "from 1 to 28"),
        ("horizon", True, "/horizon", "from 1 to 28"),
        ("horizon", None, "/horizon", "from 1 to 28"),
        ("series", [], "/series", "1 to 1000"),
        ("series", [GROCERY, MEAT, GROCERY], "/series", "different series"),
        ("series", [{"store_id": str(i), "item_id": "X"} for i in range(1001)], "/series", "1000"),
        ("series", [{"store_id": 1, "item_id": "X"}], "/series/0/store_id", "1 to 128 characters"),
        ("series", [{"store_id": "1"}], "/series/0/item_id", "required"),
        ("quantiles", [0.5, 0.5], "/quantiles", "different levels"),
        ("quantiles", [1.5], "/quantiles/0", "less than 1"),
        ("quantiles", ["0.5"], "/quantiles/0", "levels of the model"),
        ("horizons", 7, "/horizons", "not permitted"),
    ],
)
def test_a_field_out_of_its_range_is_named_with_the_range(
    client: TestClient, field: str, value: Any, path: str, expected: str
) -> None:
    problem = problem_of(post(client, {"series": [GROCERY], field: value}), 422, "invalid")
    assert problem.errors
    assert problem.errors[0].path == path
    assert expected in problem.errors[0].detail
    assert path.strip("/") in problem.detail


def test_a_level_the_model_does_not_give_is_named_with_those_it_gives(client: TestClient) -> None:
    answer = post(client, {"series": [GROCERY], "quantiles": [0.5, 0.33]})
    problem = problem_of(answer, 422, "unknown-level")
    assert problem.detail.startswith("0.33 is not")
    assert "0.025, 0.1" in problem.detail
    assert problem.errors and problem.errors[0].path == "/quantiles"


@pytest.mark.parametrize(("name", "value"), [("quantiles", "0.33"), ("horizon", "29")])
def test_a_query_that_the_model_can_not_answer_is_named_by_its_parameter(
    client: TestClient, name: str, value: str
) -> None:
    answer = client.get("/v1/forecasts/1/MEAT", params={name: value})
    (error,) = answer.json()["errors"]
    assert answer.status_code == 422 and error["path"] == name


def test_an_unknown_series_is_not_found_by_name(client: TestClient) -> None:
    answer = post(client, {"series": [GROCERY, {"store_id": "99", "item_id": "MOON"}]})
    assert "'99'" in problem_of(answer, 404, "unknown-series").detail


@pytest.mark.parametrize(
    "body", [b"{", b"", b"nonsense", b'{"series": [}', b"[" * 100_000, b"\xff"]
)
def test_what_is_not_json_is_a_400(client: TestClient, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    answer = client.post("/v1/forecasts", content=body, headers=headers)
    if body == b"":
        assert problem_of(answer, 422, "invalid").detail.startswith("The body: Field required")
    else:
        problem_of(answer, 400, "malformed-json")


def test_a_body_that_is_not_declared_as_json_is_a_415(client: TestClient) -> None:
    content = json.dumps({"series": [GROCERY]})
    answer = client.post("/v1/forecasts", content=content, headers={"Content-Type": "text/plain"})
    assert "text/plain" in problem_of(answer, 415, "not-json").detail


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_one_mebibyte_is_a_413(client: TestClient, chunked: bool) -> None:
    chunk = b"x" * 1024
    content: Any = (chunk for _ in range(1025)) if chunked else chunk * 1025
    problem_of(client.post("/v1/forecasts", content=content), 413, "body-too-large")


def test_a_body_of_one_mebibyte_is_read(client: TestClient) -> None:
    content = json.dumps({"series": [GROCERY], "horizon": 1}).ljust(1024 * 1024)
    headers = {"Content-Type": "application/json"}
    assert client.post("/v1/forecasts", content=content, headers=headers).status_code == 200


def test_an_unknown_route_and_a_wrong_method_are_problems(client: TestClient) -> None:
    assert "/v2/x" in problem_of(client.get("/v2/x"), 404, "no-such-route").detail
    answer = client.get("/v1/forecasts")
    assert "POST" in problem_of(answer, 405, "method-not-allowed").detail
    assert answer.headers["allow"] == "POST"


def test_without_a_model_forecasts_say_what_to_do(
    bare_client: TestClient, configure: Callable[[str | None], None]
) -> None:
    configure(None)
    problem = problem_of(post(bare_client, {"series": [GROCERY]}), 503, "no-champion")
    assert "train" in problem.detail
    assert bare_client.get("/v1/model").json()["version"] is None


def test_stale_features_are_a_503_with_the_stores_own_words(
    client: TestClient, online: Any
) -> None:
    online.fails = StaleFeatures("Feature view demand is gone; run the materialize deployment.")
    problem = problem_of(post(client, {"series": [GROCERY]}), 503, "stale-features")
    assert "view demand" in problem.detail


def test_a_feature_store_that_does_not_answer_is_a_503(
    client: TestClient, online: Any, caplog: pytest.LogCaptureFixture
) -> None:
    online.fails = OSError("database /secret/online.db is locked")
    answer = post(client, {"series": [GROCERY]})
    problem_of(answer, 503, "stale-features")
    assert "secret" not in answer.text
    assert "online.db is locked" in caplog.text


def test_a_snapshot_that_is_not_published_is_a_503(client: TestClient, online: Any) -> None:
    online.rows["1", "MEAT"] = ("s2", "2017-09-11", 20.0)
    problem = problem_of(post(client, {"series": [MEAT]}), 503, "stale-features")
    assert "s2" in problem.detail


def test_what_nobody_expected_is_logged_and_not_shown(
    client: TestClient, service: Any, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_args: object) -> None:
        raise OSError("secret/path is broken")

    service._model.forecast = fail
    with caplog.at_level(logging.ERROR, "ray.serve.shelfcast"):
        answer = post(client, {"series": [GROCERY]}, headers={"X-Request-ID": "abc-1"})
    problem = problem_of(answer, 500, "unexpected")
    assert "secret" not in answer.text
    assert problem.request_id == "abc-1"
    assert "abc-1" in caplog.text and "secret/path" in caplog.text


@pytest.mark.parametrize("given_id", ["", "x" * 200, "a\tb"])
def test_a_request_id_that_can_not_be_echoed_is_replaced(client: TestClient, given_id: str) -> None:
    answer = client.get("/v1/health/live", headers={"X-Request-ID": given_id})
    assert len(answer.headers["x-request-id"]) == 32


def test_the_series_are_paged_in_order(client: TestClient) -> None:
    first = SeriesPage.model_validate(client.get("/v1/series?limit=2").json())
    assert [(s.store_id, s.item_id) for s in first.series] == [("1", "GROCERY"), ("1", "MEAT")]
    assert (first.count, first.snapshot_id) == (3, "s1")
    last = client.get("/v1/series", params={"limit": 2, "cursor": first.next_cursor}).json()
    assert last["series"] == [{"store_id": "2", "item_id": "GROCERY"}]
    assert last["next_cursor"] is None


def test_the_series_of_one_store(client: TestClient) -> None:
    body = client.get("/v1/series?store_id=2").json()
    assert (body["count"], body["series"]) == (1, [{"store_id": "2", "item_id": "GROCERY"}])
    assert client.get("/v1/series?store_id=none").json()["series"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=x", "limit"),
        ("cursor=!", "cursor"),
        ("cursor=AAAA", "cursor"),
        ("cursor=" + "W1tb" * 500, "cursor"),  # 1,500 brackets that open
        ("cursor=" + "x" * 3000, "cursor"),
        ("store=1", "store"),
    ],
)
def test_a_bad_query_names_the_parameter(client: TestClient, query: str, field: str) -> None:
    problem = problem_of(client.get(f"/v1/series?{query}"), 422, "invalid")
    assert problem.errors and problem.errors[0].path == field


def test_the_model_describes_itself(client: TestClient) -> None:
    body = client.get("/v1/model").json()
    assert body == {
        "version": "1",
        "versions": ["1"],
        "method": "arithmetic",
        "trained_cutoff": "2017-09-10",
        "horizon": 28,
        "quantiles": [0.025, 0.1, 0.25, 0.5, 0.75, 0.9, 0.975],
        "feature_service": "demand_v1",
        "snapshot_id": "s1",
        "load_error": None,
    }


def test_the_model_is_described_as_the_inference_protocol_does(client: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2").json()["name"] == "shelfcast"
    model = client.get("/v2/models/demand").json()
    assert model == client.get("/v2/models/demand/versions/1").json()
    assert model["versions"] == ["1"] and model["outputs"][0]["shape"] == [-1, 28]
    for path in ("other", "demand/versions/2", "demand/versions/..%2f..%2fetc"):
        assert client.get(f"/v2/models/{path}").status_code == 404


def test_ready_needs_a_model_and_an_online_store_that_answers(
    bare_client: TestClient, configure: Callable[[str | None], None], online: Any
) -> None:
    ready, live = "/v1/health/ready", "/v1/health/live"
    problem_of(bare_client.get(ready), 503, "no-champion")
    configure("1")
    assert bare_client.get(ready).json() == {
        "status": "ready",
        "model_version": "1",
        "snapshot_id": "s1",
        "degraded": False,
    }
    online.fails = OSError("database is locked")
    problem_of(bare_client.get(ready), 503, "stale-features")
    online.fails, online.rows = None, {}
    assert "materialize" in problem_of(bare_client.get(ready), 503, "stale-features").detail
    assert bare_client.get(live).json()["status"] == "alive"


@pytest.mark.score("monitoring", 5)
def test_a_model_that_gives_nan_never_answers(
    client: TestClient, service: Any, configure: Callable[[str | None], None]
) -> None:
    configure("nan")
    assert client.get("/v1/model").json()["load_error"]["version"] == "nan"
    service._model.version = "nan"  # as if it turned bad after it was tried out
    problem_of(post(client, {"series": [GROCERY]}), 500, "unexpected")


def test_every_problem_that_is_documented_is_a_problem(client: TestClient) -> None:
    spec = client.get("/openapi.json").json()
    schemas = spec["components"]["schemas"]
    assert {"Problem", "FieldError", "ForecastRequest", "ForecastResponse"} <= schemas.keys()
    assert "HTTPValidationError" not in json.dumps(spec["paths"])
    for methods in spec["paths"].values():
        for operation in methods.values():
            for status, answer in operation["responses"].items():
                problem = "application/problem+json" in answer.get("content", {})
                assert problem == (int(status) >= 400)
