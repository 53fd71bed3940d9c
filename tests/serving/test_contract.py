"""What programs rely on: the OpenAPI document, formats, the inference protocol, strict bodies."""

from typing import Any

import pytest
from fastapi.testclient import TestClient

GROCERY = {"store_id": "1", "item_id": "GROCERY"}
MEAT = {"store_id": "1", "item_id": "MEAT"}
FORECASTS = "/v1/forecasts"


def operations(client: TestClient) -> dict[tuple[str, str], Any]:
    paths = client.get("/openapi.json").json()["paths"]
    return {(m.upper(), p): o for p, methods in paths.items() for m, o in methods.items()}


def test_the_document_is_openapi_3_1_with_an_example_for_every_body(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1.")
    schemas = document["components"]["schemas"]
    posts = [o for (method, _), o in operations(client).items() if method == "POST"]
    assert posts
    for operation in posts:
        ref = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        example = schemas[ref.rpartition("/")[2]]["examples"][0]
        assert example, operation["summary"]


WRONG = {f"k{n}": n for n in range(15)}
CELLS = {"name": "a", "columns": ["a"], "rows": [[[]] * 100] * 3000}


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        (FORECASTS, {f"k{n}": n for n in range(101)}, 400, "an object of 101 keys; 100 are"),
        (FORECASTS, {f"k{n}": n for n in range(60_000)}, 400, "60001 objects and keys; 20000 are"),
        (FORECASTS, {"series": [WRONG] * 1000}, 422, "series/0/store_id: Field required"),
        ("/v1/orders", {"series": [WRONG] * 1000}, 422, "series/0/store_id: Field required"),
        ("/v1/workbooks", {"sheets": [CELLS]}, 422, "sheets/0/rows/0/0/float"),
    ],
)
def test_of_thousands_of_wrong_parts_few_are_looked_at(
    client: TestClient, path: str, body: object, status: int, says: str
) -> None:
    answer = client.post(path, json=body)
    assert answer.status_code == status and says in answer.json()["detail"]
    assert len(answer.json().get("errors", [])) < 20  # the most that are told, were each looked at


def test_the_largest_request_of_the_document_is_no_body_of_too_many_parts(
    client: TestClient,
) -> None:
    change = {**GROCERY, "ds": "2017-09-12", "display": 1, "mailer": 1, "price": 1}
    series = [{"store_id": str(n), "item_id": "GROCERY"} for n in range(1000)]
    answer = client.post(FORECASTS, json={"series": series, "what_if": [change] * 2000})
    assert answer.status_code == 404, answer.text  # it is read: its series are not known


def test_braces_and_colons_of_texts_are_no_parts(client: TestClient) -> None:
    texts = ["{a} {b} {c}", '"a": {"b": "c\\\\"}', "\\"]
    sheet = {"name": "a", "columns": ["a", "b", "c"], "rows": [texts] * 7000}
    assert client.post("/v1/workbooks", json={"sheets": [sheet]}).status_code == 200
    hidden = client.post(FORECASTS, json={"\\": '\\"', "a": [{}] * 20_000})
    assert "20003 objects and keys" in hidden.json()["detail"]


def test_the_document_names_the_headers_that_answers_carry(client: TestClient) -> None:
    for (method, path), operation in operations(client).items():
        for status, answer in operation["responses"].items():
            assert "X-Request-ID" in answer["headers"], (method, path, status)
            assert ("Retry-After" in answer["headers"]) == (status in ("429", "503"))
    one = operations(client)["GET", FORECASTS + "/{store_id}/{item_id}"]
    assert all("ETag" in one["responses"][status]["headers"] for status in ("200", "304"))


