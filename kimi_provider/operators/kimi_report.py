"""The whole chain in one call: fetch, analyze, report, approve, alert.

DAG files import this at every parse; the operators are imported where the chain is built.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow.sdk import BaseNotifier, TaskGroup

    from kimi_provider.alerts.approval import Approval
    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.reports.brand import Brand

ALWAYS = "always"
"""Among ``rules``: the report is asked for at each run."""

FETCHERS = {
    "http": ("kimi_provider.operators.fetch", "HttpFetchOperator"),
    "sql": ("kimi_provider.operators.fetch_sql", "SqlFetchOperator"),
    "files": ("kimi_provider.operators.fetch_files", "FileFetchOperator"),
}
"""How a source can be read: module and class of the operator."""


def kimi_report(
    group_id: str | None,
    *,
    sources: Mapping[str, Any],
    prompt: str,
    to: str | Source | Sequence[str | Source] = (),
    owner: str | Sequence[str] | BaseNotifier | None = None,
    parameters: Mapping[str, Any] | None = None,
    title: str | None = None,
    template: str = "daily_brief",
    locale: str = "en",
    timezone: str = "UTC",
    formats: Sequence[str] | str = (),
    brand: Brand | None = None,
    rules: Sequence[Any] = (ALWAYS,),
    require_approval: Approval | str = "never",
    settings: AlertSettings | None = None,
    slice_by: str | None = None,
    ask: Literal["each", "once"] = "each",
    recipients: Mapping[str, Any] | str | None = None,
    kimi_conn_id: str = "kimi_default",
    sendgrid_conn_id: str = "sendgrid_default",
    model: str | None = None,
    max_cost_usd: Decimal | float | str | None = None,
    on_llm_failure: Literal["fail", "fallback", "skip"] = "fail",
    analyze: Mapping[str, Any] | None = None,
    report: Mapping[str, Any] | None = None,
    alert: Mapping[str, Any] | None = None,
    **task: Any,
) -> TaskGroup | None:
    """Build the chain from its data to its mail, inside a DAG.

    If a stage fails, those who would read the report are told nothing, and ``owner`` gets one notice;
    with ``on_llm_failure="fallback"`` they get the figures without a text where only the model failed.

    :param group_id: id of the task group; ``None`` builds the tasks without one.
    :param sources: the data, by the table name that the prompt template's SQL uses: a fetch task or its
        output, or a mapping with one of ``http``, ``sql``, ``files`` over the parameters of
        ``HttpFetchOperator``, ``SqlFetchOperator`` or ``FileFetchOperator``.
    :param prompt: name of the prompt template.
    :param to: who gets the report; see :class:`~kimi_provider.operators.alert.AlertOperator`.
        (templated)
    :param owner: who is told that a stage failed: addresses, or any Airflow notifier. Tasks that are
        given as sources keep what they were told to do when they fail.
    :param parameters: values for the prompt template's parameters. (templated)
    :param title: name of the report. (templated)
    :param template: name of the report template. (templated)
    :param locale: how numbers and dates are written. (templated)
    :param timezone: IANA name of the zone in which times are shown. (templated)
    :param formats: files to attach, any of ``pdf``, ``xlsx``, ``csv``. (templated)
    :param brand: name, colors, logo and font; of the alert's own mails too, where ``settings`` has none.
    :param rules: any of them firing tells: rules, expressions (``day.cancelled_share > 10%``), or
        ``always``.
    :param require_approval: whether a person approves the mail before it leaves; see
        :class:`~kimi_provider.operators.alert.AlertOperator`.
    :param settings: repeats, routes and receivers of the alert. Without it, its own mails are written in
        the report's locale and time zone.
    :param slice_by: a column; each of its values gets a report of its own, by dynamic task mapping. See
        :mod:`kimi_provider.operators.slices`.
    :param ask: with ``slice_by``: whether the model is asked for ``each`` slice, or ``once`` for all.
    :param recipients: with ``slice_by``: who gets which slice, by value; ``*`` for the others. Without
        it, each slice goes to ``to``. (templated)
    :param kimi_conn_id: the ``kimi`` connection. (templated)
    :param sendgrid_conn_id: the ``sendgrid`` connection. (templated)
    :param model: model id, in place of the template's and the connection's. (templated)
    :param max_cost_usd: what the analysis may cost, a slice's where each is asked for. (templated)
    :param on_llm_failure: ``fail``, ``fallback`` or ``skip``.
    :param analyze: further parameters of ``KimiAnalyzeOperator``.
    :param report: further parameters of ``ReportOperator``.
    :param alert: further parameters of ``AlertOperator``.
    :param task: what all tasks have in common, such as ``retries`` or ``pool``.
    :returns: the group.
    :raises ConfigurationError: if an argument is wrong; names it.

    Example::

        with DAG("flights", schedule="@daily"):
            kimi_report(
                "report",
                sources={"sales": {"sql": {"conn_id": "warehouse", "sql": "SELECT * FROM sales"}}},
                prompt="executive_summary",
                to="board@example.org",
                owner="data-team@example.org",
            )
    """
    from kimi_provider.notifications.owner import owner_notifier

    if not sources:
        raise ConfigurationError("sources is empty; a report needs at least one.")
    if ask not in {"each", "once"}:
        raise ConfigurationError(f"ask={ask!r} is not known. Choose 'each' or 'once'.")
    if slice_by is None and (recipients is not None or ask == "once"):
        raise ConfigurationError(
            "recipients and ask='once' are for slices; name their column: slice_by."
        )
    if owner:
        scope = group_id or ""
        told = owner_notifier(owner, scope=scope, sendgrid_conn_id=sendgrid_conn_id)
        task["on_failure_callback"] = told
    chain = _Chain(
        task=task,
        analyze={
            "prompt": prompt,
            "parameters": parameters,
            "kimi_conn_id": kimi_conn_id,
            "model": model,
            "max_cost_usd": max_cost_usd,
            "on_llm_failure": on_llm_failure,
            **(analyze or {}),
        },
        report={
            "template": template,
            "locale": locale,
            "timezone": timezone,
            "formats": formats,
            "brand": brand,
            **(report or {}),
        },
        alert={
            "rules": [_rule(one) for one in rules],
            "require_approval": require_approval,
            "settings": _settled(settings, brand=brand, locale=locale, timezone=timezone),
            "sendgrid_conn_id": sendgrid_conn_id,
            **(alert or {}),
        },
    )
    slicing = {"by": slice_by, "recipients": recipients, "ask": ask} if slice_by else None
    if group_id is None:
        chain.build(sources, to=to, title=title, slicing=slicing)
        return None
    from airflow.sdk import TaskGroup

    with TaskGroup(group_id) as group:
        chain.build(sources, to=to, title=title, slicing=slicing)
    return group


def _settled(
    settings: AlertSettings | None, *, brand: Brand | None, locale: str, timezone: str
) -> AlertSettings:
    """Let mails that come without a report look as it does, where they are not told otherwise."""
    from dataclasses import replace

    from kimi_provider.alerts.settings import AlertSettings

    if settings is not None:
        return settings if settings.brand else replace(settings, brand=brand)
    # What Airflow fills in at a run is not known here.
    known = ["" if "{" in text else text for text in (locale, timezone)]
    return AlertSettings(brand=brand, locale=known[0] or "en", timezone=known[1] or "UTC")


class _Chain:
    """The stages, with what each is given whatever it is about."""

    def __init__(
        self,
        *,
        task: dict[str, Any],
        analyze: dict[str, Any],
        report: dict[str, Any],
        alert: dict[str, Any],
    ) -> None:
        self._task = task
        self._analyze = analyze
        self._report = report
        self._alert = alert

    def build(
        self,
        sources: Mapping[str, Any],
        *,
        to: Any,
        title: str | None,
        slicing: Mapping[str, Any] | None,
    ) -> None:
        datasets = {name: self._fetched(name, source) for name, source in sources.items()}
        if slicing is None:
            self._told(self._analyzed(datasets), datasets, to, title)
        else:
            self._sliced(datasets, to, title, slicing)

    def _fetched(self, name: str, source: Any) -> Any:
        from importlib import import_module

        if hasattr(source, "output"):
            return source.output
        if not hasattr(source, "keys"):
            return source  # the output of a task
        if len(source) != 1 or next(iter(source)) not in FETCHERS:
            raise ConfigurationError(
                f"sources: {name!r} must have exactly one of: {', '.join(FETCHERS)}; it has "
                f"{', '.join(map(str, source)) or 'nothing'}."
            )
        ((kind, arguments),) = source.items()
        module, operator = FETCHERS[kind]
        made = getattr(import_module(module), operator)(
            task_id=f"fetch_{name}", **{**self._task, **arguments}
        )
        return made.output

    def _analyzed(self, datasets: Any) -> Any:
        from kimi_provider.operators.analyze import KimiAnalyzeOperator

        return KimiAnalyzeOperator(
            task_id="analyze", datasets=datasets, **{**self._task, **self._analyze}
        ).output

    def _told(self, analysis: Any, datasets: Any, to: Any, title: Any) -> None:
        from kimi_provider.operators.alert import AlertOperator
        from kimi_provider.operators.report import ReportOperator

        report = ReportOperator(
            task_id="report", analysis=analysis, title=title, **{**self._task, **self._report}
        ).output
        AlertOperator(
            task_id="alert",
            analysis=analysis,
            report=report,
            datasets=datasets,
            to=to,
            **{**self._task, **self._alert},
        )

    def _sliced(
        self, datasets: Mapping[str, Any], to: Any, title: str | None, slicing: Mapping[str, Any]
    ) -> None:
        from airflow.sdk import task_group

        from kimi_provider.operators.slices import KimiRetellOperator, KimiSliceOperator

        slices = KimiSliceOperator(
            task_id="slice",
            datasets=datasets,
            by=slicing["by"],
            recipients=slicing["recipients"],
            to=to,
            title=title,
            **self._task,
        ).output
        whole = self._analyzed(datasets) if slicing["ask"] == "once" else None

        # Its parameters are what KimiSliceOperator returns for each slice.
        @task_group(group_id="each")
        def each(value: Any, datasets: Any, to: Any, title: Any) -> None:
            del value
            if whole is None:
                analysis = self._analyzed(datasets)
            else:
                given = {name: self._analyze[name] for name in ("prompt", "parameters")}
                analysis = KimiRetellOperator(
                    task_id="retell", whole=whole, datasets=datasets, **{**self._task, **given}
                ).output
            self._told(analysis, datasets, to, title)

        each.expand_kwargs(slices)


def _rule(rule: Any) -> Any:
    return {"kind": ALWAYS} if rule == ALWAYS else rule
