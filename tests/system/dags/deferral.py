"""What waits in the triggerer: an agent with a tool, a batch, a call not to be repeated, many."""

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from kimi_provider.analysis.tools import tool
from kimi_provider.operators.agent import KimiAgentOperator
from kimi_provider.operators.batch import KimiBatchOperator
from kimi_provider.operators.chat import KimiChatOperator

# Airflow takes a task for lost whose answer comes sooner than its scheduler has seen the worker leave.
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}
MANY = int(os.environ.get("MAPPED_CALLS", "12"))


@tool
def look_up(name: str) -> str:
    """Look a name up.

    :param name: the name.
    """
    with Path(os.environ["AIRFLOW_HOME"], "looked-up.txt").open("a") as file:
        file.write(f"{name} {os.getpid()}\n")
    return f"{name} is known"


with DAG("deferral", schedule=None, default_args=RETRIES):
    KimiAgentOperator(task_id="agent", prompt="Look names up.", tools=[look_up], deferrable=True)
    KimiBatchOperator(
        task_id="batch",
        prompts=["one", "two"],
        kimi_conn_id="kimi_batches",
        poll_interval=0.5,
        deferrable=True,
    )

with DAG("careful", schedule=None, default_args=RETRIES):
    KimiChatOperator(task_id="ask", prompt="Take care.", deferrable=True, on_restart="fail")

with DAG("many", schedule=None, default_args=RETRIES, max_active_tasks=1000):
    KimiChatOperator.partial(task_id="ask", deferrable=True, pool="kimi").expand_kwargs(
        [{"prompt": f"Think about the number {number}."} for number in range(MANY)]
    )
