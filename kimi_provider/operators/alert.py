"""Alert: rules decide whether anyone is told, and the report goes to each recipient once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import open_uri, task_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from kimi_provider.alerts.message import Message
    from kimi_provider.alerts.rules import Rule
    from kimi_provider.schemas import AlertEvent, AlertResult, Analysis, Fact, ReportRef


class AlertOperator(BaseOperator):
    """Mails a report if a rule fires; returns an :class:`~kimi_provider.schemas.AlertResult`.

    Each recipient gets a mail of his own, and gets it once: what is known of each mail is written
    down before and after it leaves, and a retry sends only those of which it is known that they did
    not leave. ``queued`` in a receipt means that SendGrid took the mail, not that it was delivered.

    :param analysis: what :class:`KimiAnalyzeOperator` returned. (templated)
    :param report: what :class:`ReportOperator` returned. (templated)
    :param rules: any of them firing sends the mail; see :mod:`kimi_provider.alerts.rules`.
    :param to: recipients: a list, or one text with commas between. (templated)
    :param sendgrid_conn_id: the ``sendgrid`` connection. (templated)
    :param from_email: sender's address; by default the connection's. (templated)
    :param from_name: sender's name; by default the connection's. (templated)
    :param reply_to: where answers go; by default the connection's. (templated)
    :param categories: tags by which SendGrid counts mails, 10 at most. (templated)
    :raises RuleError: if a rule asks for a fact that the analysis does not have; nothing is sent.
    :raises DeliveryError: if any mail is not known to be queued; carries all receipts.
    """

    template_fields: Sequence[str] = (
        "analysis",
        "report",
        "to",
        "sendgrid_conn_id",
        "from_email",
        "from_name",
        "reply_to",
        "categories",
    )
    ui_color = "#fde8e8"

    def __init__(
        self,
        *,
        analysis: Any,
        report: Any,
        rules: Sequence[Rule],
        to: str | Sequence[str],
        sendgrid_conn_id: str = SendGridHook.default_conn_name,
        from_email: str | None = None,
        from_name: str | None = None,
        reply_to: str | None = None,
        categories: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.analysis = analysis
        self.report = report
        self.rules = rules
        self.to = to
        self.sendgrid_conn_id = sendgrid_conn_id
        self.from_email = from_email
        self.from_name = from_name
        self.reply_to = reply_to
        self.categories = categories

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask the rules, and send the report if one of them fires."""
        with airflow_failures():
            result = asyncio.run(self._alert(context))
        return result.model_dump(mode="json")

    async def _alert(self, context: Context) -> AlertResult:
        from kimi_provider.alerts.evaluation import evaluate
        from kimi_provider.schemas import AlertResult, Analysis, ReportRef

        analysis = Analysis.model_validate(self.analysis)
        report = ReportRef.model_validate(self.report)
        events = evaluate(self.rules, analysis, await _facts(analysis))
        for event in events:
            self.log.info("Rule %r fired (%s): %s", event.rule, event.severity, event.reason)
        if not events:
            self.log.info("None of the %d rules fired, so nobody is told", len(self.rules))
            return AlertResult(events=(), receipts=())
        return AlertResult(events=events, receipts=await self._send(context, report, events))

    async def _send(
        self, context: Context, report: ReportRef, events: tuple[AlertEvent, ...]
    ) -> tuple[Any, ...]:
        from kimi_provider.alerts.ledger import message_id

        ti = context["ti"]
        hook = SendGridHook(self.sendgrid_conn_id)
        message = await self._message(hook, report, events)
        receipts = await hook.deliver(
            message,
            self.to,
            message_id=message_id(
                ti.dag_id, ti.run_id, ti.task_id, ti.map_index or 0, content=report.sha256
            ),
            ledger=task_folder(context) / "ledger",
        )
        self.log.info("%d mails are queued at SendGrid", len(receipts))
        return receipts

    async def _message(
        self, hook: SendGridHook, report: ReportRef, events: tuple[AlertEvent, ...]
    ) -> Message:
        from kimi_provider.alerts.message import InlineFile
        from kimi_provider.schemas import Severity
        from kimi_provider.storage import read_bytes, read_text

        html = await asyncio.to_thread(read_text, open_uri(report.html_uri))
        text = await asyncio.to_thread(read_text, open_uri(report.text_uri))
        images = [
            InlineFile(
                image.content_id,
                await asyncio.to_thread(read_bytes, open_uri(image.uri)),
                image.media_type,
            )
            for image in report.images
        ]
        severity = max((event.severity for event in events), key=lambda s: s.rank)
        mark = "" if severity is Severity.INFO else f"[{severity.value.capitalize()}] "
        return hook.get_conn().config.message(
            subject=f"{mark}{report.subject}",
            html=html,
            text=text,
            images=tuple(images),
            from_email=self.from_email,
            from_name=self.from_name,
            reply_to=self.reply_to,
            categories=tuple(self.categories),
        )


async def _facts(analysis: Analysis) -> dict[str, Fact]:
    from kimi_provider.schemas import FactSheet
    from kimi_provider.storage import read_bytes

    sheet = FactSheet.model_validate_json(
        await asyncio.to_thread(read_bytes, open_uri(analysis.facts_uri))
    )
    return {fact.id: fact for fact in sheet.facts}
