"""A person's approval in Airflow's human-in-the-loop: asking, remembering, and writing anew.

What was decided about a run's report is kept in the task's folder, so that no later try asks again. A
rewrite goes on with the stored conversation of the analysis: its finished calls come from the journal,
the comment is a further turn, and what comes of it is checked against the facts and drawn as the first
version was.
"""

from __future__ import annotations

import asyncio
import logging
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from airflow.sdk import conf
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput

from kimi_provider.hooks.recipes import FILE as RECIPE
from kimi_provider.hooks.recipients import read_recipients
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.schemas import Analysis, ReportRef, Severity, Value
from kimi_provider.storage import exists, read_text, write_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import DAG, Context

    from kimi_provider.alerts.approval import Approval
    from kimi_provider.alerts.desk import Opening
    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.storage import StoragePath

    Recipients = str | Source | Sequence[str | Source]

log = logging.getLogger(__name__)

FILE = "approval.json"
REPORT_KEY = "kimi_report"
"""Key of the XCom with the report as it is to be sent; the report's page shows it."""

# GitHub's Markdown, as Airflow prints it, makes a link of what looks like an address.
_BARE_LINK = re.compile(
    r"(?<=http:)(?<!\]\(http:)(?=//)|(?<=https:)(?<!\]\(https:)(?=//)|(?<=www)(?=\.)", re.IGNORECASE
)
_WORD_JOINER = "\N{WORD JOINER}"
_LONGEST_PREVIEW = 30_000
_SHOWN_RECIPIENTS = 10


class Choice(StrEnum):
    """What a person can answer; the words stand on the buttons."""

    APPROVE = "Approve"
    REJECT = "Reject"
    REWRITE = "Rewrite"


class Round(Value):
    """One answer: to which version, what, and by whom; nobody answered one that is ``timed_out``."""

    version: int
    choice: Choice
    comment: str = ""
    by: str = ""
    at: datetime
    timed_out: bool = False


class Version(Value):
    """A text that was written anew, and the report drawn from it."""

    analysis: Analysis
    report: ReportRef


class Record(Value):
    """All that was decided about one report; ``about`` is the hash of its first version."""

    about: str
    rounds: tuple[Round, ...] = ()
    rewritten: tuple[Version, ...] = ()

    @property
    def verdict(self) -> Choice | None:
        """What holds: the last answer, or ``None`` where one is asked for."""
        last = self.rounds[-1] if self.rounds else None
        return None if last is None or last.choice is Choice.REWRITE else last.choice

    @property
    def wanted(self) -> tuple[str, ...]:
        """The comments of all rewrites that were asked for, made or not."""
        return tuple(one.comment for one in self.rounds if one.choice is Choice.REWRITE)


