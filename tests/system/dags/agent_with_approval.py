"""An agent whose only tool needs a person's approval."""

import os
from pathlib import Path

from airflow.sdk import dag

from kimi_provider.analysis.tools import tool
from kimi_provider.operators.agent import KimiAgentOperator


@tool
def restart(service: str) -> str:
    """Restart a service.

    :param service: its name.
    """
    with Path(os.environ["AIRFLOW_HOME"], "restarted.txt").open("a") as file:
        file.write(f"{service}\n")
    return f"{service} was restarted"


@dag(schedule=None)
def agent_with_approval() -> None:
    KimiAgentOperator(
        task_id="agent", prompt="Restart what hangs.", tools=[restart], policy={"restart": "ask"}
    )


agent_with_approval()
