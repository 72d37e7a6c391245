"""The notice to the owner of a DAG: what happened, where, and where to look. For no business reader."""

from __future__ import annotations

from dataclasses import dataclass

import jinja2

from kimi_provider.alerts.addresses import one_line

# Trusted templates; all that comes from a run is a value in them.
_HTML = """\
<table role="presentation" width="100%" style="max-width:640px;border-collapse:collapse;\
font-family:Arial,Helvetica,sans-serif;font-size:14px;color:#1f2933">
<tr><td colspan="2" style="padding:12px 8px;font-size:18px;font-weight:bold">{{ title }}</td></tr>
{%- for label, value in rows %}
<tr><td style="padding:4px 8px;color:#52606d;white-space:nowrap;vertical-align:top">{{ label }}</td>\
<td style="padding:4px 8px">{{ value }}</td></tr>
{%- endfor %}
{%- if link %}
<tr><td></td><td style="padding:4px 8px"><a href="{{ link }}">Open the log</a></td></tr>
{%- endif %}
</table>
"""
_TEXT = """\
{{ title }}
{% for label, value in rows %}
{{ label }}: {{ value }}
{%- endfor %}
{%- if link %}
Log: {{ link }}
{%- endif %}
"""


@dataclass(frozen=True)
class Notice:
    """What happened to a task or a run.

    :param what: the predicate, such as ``failed``.
    :param dag_id: the DAG.
    :param run_id: its run.
    :param task_id: the task, ``None`` where it is the run that something happened to.
    :param map_index: index of a mapped task, ``None`` for others.
    :param try_number: which try, from 1.
    :param error: class of the error. Not its text: that may hold anything that the task touched.
    :param advice: what to do, from an error whose text is known to be fit for others.
    :param log_url: where the log is.
    """

    what: str
    dag_id: str
    run_id: str | None = None
    task_id: str | None = None
    map_index: int | None = None
    try_number: int | None = None
    error: str | None = None
    advice: str | None = None
    log_url: str | None = None

    @property
    def subject(self) -> str:
        """One line: who, and what."""
        mapped = f"[{self.map_index}]" if self.map_index is not None else ""
        who = f"{self.dag_id}.{self.task_id}{mapped}" if self.task_id else self.dag_id
        return one_line(f"[Airflow] {who} {self.what}")

    @property
    def html(self) -> str:
        """The HTML part; every value escaped."""
        return _render(_HTML, self, autoescape=True)

    @property
    def text(self) -> str:
        """The plain-text part."""
        return _render(_TEXT, self, autoescape=False)


def _render(template: str, notice: Notice, *, autoescape: bool) -> str:
    task = notice.task_id
    if task is not None and notice.map_index is not None:
        task = f"{task}, index {notice.map_index}"
    rows = [
        ("DAG", notice.dag_id),
        ("Run", notice.run_id),
        ("Task", task),
        ("Try", notice.try_number),
        ("Error", notice.error),
        ("What to do", notice.advice),
    ]
    link = notice.log_url if (notice.log_url or "").startswith(("https://", "http://")) else None
    environment = jinja2.Environment(autoescape=autoescape)  # noqa: S701 — off for plain text only
    return environment.from_string(template).render(
        title=notice.subject,
        rows=[(label, one_line(str(value))) for label, value in rows if value not in {None, ""}],
        link=link,
    )
