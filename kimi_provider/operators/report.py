"""Report: from an analysis to a mail, a page, a PDF, a workbook and a text that agree to the digit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

from airflow.sdk.exceptions import AirflowSkipException

from kimi_provider.exceptions import ConfigurationError, ReportError
from kimi_provider.hooks.assets import announce_report, default_outlets
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.links import KimiReportLink
from kimi_provider.hooks.storage import task_folder
from kimi_provider.hooks.templates import template_search_path
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from airflow.sdk import Context

    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.hooks.recipes import ReportRecipe
    from kimi_provider.reports.brand import Brand
    from kimi_provider.schemas import Analysis, FactSheet, ReportRef

_NO_DATA = ("report", "skip", "fail")


class ReportOperator(LineageOperator):
    """Renders an analysis by Jinja templates; returns a :class:`~kimi_provider.schemas.ReportRef`.

    The report is an asset: where the task names no outlets it updates one of its own, and the event
    says the report's period, cost, grounding score and hash.

    :param analysis: what :class:`KimiAnalyzeOperator` returned. (templated)
    :param template: name of the template in ``templates/reports``. (templated)
    :param title: name of the report. (templated)
    :param subject: of the mail, with the fields ``{title}``, ``{period}``, ``{when}`` ("yesterday"),
        ``{headline}``, ``{level}``. (templated)
    :param locale: how numbers and dates are written, such as ``en`` or ``pl``. (templated)
    :param timezone: IANA name of the zone in which times are shown. (templated)
    :param brand: name, colors, logo and font, a :class:`~kimi_provider.reports.brand.Brand`.
    :param link_hosts: hosts that links in the model's text may lead to; others become plain text.
    :param formats: files to attach, any of ``pdf``, ``xlsx`` (each an extra of this package) and ``csv``
        (a file a table). A table that is too long for the mail is attached as CSV in any case.
        (templated)
    :param file_name: of PDF and workbook, without what follows the dot; by default title and period.
        (templated)
    :param csv_byte_order_mark: whether a CSV starts with the mark by which Excel knows UTF-8.
    :param on_no_data: what to do where there is nothing to report: a short ``report`` that says so,
        ``skip`` the task and what follows it, or ``fail``.
    :raises TemplateError: if a template is missing, malformed or asks for what there is not.
    :raises RenderError: if the report cites a fact that there is not, or is too large for mail.
    :raises ReportError: if there is no data, and that fails.

    A part that cannot be made (a chart, a file) is named in the report, in ``ReportRef.failures`` and in
    a warning of the log; the rest is delivered.
    """

    template_fields: Sequence[str] = (
        "analysis",
        "template",
        "title",
        "subject",
        "locale",
        "timezone",
        "formats",
        "file_name",
    )
    operator_extra_links = (KimiReportLink(),)
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
        formats: Sequence[str] | str = (),
        file_name: str | None = None,
        csv_byte_order_mark: bool = True,
        on_no_data: Literal["report", "skip", "fail"] = "report",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if on_no_data not in _NO_DATA:
            raise ConfigurationError(
                f"on_no_data={on_no_data!r} is not known. Choose one of: {', '.join(_NO_DATA)}."
            )
        self.analysis = analysis
        self.template = template
        self.title = title
        self.subject = subject
        self.locale = locale
        self.timezone = timezone
        self.brand = brand
        self.link_hosts = link_hosts
        self.formats = formats
        self.file_name = file_name
        self.csv_byte_order_mark = csv_byte_order_mark
        self.on_no_data = on_no_data
        self.outlets = self.outlets or default_outlets(self)

    def execute(self, context: Context) -> dict[str, Any]:
        """Render the report into the task's folder."""
        from kimi_provider.hooks.lineage import places_of_report, told_of_report
        from kimi_provider.hooks.metrics import measure_report

        with airflow_failures():
            report = asyncio.run(self._build(context))
        for failure in report.failures:
            self.log.warning("The report is not complete: %s", failure)
        self.log.info(
            "Report with %d pictures and %d files: %s",
            len(report.images),
            len(report.attachments),
            report.page_uri,
        )
        announce_report(context, self.outlets, report)
        measure_report(context["ti"], report)
        facets = {"kimi_report": told_of_report(report)}
        self._tell(outputs=places_of_report(report), facets=facets)
        return report.model_dump(mode="json")

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.lineage import Lineage, places_of_analysis

        return Lineage(inputs=places_of_analysis(self.analysis))

    async def _build(self, context: Context) -> ReportRef:
        from datetime import UTC, datetime

        from kimi_provider.hooks.making import drawn, sheet_of
        from kimi_provider.schemas import Analysis

        analysis, folder = Analysis.model_validate(self.analysis), task_folder(context)
        sheet = await asyncio.to_thread(sheet_of, analysis)
        self._check_data(analysis, sheet)
        recipe = await asyncio.to_thread(self._recipe)
        await asyncio.to_thread(recipe.store, folder)
        return await drawn(
            recipe,
            analysis,
            sheet,
            folder=folder,
            search_path=template_search_path("reports", self.dag),
            now=datetime.now(UTC),
        )

    def _recipe(self) -> ReportRecipe:
        from kimi_provider.hooks.recipes import ReportRecipe

        return ReportRecipe(
            template=self.template,
            title=self.title,
            subject=self.subject,
            locale=self.locale,
            timezone=self.timezone,
            link_hosts=tuple(self.link_hosts),
            formats=self.formats if isinstance(self.formats, str) else tuple(self.formats),
            file_name=self.file_name,
            csv_byte_order_mark=self.csv_byte_order_mark,
            brand=ReportRecipe.brand_fields(self.brand),
        )

    def _check_data(self, analysis: Analysis, sheet: FactSheet) -> None:
        from kimi_provider.reports.compose import is_empty

        if self.on_no_data == "report" or not is_empty(analysis, sheet):
            return
        reason = f"The analysis of {analysis.period or 'this run'} has no data: no figure, no row."
        if self.on_no_data == "skip":
            raise AirflowSkipException(f"{reason} Nothing is reported, as on_no_data='skip' says.")
        raise ReportError(f"{reason} on_no_data='report' makes a short report that says so.")
