"""Files, batches and Formula tools of the simulated Kimi account."""

from __future__ import annotations

import json

import pytest


def line(custom_id: str, text: str = "Hello", **fields) -> dict:
    body = {"model": "kimi-k2.6", "messages": [{"role": "user", "content": text}], **fields}
    return {"custom_id": custom_id, "method": "POST", "url": "/v1/chat/completions", "body": body}


def upload(kimi, lines: list[dict], purpose: str = "batch") -> str:
    content = "\n".join(json.dumps(one) for one in lines).encode()
    response = kimi.post("/files", data={"purpose": purpose}, files={"file": ("batch.jsonl", content)})
    assert response.status_code == 200, response.text
    return response.json()["id"]


def submit(kimi, lines: list[dict], **fields):
    body = {
        "input_file_id": upload(kimi, lines),
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
        **fields,
    }
    return kimi.post("/batches", json=body)


def test_a_file_is_kept_read_and_deleted(kimi):
    content = "Zażółć\r\n--boundary\nend".encode()
    uploaded = kimi.post(
        "/files", data={"purpose": "file-extract"}, files={"file": ("a.txt", content)}
    ).json()
    assert (uploaded["bytes"], uploaded["filename"], uploaded["status"]) == (len(content), "a.txt", "ok")
    path = f"/files/{uploaded['id']}"
    assert kimi.get(path).json() == uploaded
    assert kimi.get(f"{path}/content").content == content
    assert kimi.get("/files").json()["data"] == [uploaded]
    assert kimi.delete(path).json()["deleted"] is True
    assert kimi.get(path).status_code == 404


def test_bad_uploads_are_refused(kimi):
    assert kimi.post("/files", json={}).status_code == 400
    assert kimi.post("/files", data={"purpose": "fun"}, files={"file": ("a", b"x")}).status_code == 400
    assert (
        kimi.post("/files", data={"purpose": "batch"}, files={"other": ("a", b"x")}).status_code == 400
    )
    assert kimi.post("/files", data={"purpose": "batch"}, files={"file": ("a", b"")}).status_code == 400


def test_a_batch_goes_through_its_states_and_answers_each_line(kimi):
    lines = [line("one"), line("two", "Bye"), line("bad", temperature=0.1)]
    batch = submit(kimi, lines, metadata={"run": "r-1"}).json()
    states = [batch["status"]]
    while batch["status"] in {"validating", "in_progress"}:
        batch = kimi.get(f"/batches/{batch['id']}").json()
        states.append(batch["status"])
    assert states == ["validating", "in_progress", "completed"]
    assert batch["request_counts"] == {"total": 3, "completed": 2, "failed": 1}
    assert batch["price_factor"] == 0.6
    output = kimi.get(f"/files/{batch['output_file_id']}/content").text.splitlines()
    answers = {entry["custom_id"]: entry["response"]["body"] for entry in map(json.loads, output)}
    assert set(answers) == {"one", "two"}
    assert answers["two"]["choices"][0]["message"]["content"].endswith("Bye")
    assert answers["one"]["usage"]["total_tokens"] > 0
    (error,) = kimi.get(f"/files/{batch['error_file_id']}/content").text.splitlines()
    assert "invalid temperature" in json.loads(error)["response"]["body"]["error"]["message"]
    listed = kimi.get("/batches").json()["data"]
    assert [one["metadata"] for one in listed] == [{"run": "r-1"}]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([line("a"), line("a")], "repeats custom_id a"),
        ([line("a"), line("b", model="kimi-k2.7-code")], "another model"),
        ([line("a", model="kimi-k3")], "kimi-k3, which batches do not support"),
        ([line("a", model="kimi-k2-thinking")], "which batches do not support"),
        ([line("a", stream=True)], "asks for a stream"),
        ([{**line("a"), "url": "/v1/embeddings"}], "must be a POST to"),
        ([{**line("a"), "custom_id": ""}], "has no custom_id"),
        ([{"custom_id": "a"}], "has no body"),
    ],
)
def test_a_malformed_batch_fails_with_the_line(kimi, lines, problem):
    batch = submit(kimi, lines).json()
    assert batch["status"] == "failed"
    assert problem in batch["errors"]["data"][0]["message"]
    assert kimi.get(f"/batches/{batch['id']}").json()["status"] == "failed"


def test_a_batch_that_cannot_be_made_is_refused(kimi):
    assert submit(kimi, [line("a")], completion_window="1h").status_code == 400
    assert submit(kimi, [line("a")], completion_window="8d").status_code == 400
    assert submit(kimi, [line("a")], endpoint="/v1/embeddings").status_code == 400
    assert submit(kimi, [line("a")], input_file_id="file-x").status_code == 400
    assert submit(kimi, [line("a")], input_file_id=upload(kimi, [line("a")], "image")).status_code == 400
    assert kimi.get("/batches/batch-x").status_code == 404


def test_an_open_batch_can_be_canceled(kimi):
    batch = submit(kimi, [line("a")]).json()
    assert kimi.post(f"/batches/{batch['id']}/cancel").json()["status"] == "cancelled"
    assert kimi.get(f"/batches/{batch['id']}").json()["status"] == "cancelled"
    assert kimi.post(f"/batches/{batch['id']}/cancel").status_code == 400


@pytest.mark.parametrize(
    ("tool", "argument", "key"),
    [
        ("web-search", "query", "encrypted_output"),
        ("fetch", "url", "output"),
        ("code_runner", "code", "output"),
    ],
)
def test_a_formula_declares_its_tool_and_runs_it(kimi, tool, argument, key):
    uri = f"/formulas/moonshot/{tool}:latest"
    (declared,) = kimi.get(f"{uri}/tools").json()["tools"]
    chat = {
        "model": "kimi-k2-thinking",
        "messages": [{"role": "user", "content": "Hi"}],
        "tools": [declared],
    }
    assert kimi.post("/chat/completions", json=chat).status_code == 200
    call = {"name": declared["function"]["name"], "arguments": json.dumps({argument: "x"})}
    fiber = kimi.post(f"{uri}/fibers", json=call).json()
    assert fiber["status"] == "succeeded"
    assert fiber["context"][key]
    failed = kimi.post(f"{uri}/fibers", json={**call, "arguments": "{}"}).json()
    assert (failed["status"], failed["context"]["error"]) == ("failed", f"{argument} is required")


def test_unknown_formulas_and_malformed_fibers_are_refused(kimi):
    assert kimi.get("/formulas/moonshot/dance:latest/tools").status_code == 404
    assert kimi.get("/formulas/other/fetch:latest/tools").status_code == 404
    uri = "/formulas/moonshot/fetch:latest/fibers"
    assert kimi.post(uri, json={"name": "other", "arguments": "{}"}).status_code == 400
    assert kimi.post(uri, json={"name": "fetch", "arguments": {"url": "x"}}).status_code == 400


def test_paths_and_methods_that_do_not_exist(kimi):
    assert kimi.get("/nothing").status_code == 404
    assert kimi.get("/chat/completions").status_code == 405