@dataclass
class Review:
    """The approval of one task instance. Its methods block.

    :param approval: how a person approves.
    :param folder: the task instance's.
    :param analysis: the first version's, where there is one.
    :param report: the first version, where there is one.
    :param record: what was decided so far.
    """

    approval: Approval
    folder: StoragePath
    first_analysis: Analysis | None
    first_report: ReportRef | None
    record: Record

    @classmethod
    def of(
        cls,
        approval: Approval,
        context: Context,
        analysis: Analysis | None,
        report: ReportRef | None,
    ) -> Self:
        """Return the approval of a task instance, with what earlier tries were told.

        What was decided about another version of the report (the tasks before were cleared) is void.
        """
        folder = task_folder(context)
        about = report.sha256 if report else ""
        record = Record(about=about)
        if approval.when == "never":
            return cls(approval, folder, analysis, report, record)
        try:
            stored = Record.model_validate_json(read_text(folder / FILE))
        except FileNotFoundError:
            stored = record
        return cls(approval, folder, analysis, report, stored if stored.about == about else record)

    @property
    def analysis(self) -> Analysis | None:
        """The analysis as it is now."""
        return self.record.rewritten[-1].analysis if self.record.rewritten else self.first_analysis

    @property
    def report(self) -> ReportRef | None:
        """The report as it is to be sent."""
        return self.record.rewritten[-1].report if self.record.rewritten else self.first_report

    @property
    def version(self) -> int:
        """Number of the report's version, from 1."""
        return 1 + len(self.record.rewritten)

    @property
    def can_be_rewritten(self) -> bool:
        """Whether there is a conversation to go on with, and a drawing to repeat."""
        if self.first_analysis is None or self.first_report is None:
            return False
        made = (self.first_analysis.trace_uri, self.first_report.page_uri)
        return all(exists(open_uri(uri).parent / RECIPE) for uri in made)

    def answered(self, event: Mapping[str, Any]) -> None:
        """Write a person's answer down, or the default where the time is over.

        :param event: what Airflow resumes the task with.
        """
        chosen = list(event.get("chosen_options") or ())
        user = event.get("responded_by_user") or {}
        timed_out = bool(event.get("timedout")) or "error" in event
        default = Choice.APPROVE if self.approval.default == "approve" else Choice.REJECT
        choice = Choice(chosen[0]) if chosen and not timed_out else default
        one = Round(
            version=self.version,
            choice=choice,
            comment=str((event.get("params_input") or {}).get("comment") or "").strip(),
            by=str(user.get("name") or user.get("id") or ""),
            at=datetime.now(UTC),
            timed_out=timed_out,
        )
        self._keep(self.record.model_copy(update={"rounds": (*self.record.rounds, one)}))
        log.info("Version %d: %s%s", one.version, choice.lower(), " (nobody answered)" * timed_out)

    def write_anew(self, dag: DAG | None) -> None:
        """Make the version that was asked for, where it is not made yet.

        :param dag: whose templates come first.
        :raises ConfigurationError: if it is not known how the report was made.
        :raises KimiProviderError: if the model gives no text that stands on the facts.
        """
        if len(self.record.wanted) <= len(self.record.rewritten):
            return
        version = _rewritten(self, dag)
        rewritten = (*self.record.rewritten, version)
        self._keep(self.record.model_copy(update={"rewritten": rewritten}))

    def wait(self, context: Context, recipients: Sequence[str], reasons: Sequence[str]) -> None:
        """Go on if the report is approved; else park the task until a person has decided.

        :param recipients: who would be told, as a person knows them.
        :param reasons: what is told of, a sentence each.
        :raises TaskAwaitingInput: where a decision is asked for.
        """
        from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

        if self.record.verdict is Choice.APPROVE:
            return
        self._keep(self.record)
        if self.report is not None:
            context["ti"].xcom_push(key=REPORT_KEY, value=self.report.model_dump(mode="json"))
        asked = _Question.of(self, context, recipients, reasons)
        options = [Choice.APPROVE, Choice.REJECT]
        if self.can_be_rewritten:
            options.append(Choice.REWRITE)
        default = Choice.APPROVE if self.approval.default == "approve" else Choice.REJECT
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=[option.value for option in options],
            subject=asked.subject,
            body=asked.body,
            defaults=[default.value] if self.approval.timeout else None,
            multiple=False,
            params=_comment_field(),
            assigned_users=[
                HITLUser(id=user["id"], name=user["name"]) for user in self.approval.assigned_users
            ],
        )
        self._call_for_it(context, asked)
        log.info("Version %d waits for a person's approval", self.version)
        raise TaskAwaitingInput(method_name="execute_decided", timeout=self.approval.timeout)

    def refuse(self) -> None:
        """End the task as the approval says.

        :raises AirflowSkipException: or AirflowFailException, with who rejected it.
        """
        last = self.record.rounds[-1]
        who = "Nobody approved the report in time" if last.timed_out else "The report was rejected"
        by = f" by {last.by}" if last.by else ""
        why = f": {last.comment}" if last.comment else "."
        message = f"{who}{by}{why} Nobody was told."
        if self.approval.on_rejection == "fail":
            raise AirflowFailException(message)
        raise AirflowSkipException(message)

    def _keep(self, record: Record) -> None:
        self.record = record
        write_text(self.folder / FILE, record.model_dump_json(indent=1))

    def _call_for_it(self, context: Context, asked: _Question) -> None:
        """Tell the notifiers; one that fails keeps nobody from deciding."""
        import copy

        for notifier in self.approval.notifiers:
            try:
                copy.copy(notifier)({**context, "kimi_approval": asked.fields})
            except Exception as error:  # noqa: BLE001 — a notifier raises whatever its service's library does
                log.warning("%s could not ask for approval: %s", type(notifier).__name__, error)


def needs_approval(review: Review, opening: Opening) -> bool:
    """Whether a person has to approve what a run has to tell."""
    fired = [one.severity for one in opening.seen if one.fired]
    written = [review.analysis.severity] if review.analysis else []
    severity = max((*fired, *written), key=lambda one: one.rank, default=Severity.INFO)
    report, analysis = review.report, review.analysis
    score = report.grounding_score if report else None
    return review.approval.asks(
        severity, score, written=analysis is not None and analysis.failure is None
    )


def those_told(opening: Opening, to: Recipients, settings: AlertSettings | None) -> list[str]:
    """Return who would be told: addresses, and the names of receivers that are no mail."""
    from kimi_provider.alerts.routing import MAIL
    from kimi_provider.alerts.settings import Mail

    told: list[str] = []
    for item in opening.items:
        receiver = (settings.receivers if settings else {}).get(item.receiver)
        addresses = receiver.to if isinstance(receiver, Mail) else to
        if receiver is not None and not isinstance(receiver, Mail):
            told.append(item.receiver)
        elif item.receiver == MAIL or isinstance(receiver, Mail):
            for text in read_recipients(addresses):
                told += re.split("[,;]", text)
    return list(dict.fromkeys(one.strip() for one in told if one.strip()))


