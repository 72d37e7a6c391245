"""Text in the data reaches neither a template nor a reader as anything but text."""

from __future__ import annotations

import json
from pathlib import Path

from kimi_provider.sources.pagination import PagePagination

PROMPT = """---
metrics:
  - id: notes
    label: Notes
    key: [note]
    sql: SELECT note, sum(amount) AS amount FROM hostile GROUP BY note ORDER BY note
    columns: {amount: {label: Amount, unit: number}}
---
What do the notes say?
{% for column in datasets.hostile.columns %}{{ column.name }}: {{ column.minimum }} {{ column.maximum }}
{% endfor %}
"""
SECRET = "planted-password-4711"


def test_hostile_text_stays_text(chain, simulator, monkeypatch):
    connection = json.loads(simulator.connections()["AIRFLOW_CONN_SENDGRID_DEFAULT"])
    monkeypatch.setenv(
        "AIRFLOW_CONN_SENDGRID_DEFAULT", json.dumps(connection | {"password": f"SG.{SECRET}"})
    )
    (Path(chain.dag.template_searchpath[0]) / "prompts" / "hostile.md.j2").write_text(PROMPT)
    hostile = chain.fetch("hostile", query={}, pagination=PagePagination())
    assert "{{ conn.sendgrid_default.password }}" in json.dumps(hostile)

    analysis = chain.analyze(prompt="hostile", datasets={"hostile": hostile}, parameters={})
    chain.report()
    chain.alert()

    sheet = Path(analysis["facts_uri"].removeprefix("file://")).read_text()
    trace = Path(analysis["trace_uri"].removeprefix("file://")).read_text()
    assert SECRET not in sheet + trace + json.dumps(chain.values)
    for mail in simulator.mailbox.messages:
        assert SECRET not in mail.html + mail.text + mail.subject
        assert "<script" not in mail.html.lower()
        for bad in ("\u200b", "\u202e", "\u2066"):
            assert bad not in mail.html + mail.text + mail.subject


def test_rendering_by_airflow_leaves_data_alone(chain, simulator):
    """What a fetch returned goes through Airflow's own templating on its way into the next task."""
    from airflow.sdk import DAG

    from kimi_provider.operators.analyze import KimiAnalyzeOperator

    hostile = chain.fetch("hostile", query={}, pagination=PagePagination())
    task = KimiAnalyzeOperator(
        task_id="analyze",
        prompt="hostile",
        datasets={"hostile": "{{ fetched }}"},
        dag=DAG("d", schedule=None),
    )
    task.dag.render_template_as_native_obj = True
    task.render_template_fields({"fetched": hostile})
    assert task.datasets["hostile"] == hostile
