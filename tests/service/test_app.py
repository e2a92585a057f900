"""What holds for every request: headers, hosts, origins, keys, sizes, times, and one shape of errors."""

import re

import pytest

from support.services import error_of, people, served
from trine.service.app import CSP

IDENTIFY = "/v1/galleries/people/identify"
ASKED = {"embedding": [0.0, 0.9]}


@pytest.mark.parametrize(
    "path", ["/", "/v1/health", "/v1/galleries", "/nothing", "/v1/galleries/none", "/metrics"]
)
def test_every_answer_is_strict(client, path):
    headers = client.get(path).headers
    assert headers["content-security-policy"] == CSP
    assert "default-src 'self'" in CSP
    assert "unsafe" not in CSP
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert ("no-store" in headers["cache-control"]) == (path not in ("/", "/nothing"))


def test_health_and_metrics(client):
    assert client.get("/v1/health").json()["status"] == "ok"
    assert client.get("/v1/ready").json()["status"] == "ok"
    client.post(IDENTIFY, json=ASKED)
    client.get("/v1/galleries/people/item", params={"name": "ann/1"})
    text = client.get("/metrics").text
    route = "/v1/galleries/{gallery}/identify"
    assert f'trine_requests_total{{method="POST",route="{route}",status="200"}} 1.0' in text
    assert 'trine_gallery_items{gallery="people"} 3.0' in text
    assert "ann" not in text


