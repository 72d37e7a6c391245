"""The notifier that sends mail by SendGrid."""

from __future__ import annotations

import asyncio
import copy
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from airflow.sdk import BaseNotifier

from kimi_provider.exceptions import KimiProviderError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Mapping

    import jinja2
    from airflow.sdk import Context

    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.notice import Notice
    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.alerts.sendgrid import SendGridClient
    from kimi_provider.storage import StoragePath


class SendGridNotifier(BaseNotifier):
    """Tells someone by mail, in callbacks, deadlines and approvals.

    :param to: recipients: addresses with commas or semicolons between, ``FromQuery``, ``FromVariable``,
        ``FromFile`` (see :mod:`kimi_provider.alerts.recipients_from`), or a list of these; each gets a
        mail of their own. (templated)
    :param subject: one line; by default what happened, and to which task. (templated)
    :param html_content: the HTML part; values put into it are escaped. By default a short notice: DAG,
        run, task, try, class of the error, link to the log; where a task failed, by the template
        ``failure`` of ``templates/alerts``. (templated)
    :param text_content: the plain-text part; made from the HTML where only that is given. (templated)
    :param from_email: sender's address; by default the connection's. (templated)
    :param from_name: sender's name; by default the connection's. (templated)
    :param reply_to: where answers go; by default as the connection says. (templated)
    :param sendgrid_conn_id: id of the connection. (templated)
    :raises ConfigurationError: when it notifies, if the connection, a recipient or a part is malformed.
    :raises DeliveryError: when it notifies, if any mail is not known to be queued.

    A notice keeps no ledger in storage, because what failed may be the storage; a callback that Airflow
    runs twice is told twice.

    Example::

        with DAG("sales", on_failure_callback=SendGridNotifier(to="owner@example.org")): ...
    """

    template_fields = (
        "to",
        "subject",
        "html_content",
        "text_content",
        "from_email",
        "from_name",
        "reply_to",
        "sendgrid_conn_id",
    )

    def __init__(
        self,
        *,
        to: str | Source | Iterable[str | Source],
        subject: str | None = None,
        html_content: str | None = None,
        text_content: str | None = None,
        from_email: str | None = None,
        from_name: str | None = None,
        reply_to: str | None = None,
        sendgrid_conn_id: str = "sendgrid_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.to = to
        self.subject = subject
        self.html_content = html_content
        self.text_content = text_content
        self.from_email = from_email
        self.from_name = from_name
        self.reply_to = reply_to
        self.sendgrid_conn_id = sendgrid_conn_id

    def __call__(self, *args: Any) -> None:
        """Notify, from a copy.

        Airflow renders a notifier in place. One that serves two callbacks in a process would keep the
        first one's subject, and render as a template whatever an error had put into it.
        """
        super(SendGridNotifier, copy.copy(self)).__call__(*args)

    def __await__(self) -> Generator[Any, Any, None]:
        """Notify from within an event loop, from a copy; see :meth:`__call__`."""
        yield from super(SendGridNotifier, copy.copy(self)).__await__()

    def render_template_fields(
        self, context: Context, jinja_env: jinja2.Environment | None = None
    ) -> None:
        """Render the fields in place; values are escaped where they go into HTML."""
        from airflow.sdk import DAG

        dag = context.get("dag")
        # dag.test() calls a DAG's callbacks with a serialized DAG, which has no environment.
        environment = jinja_env or self.get_template_env(dag=dag if isinstance(dag, DAG) else None)
        self.to = copy.deepcopy(self.to)  # Airflow renders what a query or a file is named by in place
        for field in self.template_fields:
            value = getattr(self, field)
            if field == "html_content" and isinstance(value, str):
                value = self._escaping(environment).from_string(value).render(context)
            else:
                value = self.render_template(value, context, environment)
            setattr(self, field, value)

    def _escaping(self, environment: jinja2.Environment) -> jinja2.Environment:
        """Return the DAG's environment as one for HTML: Airflow's escapes nothing.

        It cannot be an overlay: that of a DAG with native rendering compiles the escaping away.
        """
        escaping = self.get_template_env()
        escaping.autoescape = True
        escaping.undefined = environment.undefined
        escaping.loader = environment.loader
        escaping.globals.update(environment.globals)
        escaping.filters.update(environment.filters)
        return escaping

    def notify(self, context: Context) -> None:
        """Send the mail, and wait for it to be queued.

        :param context: what Airflow knows of the task or run.
        """
        from kimi_provider.hooks.sendgrid import SendGridHook

        asyncio.run(self._deliver(SendGridHook(self.sendgrid_conn_id).get_conn(), context))

    async def async_notify(self, context: Context) -> None:
        """Send the mail from within an event loop; see :meth:`notify`.

        :param context: what Airflow knows of the task or run.
        """
        from kimi_provider.hooks.sendgrid import SendGridHook

        await self._deliver(await SendGridHook(self.sendgrid_conn_id).aget_conn(), context)

    async def _deliver(self, client: SendGridClient, context: Context) -> None:
        from kimi_provider.alerts.ledger import message_id
        from kimi_provider.hooks.metrics import mails_of
        from kimi_provider.hooks.recipients import read_recipients

        notice = _notice(context)
        message = await self._message(client, notice, context.get("dag"))
        place = (notice.dag_id, notice.run_id or "", notice.task_id or "", notice.try_number or 0)
        people = await asyncio.to_thread(read_recipients, self.to)
        with tempfile.TemporaryDirectory(prefix="kimi-notice-") as ledger:
            await client.deliver(
                message,
                people,
                message_id=message_id(*place, content=message.sha256),
                ledger=cast("StoragePath", Path(ledger)),
                on_sent=mails_of(context.get("ti")),
            )

    async def _message(self, client: SendGridClient, notice: Notice, dag: object) -> Message:
        from airflow.sdk import DAG

        from kimi_provider.alerts.addresses import one_line
        from kimi_provider.alerts.message import InlineFile
        from kimi_provider.alerts.plain import html_of_text, text_of_html
        from kimi_provider.hooks.failure_notice import draw_failure

        html, text = self.html_content, self.text_content
        images: tuple[InlineFile, ...] = ()
        if html is None and text is None:
            html, text = notice.html, notice.text
            drawn = await draw_failure(notice, dag if isinstance(dag, DAG) else None)
            if drawn is not None:
                html, text = drawn.html, drawn.text
                images = tuple(InlineFile(p.content_id, p.png, p.media_type) for p in drawn.pictures)
        if html is None:
            html = html_of_text(str(text))
        if text is None:
            text = text_of_html(str(html)) or notice.text
        return client.config.message(
            subject=notice.subject if self.subject is None else one_line(str(self.subject)),
            html=str(html),
            text=str(text),
            images=images,
            from_email=self.from_email,
            from_name=self.from_name,
            reply_to=self.reply_to,
        )


def _notice(context: Mapping[str, Any]) -> Notice:
    """Gather what there is: contexts of tasks, runs and deadlines each lack what the others have."""
    from kimi_provider.alerts.notice import Notice

    ti, dag, dag_run = context.get("ti"), context.get("dag"), context.get("dag_run")
    of_run = ti is None or "reason" in context  # a run's context has the last task, for its log
    run = dag_run if isinstance(dag_run, dict) else {}
    error = context.get("exception")
    map_index = getattr(ti, "map_index", None)
    return Notice(
        what=_what(context),
        dag_id=getattr(ti, "dag_id", None)
        or getattr(dag, "dag_id", None)
        or run.get("dag_id")
        or "A DAG",
        run_id=context.get("run_id") or run.get("dag_run_id") or getattr(dag_run, "run_id", None),
        task_id=None if of_run else getattr(ti, "task_id", None),
        map_index=None if of_run or map_index is None or map_index < 0 else map_index,
        try_number=None if of_run else getattr(ti, "try_number", None),
        error=type(error).__name__ if isinstance(error, BaseException) else None,
        advice=_advice(error),
        log_url=getattr(ti, "log_url", None),
    )


def _what(context: Mapping[str, Any]) -> str:
    if "deadline" in context:
        return "missed a deadline"
    state = str(getattr(getattr(context.get("ti"), "state", None), "value", ""))
    if context.get("exception") is not None:
        return "failed and will be tried again" if state == "up_for_retry" else "failed"
    if "reason" in context:
        return "succeeded" if context["reason"] == "success" else f"failed ({context['reason']})"
    known = {"success": "succeeded", "failed": "failed", "skipped": "was skipped", "running": "started"}
    return known.get(state, "needs attention")


def _advice(error: object) -> str | None:
    """Return the text of an error of ours, which is written for others; of no other."""
    while isinstance(error, BaseException):
        if isinstance(error, KimiProviderError):
            return str(error)
        error = error.__cause__
    return None
