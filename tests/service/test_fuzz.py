"""Whatever requests the schema allows, or nearly allows, the service never fails."""

import pytest
from hypothesis import HealthCheck, given, settings

from support.effort import effort
from support.services import PictureEncoder, people, served

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis")

EXAMPLES = effort(5, 60)


def fuzz(operation, client, statuses):
    """Sends generated requests for one call."""

    @given(case=operation.as_strategy())
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    def ask(case):
        if "gallery" in (case.path_parameters or {}):
            case.path_parameters["gallery"] = ("people", "shop")[len(str(case.body)) % 2]
        sent = case.as_transport_kwargs(base_url="http://localhost")
        rest = {key: sent[key] for key in ("params", "json", "data", "files") if sent.get(key) is not None}
        if isinstance(rest.get("data"), bytes | str):
            rest["content"] = rest.pop("data")
        if "files" in rest:
            rest["files"] = [part(name, value) for name, value in list(rest["files"])]
        headers = {name: str(value) for name, value in (sent["headers"] or {}).items()}
        answer = client.request(sent["method"], sent["url"], headers=headers, **rest)
        statuses.setdefault(operation.label, set()).add(answer.status_code)
        # The queue of jobs may be full.
        assert answer.status_code < 500 or answer.json()["error"]["code"] == "busy", answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"code", "message", "hint"}

    ask()


def part(name, value):
    """A part of a form that can be sent, whatever was generated for it."""
    filename, content = value[:2] if isinstance(value, tuple) else (None, value)
    if not isinstance(content, bytes):
        content = content.read() if hasattr(content, "read") else str(content).encode(errors="replace")
    return name, (filename, content)


def test_no_request_makes_the_service_fail(tmp_path):
    shop = people(tmp_path, encoder=PictureEncoder(), name="shop.db")
    galleries = {"people": people(tmp_path), "shop": shop}
    runs = tmp_path / "runs"
    runs.mkdir()
    with served(galleries, tmp_path, keep_pictures=True, runs=runs) as client:
        document = client.get("/v1/openapi.json").json()
        schema = schemathesis.openapi.from_dict(document)
        statuses = {}
        for found in schema.get_all_operations():
            operation = found.ok()

            fuzz(operation, client, statuses)
        assert len(statuses) == sum(len(one) for one in document["paths"].values())
        reached = {label for label, seen in statuses.items() if 200 in seen or 202 in seen}
        assert len(reached) > 15, statuses
        assert client.get("/v1/ready").status_code == 200
