from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kimi_provider.alerts.addresses import check_line, one_line
from kimi_provider.alerts.message import Message
from kimi_provider.alerts.notice import Notice
from kimi_provider.alerts.plain import html_of_text, text_of_html

FULL = Notice(
    what="failed",
    dag_id="sales",
    run_id="manual__2013-02-08",
    task_id="alert",
    map_index=3,
    try_number=2,
    error="DeliveryError",
    advice="Run the task again.",
    log_url="https://airflow.example.org/log?a=1&b=2",
)


def test_a_notice_says_what_where_and_where_to_look() -> None:
    assert FULL.subject == "[Airflow] sales.alert[3] failed"
    assert FULL.text == (
        "[Airflow] sales.alert[3] failed\n\nDAG: sales\nRun: manual__2013-02-08\nTask: alert, index 3\n"
        "Try: 2\nError: DeliveryError\nWhat to do: Run the task again.\n"
        "Log: https://airflow.example.org/log?a=1&b=2"
    )
    for value in ("sales", "manual__2013-02-08", "alert, index 3", "DeliveryError", "a=1&amp;b=2"):
        assert value in FULL.html


def test_a_notice_leaves_out_what_is_not_known() -> None:
    bare = Notice(what="missed a deadline", dag_id="sales")
    assert bare.text == "[Airflow] sales missed a deadline\n\nDAG: sales"
    assert "Task" not in bare.html


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", " https://x", "//x"])
def test_only_web_links_become_links(url: str) -> None:
    notice = Notice(what="failed", dag_id="d", log_url=url)
    assert "<a " not in notice.html
    assert "Log:" not in notice.text


@given(st.text(), st.text(), st.text())
def test_whatever_a_run_is_called_the_notice_is_a_mail(dag: str, task: str, advice: str) -> None:
    notice = Notice(what="failed", dag_id=dag, task_id=task, advice=advice)
    message = Message(
        subject=notice.subject, html=notice.html, text=notice.text, from_email="r@example.org"
    )
    shape = Notice(what="failed", dag_id="d" if one_line(dag) else "", task_id="t", advice="a").html
    assert message.html.count("<a ") == 0
    assert message.html.count("<script") == 0
    assert message.html.count("<td") <= shape.count("<td") + 2


def test_values_are_neither_markup_nor_template() -> None:
    notice = Notice(what="failed", dag_id="{{ 7*7 }}<script>alert(1)</script>")
    assert "<script" not in notice.html
    assert "{{ 7*7 }}&lt;script&gt;" in notice.html
    assert "{{ 7*7 }}<script>" in notice.text


@given(st.text())
def test_one_line_is_always_fit_for_a_header(text: str) -> None:
    assert check_line("subject", one_line(text)) == one_line(text)


def test_one_line_takes_no_header_along() -> None:
    assert one_line(" a\r\nBcc: b\x00\u2028c ") == "a Bcc: b c"


def test_the_text_of_html_is_what_a_reader_sees() -> None:
    source = """<html><head><title>T</title><style>p {color: red}</style></head><body>
    <h1>Delays &amp; more</h1><p>One
    line</p><script>alert(1)</script>
    <table><tr><th>Carrier</th><th>Delay</th></tr><tr><td>UA</td><td>12</td></tr></table>
    <p>See <a href="https://example.org/x">the log</a> or <a href="javascript:x">this</a>.
    <img src="cid:c" alt="A chart"></p><br><br><br><p>End</p></body></html>"""
    assert text_of_html(source) == (
        "Delays & more\n\nOne line\n\nCarrier Delay\n\nUA 12\n\n"
        "See the log (https://example.org/x) or this. A chart\n\nEnd"
    )


@given(st.text())
def test_text_comes_through_html_as_it_is(text: str) -> None:
    html = html_of_text(text)
    assert html.count("<div") == 1
    words = text.replace("\x00", "\ufffd").split()
    assert text_of_html(html).replace("\x00", "\ufffd").split() == words


@given(st.text("<>/abps&;\"'=! -", max_size=60))
def test_no_html_is_too_broken_to_read(source: str) -> None:
    assert isinstance(text_of_html(source), str)