def test_a_key_that_is_there_twice_is_refused_by_its_name(client: TestClient) -> None:
    twice = '{"series": [{"store_id": "1", "item_id": "MEAT", "store_id": "2"}], "horizon": 1}'
    for path in (FORECASTS, "/v1/orders", "/v1/overrides", "/v1/explanations", "/v1/workbooks"):
        answer = client.post(path, content=twice, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400 and answer.json()["type"].endswith(":malformed-json")
        assert "'store_id' twice" in answer.json()["detail"]
    once = twice.replace(', "store_id": "2"', "")
    headers = {"Content-Type": "application/json"}
    assert client.post(FORECASTS, content=once, headers=headers).status_code == 200


def test_a_tag_is_of_one_format(client: TestClient) -> None:
    url = f"{FORECASTS}/1/GROCERY"
    tags = {a: client.get(url, headers={"Accept": a}).headers["etag"] for a in ("text/csv", "*/*")}
    assert tags["text/csv"] != tags["*/*"]
    crossed = {"Accept": "text/csv", "If-None-Match": tags["*/*"]}
    assert client.get(url, headers=crossed).status_code == 200
    assert client.get(url, headers=crossed | {"Accept": "*/*"}).status_code == 304


@pytest.mark.parametrize(
    ("accept", "csv"),
    [
        ("text/csv", True),
        ("TEXT/CSV; q=0.9, application/json;q=0.8", True),
        ("text/csv, */*", True),
        ("application/json, text/csv;q=0.1", False),
        ("text/csv;q=0", False),
        ("text/csv;q=nonsense", False),
        ("application/text/csv", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_the_format_is_the_one_that_is_wanted_most(
    client: TestClient, accept: str, csv: bool
) -> None:
    answer = client.get(f"{FORECASTS}/1/GROCERY", headers={"Accept": accept})
    assert answer.headers["content-type"].startswith("text/csv") == csv


def test_the_inference_protocol_tells_whether_a_model_is_ready(
    client: TestClient, online: Any
) -> None:
    for path in ("demand", "demand/versions/1"):
        said = client.get(f"/v2/models/{path}/ready")
        assert (said.status_code, said.json()) == (200, {"name": "demand", "ready": True})
    for path in ("other", "demand/versions/2"):
        assert client.get(f"/v2/models/{path}/ready").status_code == 404
    online.fails = OSError("gone")
    assert client.get("/v2/models/demand/ready").status_code == 503


def test_a_service_level_is_kept_when_costs_price_it(client: TestClient) -> None:
    body = {"series": [MEAT], "review_days": 10, "service_level": 0.9}
    body |= {"shortage_cost": 3, "leftover_cost": 1}
    orders = client.post("/v1/orders", json=body).json()
    (order,) = orders["orders"]
    assert orders["service_level"] == 0.9 and order["order_up_to"] == 360.0
    expected = 3 * order["expected_shortage"] + order["expected_leftover"]
    assert order["expected_cost"] == pytest.approx(expected)


def test_an_order_beyond_the_model_names_its_own_fields(client: TestClient, service: Any) -> None:
    service._model.horizon = 7
    body = {"series": [MEAT], "review_days": 10, "service_level": 0.9}
    answer = client.post("/v1/orders", json=body)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["path"] == "/review_days" and "at most 7, as far as" in error["detail"]


def test_a_thousand_series_are_answered_at_once(client: TestClient, online: Any) -> None:
    first = online.rows["1", "GROCERY"]
    online.rows = {("1", f"i{k}"): first for k in range(1000)}
    series = [{"store_id": s, "item_id": i} for s, i in online.rows]
    answer = client.post(FORECASTS, json={"series": series, "horizon": 1})
    assert answer.status_code == 200
    assert [f["item_id"] for f in answer.json()["forecasts"]] == [s["item_id"] for s in series]


HOSTILE = [
    "' OR '1'='1",
    '"; DROP TABLE sales; --',
    "1; ATTACH 'x.db' AS x",
    "x' UNION SELECT * FROM read_csv('/etc/passwd') --",
    "$(id)",
    "`id`",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "file:///etc/passwd",
    "C:\\Windows\\win.ini",
    "{{7*7}}",
    "${jndi:ldap://x/a}",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "=cmd|'/c calc'!A0",
    "%s%n%x",
    "\\x00",
    "\x00",
    "\r\nSet-Cookie: a=b",
    "\u202eYRECORG",
    "\ufeffGROCERY",
    "ＧＲＯＣＥＲＹ",
    "GROCERY ",
    "grocery",
    "*",
    "?",
    ".*",
    "%",
    "_",
    "NaN",
    "null",
    "𝔘" * 128,
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_looks_like_code_is_only_a_name_that_is_not_known(
    client: TestClient, text: str
) -> None:
    named = {"store_id": text, "item_id": "GROCERY"}, {"store_id": "1", "item_id": text}
    until = {"since": "2017-09-11", "until": "2017-09-11", "units": 1, "reason": "fair"}
    until |= {"expires_at": "2017-09-20T00:00:00Z"}
    for one in named:
        for path, body in {
            FORECASTS: {"series": [one]},
            "/v1/orders": {"series": [one], "service_level": 0.9},
            "/v1/explanations": one,
            "/v1/overrides": one | until,
        }.items():
            assert client.post(path, json=body).status_code in (404, 422), path
    for query in ("store_id", "search"):
        page = client.get("/v1/series", params={query: text})
        # A search is a part of a name, in any case: it finds names, nothing is run or expanded.
        known = [s for s in page.json()["series"] if text.lower() in " ".join(s.values()).lower()]
        assert page.status_code == 200 and page.json()["series"] == known
    assert client.get("/v1/series", params={"cursor": text}).status_code == 422
    level = client.post(FORECASTS, json={"series": [GROCERY], "level": text})
    assert level.status_code == 422
