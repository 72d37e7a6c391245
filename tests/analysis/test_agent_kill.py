"""A worker that is killed again and again in the midst of a long run of tools."""

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from kimi_provider.testing import Simulator

STEPS = 300
KILLS = 3
CHAT = "/v1/chat/completions"
ROOT = Path(__file__).parents[2]

WORKER = '''
import asyncio, json, pathlib, sys

from kimi_provider.analysis.agent import run_agent
from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.journal import Journal
from kimi_provider.analysis.tools import tool
from kimi_provider.analysis.trace import Trace
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.client.messages import ChatRequest, Message

url, folder = sys.argv[1], pathlib.Path(sys.argv[2])

@tool
def record(number: int) -> str:
    """Record a number."""
    with (folder / "effects").open("a") as file:
        file.write(f"{number}\\n")
    return f"recorded {number}"

async def main():
    config = ClientConfig.from_mapping(
        base_url=url, api_key="k", model="kimi-k2-thinking", extra={"host": "moonshot"}
    )
    async with KimiClient(config) as client:
        caller = Caller(client, budget=Budget(), trace=Trace(), journal=Journal(folder / "journal"))
        request = ChatRequest(messages=(Message.user("Record them all."),))
        result = await run_agent(caller, request, [record])
    answer = {
        "text": result.text,
        "steps": result.steps,
        "usage": result.usage.model_dump(mode="json"),
        "task": caller.usage.model_dump(mode="json"),
        "messages": len(result.messages),
    }
    (folder / "answer").write_text(json.dumps(answer))

asyncio.run(main())
'''


def start(simulator, folder):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, simulator.kimi_url, str(folder)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_a_killed_worker_resumes_and_repeats_at_most_one_call_a_kill(tmp_path):
    seed = random.randrange(10**6)  # noqa: S311 — where to kill is no secret
    chosen = random.Random(seed)  # noqa: S311 — the same
    print("seed", seed)  # noqa: T201 — shown where the test fails, so that it can be repeated
    targets = sorted(chosen.sample(range(5, STEPS - 5), KILLS))
    with Simulator() as simulator:
        simulator.script("tools", steps=STEPS, tool="record", arguments={"number": "{step}"})
        for target in targets:
            worker = start(simulator, tmp_path)
            while simulator.calls.count(CHAT) < target and worker.poll() is None:
                time.sleep(0.01)
            # Anywhere within a step: before, during or after the call, the tool, the journal.
            time.sleep(chosen.random() * 0.03)
            assert worker.poll() is None, "the run was over before it could be killed"
            worker.send_signal(signal.SIGKILL)
            worker.wait()
        assert start(simulator, tmp_path).wait(timeout=120) == 0
        repeated = simulator.calls.repeated(CHAT)
        # A kill while a request is being sent leaves half a body, which names no model and is not paid.
        made = sum(call.model is not None for call in simulator.calls.select(CHAT))
    answer = json.loads((tmp_path / "answer").read_text())
    results = "\0".join(f"recorded {number}" for number in range(STEPS))
    assert hashlib.sha256(results.encode()).hexdigest()[:16] in answer["text"]
    assert f"{STEPS} tool results" in answer["text"]
    assert answer["steps"] == STEPS + 1
    assert answer["messages"] == 1 + 2 * STEPS + 1
    assert repeated <= KILLS
    assert made - repeated == STEPS + 1
    # What the journal counts is what was finished; a call that a kill cut off cannot be known.
    assert repeated <= answer["task"].pop("repeated_calls") <= KILLS
    assert answer["usage"].pop("repeated_calls") == 0
    assert answer["usage"] == answer["task"]
    assert answer["usage"]["calls"] == STEPS + 1
    effects = Counter((tmp_path / "effects").read_text().split())
    assert set(effects) == {str(number) for number in range(STEPS)}
    assert sum(effects.values()) - len(effects) <= KILLS