@pytest.mark.parametrize(
    "path",
    [
        "/../secret",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/galleries/..%2f..%2fx/items",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(client, path):
    error_of(
        client.get(path), 404, "unknown_gallery" if "galleries" in path and "%2f" not in path else "not_found"
    )


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.nip.io", "", "[", "a]b"]
)
def test_another_name_is_refused(client, host):
    error_of(client.get("/v1/health", headers={"host": host}), 421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost:8421", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_names_of_this_machine(client, host):
    assert client.get("/v1/health", headers={"host": host}).status_code == 200


def test_pages_of_other_sites_are_refused(client):
    for headers in (
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:9999"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ):
        error_of(client.post(IDENTIFY, json=ASKED, headers=headers), 403, "wrong_origin")
    error_of(client.get("/v1/galleries", headers={"sec-fetch-site": "cross-site"}), 403, "wrong_origin")
    assert client.get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200
    own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
    assert client.post(IDENTIFY, json=ASKED, headers=own).status_code == 200


def test_a_form_of_another_site_changes_nothing(client):
    form = client.post(
        "/v1/galleries/people/forget",
        content='{"identity": "ann"}',
        headers={"origin": "https://evil.example", "content-type": "text/plain"},
    )
    error_of(form, 403, "wrong_origin")
    assert len(client.service.galleries["people"].gallery) == 3


def test_with_keys_every_call_needs_one(client):
    read = client.service.keys.add("reader")
    write = client.service.keys.add("writer", ["write"])
    other = client.service.keys.add("other", galleries=["shop"])
    assert client.get("/v1/health").status_code == 200
    assert client.get("/v1/session").json()["scopes"] == []
    assert error_of(client.get("/v1/galleries"), 401, "no_key")
    assert client.get("/metrics").status_code == 401
    wrong = {"authorization": f"Bearer {read}x"}
    answer = client.post(IDENTIFY, json=ASKED, headers=wrong)
    error_of(answer, 401, "wrong_key")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert client.post(IDENTIFY, json=ASKED, headers=bearer(read)).status_code == 200
    rename = ("/v1/galleries/people/rename", {"identity": "ann", "to": "anne"})
    refused = client.post(rename[0], json=rename[1], headers=bearer(read))
    assert "'reader' does not allow to change" in error_of(refused, 403, "not_allowed")
    assert client.post(rename[0], json=rename[1], headers=bearer(write)).json()["moved"] == 2
    error_of(client.post(IDENTIFY, json=ASKED, headers=bearer(other)), 404, "unknown_gallery")
    assert client.get("/v1/galleries", headers=bearer(other)).json() == {"galleries": []}
    for path in ("/metrics", "/v1/runs", "/v1/runs/any/log", "/v1/runs/any/report"):
        error_of(client.get(path, headers=bearer(other)), 403, "not_allowed")
    assert client.get("/metrics", headers=bearer(read)).status_code == 200
    thumbnail = client.get("/v1/galleries/people/thumbnail?item=ann/1", headers=bearer(write))
    error_of(thumbnail, 403, "not_allowed")
    client.service.keys.revoke("reader")
    error_of(client.post(IDENTIFY, json=ASKED, headers=bearer(read)), 401, "wrong_key")


def bearer(key):
    return {"authorization": f"Bearer {key}"}


def test_the_page_keeps_a_key_in_a_cookie(client):
    key = client.service.keys.add("desk", ["write"])
    error_of(client.post("/v1/session", json={"key": "trine-x-y"}), 401, "wrong_key")
    answer = client.post("/v1/session", json={"key": key})
    assert answer.json()["scopes"] == ["read", "write"]
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/v1/galleries").json()["galleries"][0]["name"] == "people"
    client.service.keys.revoke("desk")
    error_of(client.get("/v1/galleries"), 401, "wrong_key")
    assert client.get("/v1/session").json()["scopes"] == []
    assert client.delete("/v1/session").status_code == 200
    error_of(client.get("/v1/galleries"), 401, "no_key")


def test_large_requests_are_refused(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path, limits={"body": 1000}) as client:
        message = error_of(client.post(IDENTIFY, content=b" " * 1001), 413, "too_large")
        assert message.startswith("the request is larger than 0.00095")
        assert client.post(IDENTIFY, json=ASKED).status_code == 200


def test_all_requests_together_have_a_limit(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path, limits={"memory": 100}) as client:
        error_of(client.post(IDENTIFY, content=b" " * 200), 503, "busy")
        assert client.post(IDENTIFY, json=ASKED).status_code == 200
        assert client.post(IDENTIFY, json=ASKED).status_code == 200, "what was taken is given back"


def test_callers_have_a_rate(tmp_path):
    with served({"people": people(tmp_path)}, tmp_path, limits={"rate": 0.01, "burst": 3}) as client:
        for _ in range(3):
            assert client.post(IDENTIFY, json=ASKED).status_code == 200
        answer = client.post(IDENTIFY, json=ASKED)
        error_of(answer, 429, "rate_limit")
        assert 1 <= int(answer.headers["retry-after"]) <= 100


def test_answers_come_in_time(tmp_path):
    import time

    gallery = people(tmp_path)
    with served({"people": gallery}, tmp_path, limits={"answer_seconds": 0.2}) as client:
        hosted = client.service.galleries["people"]
        asked = hosted.asked
        hosted.asked = lambda probe: (time.sleep(0.6), asked(probe))[1]
        began = time.monotonic()
        error_of(client.post(IDENTIFY, json=ASKED), 503, "no_answer_in_time")
        assert time.monotonic() - began < 0.55
        hosted.asked = asked
        assert client.post(IDENTIFY, json=ASKED).status_code == 200


@pytest.mark.parametrize(
    ("content", "kind", "status", "code", "said"),
    [
        (b"", "application/json", 422, "invalid_request", "not JSON"),
        (b"{", "application/json", 422, "invalid_request", "not JSON"),
        (b"[" * 500, "application/json", 422, "invalid_request", "more than 100 lists"),
        (b'{"k": ' + b"9" * 5000 + b"}", "application/json", 422, "invalid_request", "5,000 digits"),
        (b"\xff\xfe", "application/json", 422, "invalid_request", "not JSON"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "unsupported_media_type", "cannot read"),
        (b"<a/>", "text/xml", 415, "unsupported_media_type", "text/xml"),
        (b"--x", "multipart/form-data", 422, "invalid_request", "form cannot be read"),
        (b"--x", "multipart/form-data; boundary=y", 422, "invalid_request", ""),
        (b'{"embedding": [0, NaN]}', "application/json", 422, "invalid_request", "embedding.1: Input"),
        (b'{"embedding": ["a"]}', "application/json", 422, "invalid_request", "valid number"),
        (b'{"embedding": [0, 1], "more": 1}', "application/json", 422, "invalid_request", "more: Extra"),
        (b'{"item": "\\ud800"}', "application/json", 422, "invalid_request", "item"),
        (b'{"item": "a\\u0000b"}', "application/json", 422, "invalid_request", "NUL"),
        (b"{}", "application/json", 422, "invalid_request", "exactly one of picture"),
        (b'{"embedding": [0, 1, 2]}', "application/json", 409, "conflict", "dimension 2, given 3"),
        (b'{"embedding": [0, 1e39]}', "application/json", 409, "conflict", "not finite"),
        (b'{"item": "no"}', "application/json", 404, "unknown_name", "item 'no' is not in the"),
        (b'{"text": "hello"}', "application/json", 409, "no_encoder", "without an encoder"),
    ],
)  # fmt: skip
def test_a_bad_request_is_one_sentence(client, content, kind, status, code, said):
    answer = client.post(IDENTIFY, content=content, headers={"content-type": kind})
    assert said in error_of(answer, status, code)


def test_no_message_names_a_path_of_the_server(client, tmp_path):
    for path in ("item?name=no", "items?identity=no"):
        assert str(tmp_path) not in client.get(f"/v1/galleries/people/{path}").text


def test_an_error_of_the_service_itself_says_nothing_about_it(client, monkeypatch):
    hosted = client.service.galleries["people"]
    monkeypatch.setattr(hosted, "asked", lambda probe: 1 / 0)
    message = error_of(client.post(IDENTIFY, json=ASKED), 500, "internal")
    assert "zero" not in message


def test_markup_in_names_stays_text(client):
    name = "<script>alert(1)</script>"
    client.post("/v1/galleries/people/enrol", json={"identity": name, "item": name, "embedding": [9, 9]})
    answer = client.get("/v1/galleries/people/items", params={"identity": name})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["items"][0]["item"] == name
    message = error_of(
        client.get("/v1/galleries/people/item", params={"name": f"{name}\x1b[31m"}), 404, "unknown_name"
    )
    assert "\x1b" not in message


def test_the_schema_names_every_call_with_an_example_and_the_error(client):
    schema = client.get("/v1/openapi.json").json()
    assert schema["openapi"].startswith("3.1")
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            assert {"4XX", "5XX"} <= set(operation["responses"]), path
            if method == "post" and not path.endswith("/cancel"):  # which takes nothing
                assert "application/json" in operation["requestBody"]["content"], path
    text = client.get("/v1/openapi.json").text
    names = set(re.findall(r'"#/components/schemas/(\w+)"', text))
    assert names <= set(schema["components"]["schemas"])
    assert "examples" in schema["components"]["schemas"]["IdentifyRequest"]


def test_a_request_of_very_many_lists_is_refused_before_it_is_read(client):
    headers = {"content-type": "application/json"}
    few = '{"embedding": [0.0, 0.9], "where": {"year": [' + "2024, " * 20_000 + "2024]}}"
    search = "/v1/galleries/people/search"
    assert len(client.post(search, content=few, headers=headers).json()["hits"]) == 2
    error_of(client.post(search, content="[" + "[]," * 1_000_001, headers=headers), 422, "too_many")
