"""Report: from an analysis to a mail, a page and a text that agree to the digit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.hooks.templates import template_search_path

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.sdk import Context

    from kimi_provider.reports.brand import Brand
    from kimi_provider.schemas import ReportRef


class ReportOperator(BaseOperator):
    """Renders an analysis by Jinja templates; returns a :class:`~kimi_provider.schemas.ReportRef`.

    :param analysis: what :class:`KimiAnalyzeOperator` returned. (templated)
    :param template: name of the template in ``templates/reports``. (templated)
    :param title: name of the report. (templated)
    :param subject: of the mail, with the fields ``{title}``, ``{period}``, ``{headline}``,
        ``{level}``. (templated)
    :param locale: how numbers and dates are written, such as ``en`` or ``pl``. (templated)
    :param timezone: IANA name of the zone in which times are shown. (templated)
    :param brand: name and accent color, a :class:`~kimi_provider.reports.brand.Brand`.
    :param link_hosts: hosts that links in the model's text may lead to; others become plain text.
    :raises TemplateError: if a template is missing, malformed or asks for what there is not.
    :raises RenderError: if the report cites a fact that there is not, or is too large for mail.
    """

    template_fields: Sequence[str] = ("analysis", "template", "title", "subject", "locale", "timezone")
    ui_color = "#e8f0fe"

    def __init__(
        self,
        *,
        analysis: Any,
        template: str = "daily_brief",
        title: str | None = None,
        subject: str | None = None,
        locale: str = "en",
        timezone: str = "UTC",
        brand: Brand | None = None,
        link_hosts: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.analysis = analysis
        self.template = template
        self.title = title
        self.subject = subject
        self.locale = locale
        self.timezone = timezone
        self.brand = brand
        self.link_hosts = link_hosts

    def execute(self, context: Context) -> dict[str, Any]:
        """Render the report into the task's folder."""
        with airflow_failures():
            report = asyncio.run(self._build(context))
        self.log.info("Report with %d charts: %s", len(report.images), report.page_uri)
        return report.model_dump(mode="json")

    async def _build(self, context: Context) -> ReportRef:
        from datetime import UTC, datetime

        from kimi_provider.reports.build import build_report
        from kimi_provider.schemas import Analysis, FactSheet
        from kimi_provider.storage import read_bytes

        analysis = Analysis.model_validate(self.analysis)
        sheet = await asyncio.to_thread(read_bytes, open_uri(analysis.facts_uri))
        return await build_report(
            analysis,
            FactSheet.model_validate_json(sheet),
            template=self.template,
            search_path=template_search_path("reports", self.dag),
            folder=task_folder(context),
            now=datetime.now(UTC),
            title=self.title,
            subject=self.subject,
            brand=self.brand,
            locale=self.locale,
            timezone=self.timezone,
            link_hosts=self.link_hosts,
        )