@dataclass(frozen=True)
class _Question:
    """What the approver sees, and notifiers get."""

    subject: str
    body: str
    fields: Mapping[str, Any]

    @classmethod
    def of(
        cls, review: Review, context: Context, recipients: Sequence[str], reasons: Sequence[str]
    ) -> Self:
        report = review.report
        name = report.subject if report else context["ti"].task_id
        page, url = _report_page(context) if report else None, _action_page(context)
        preview = _preview(report)
        subject = f"Shall this be sent? {name}"
        body = "\n\n".join(part for part in _body(review, recipients, reasons, page, preview) if part)
        fields = {
            "subject": subject,
            "text": read_text(open_uri(report.text_uri)) if report else "\n".join(reasons),
            "url": url,
            "report_url": page,
            "version": review.version,
        }
        return cls(subject, body, fields)


def _body(
    review: Review,
    recipients: Sequence[str],
    reasons: Sequence[str],
    page: str | None,
    preview: str,
) -> list[str]:
    from kimi_provider.reports.markdown import escaped

    shown = ", ".join(escaped(one) for one in recipients[:_SHOWN_RECIPIENTS])
    more = len(recipients) - _SHOWN_RECIPIENTS
    report = review.report
    score = report.grounding_score if report else None
    return [
        f"**[Open the report as it will be sent]({page})**" if page else "",
        f"**To:** {shown}" + (f" and {more} more" if more > 0 else ""),
        "**Why:** " + " ".join(escaped(reason) for reason in reasons),
        f"**Sentences that stand on facts:** {score:.0%}" if score is not None else "",
        "**Rewrite** sends your comment to Kimi and asks you again. Below is version "
        f"{review.version}; after a rewrite Airflow 3.3 still shows it here, and the link the newest."
        if review.can_be_rewritten
        else "",
        "---" if preview else "",
        preview,
    ]


def _preview(report: ReportRef | None) -> str:
    """Return the report as Markdown, in which nothing from data or a model is a link or HTML."""
    if report is None:
        return ""
    if report.markdown_uri is None:
        text = read_text(open_uri(report.text_uri))[:_LONGEST_PREVIEW]
        return "\n".join(f"    {line}" for line in text.splitlines())
    text = _BARE_LINK.sub(_WORD_JOINER, read_text(open_uri(report.markdown_uri)))
    if len(text) <= _LONGEST_PREVIEW:
        return text
    return f"{text[:_LONGEST_PREVIEW].rpartition(chr(10))[0]}\n\n…"


def _comment_field() -> dict[str, Any]:
    from airflow.sdk import Param

    comment = Param(
        "",
        type=["string", "null"],
        format="multiline",
        title="Comment",
        description="Why it is rejected, or what is to be written otherwise.",
    )
    return {"comment": comment.serialize()}


def _base_url() -> str:
    return str(conf.get("api", "base_url", fallback="")).rstrip("/")


def _report_page(context: Context) -> str | None:
    """Return the address of the page that shows the report as it is to be sent."""
    ti, base = context["ti"], _base_url()
    place = "/".join(quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    index = -1 if ti.map_index is None else ti.map_index
    return f"{base}/kimi/reports/{place}/{index}" if base else None


def _action_page(context: Context) -> str | None:
    """Return the address of the page on which the decision is made."""
    ti, base = context["ti"], _base_url()
    dag, run, task = (quote(part, safe="") for part in (ti.dag_id, ti.run_id, ti.task_id))
    mapped = f"/mapped/{ti.map_index}" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{base}/dags/{dag}/runs/{run}/tasks/{task}{mapped}/required_actions" if base else None


def _rewritten(review: Review, dag: DAG | None) -> Version:
    """Ask the model for the next version, and draw it."""
    from kimi_provider.analysis.trace import Trace
    from kimi_provider.exceptions import ConfigurationError
    from kimi_provider.hooks.kimi import KimiHook
    from kimi_provider.hooks.making import analyzed, drawn, sheet_of
    from kimi_provider.hooks.recipes import AnalysisRecipe, ReportRecipe
    from kimi_provider.hooks.templates import template_search_path

    first, report = review.first_analysis, review.first_report
    if first is None or report is None:
        raise ConfigurationError("Only a report of an analysis can be written anew.")
    recipe = AnalysisRecipe.beside(first.trace_uri)
    drawing = ReportRecipe.beside(report.page_uri)
    hook = KimiHook(recipe.kimi_conn_id, model=recipe.model, fallback_conn_ids=recipe.fallback_conn_ids)
    # Read here, since Airflow's async connections do not work under dag.test().
    trace = Trace(secrets=[hook.get_conn().config.api_key])
    folder = review.folder / f"version-{review.version + 1}-{review.record.about[:12]}"
    log.info("Writing version %d", review.version + 1)

    async def work() -> Version:
        analysis = await analyzed(
            recipe,
            hook,
            journal=open_uri(first.trace_uri).parent,
            folder=folder,
            trace=trace,
            search_path=template_search_path("prompts", dag),
            on_progress=log.info,
            remarks=review.record.wanted,
        )
        redrawn = await drawn(
            drawing,
            analysis,
            await asyncio.to_thread(sheet_of, analysis),
            folder=folder,
            search_path=template_search_path("reports", dag),
            now=datetime.now(UTC),
        )
        return Version(analysis=analysis, report=redrawn)

    return asyncio.run(work())
