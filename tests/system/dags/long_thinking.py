"""A question whose answer takes long, waited for in the triggerer."""

from airflow.sdk import dag

from kimi_provider.operators.chat import KimiChatOperator


@dag(schedule=None)
def long_thinking() -> None:
    KimiChatOperator(task_id="ask", prompt="Think long about {{ run_id }}.", deferrable=True)


long_thinking()
