"""Alert: rules decide whether anyone is told, and everyone is told once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from kimi_provider.alerts.approval import Approval
from kimi_provider.alerts.rules import rule_from_json
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.links import KimiAlertsLink
from kimi_provider.hooks.sendgrid import SendGridHook
from kimi_provider.hooks.storage import task_folder
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kimi_provider.alerts.desk import Desk, Material, Opening
    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.alerts.settings import AlertSettings
    from kimi_provider.hooks.approval import Review
    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.hooks.telling import MailParts
    from kimi_provider.schemas import Analysis, DeliveryReceipt, Fact


class AlertOperator(LineageOperator):
    """Tells people of a run if a rule fires; returns an :class:`~kimi_provider.schemas.AlertResult`.

    By default it mails the report. Each recipient gets a mail of his own, and gets it once: what is
    known of each mail is written down before and after it leaves, and a retry sends only those of which
    it is known that they did not leave. ``queued`` in a receipt means that SendGrid took the mail, not
    that it was delivered.

    What was told is remembered from run to run: of an alert that goes on firing nobody is told again
    before the repeat interval has passed, and of its end once. ``Always`` asks for the report at each
    run. What each rule saw, and who was told or not and why, is written to the log and to
    ``alert.json`` in the task's folder.

    :param rules: any of them firing tells; see :mod:`kimi_provider.alerts.rules`. A text is an
        expression.
    :param to: who gets the mail: a list, one text with commas between, or ``FromQuery``,
        ``FromVariable``, ``FromFile``; see :mod:`kimi_provider.alerts.recipients_from`. (templated)
    :param analysis: what :class:`KimiAnalyzeOperator` returned. (templated)
    :param report: what :class:`ReportOperator` returned; without one, a short mail says what happened.
        (templated)
    :param facts: a fact sheet, or its URI, for rules without a model. (templated)
    :param datasets: what fetching returned, by name, for rules about rows and columns. (templated)
    :param metrics: SQL over the datasets by the id of a metric, for rules without a model: its only
        column is the fact ``{id}``, several are ``{id}.{column}``. In place of the SQL a mapping can say
        what a prompt template can (``sql``, ``key``, ``columns``). (templated)
    :param require_approval: whether a person has to approve what is told, before it leaves: ``never``,
        ``always``, ``warning`` or ``critical`` (from that severity on), ``unless_grounded`` (where the
        text's grounding score is below 1.0), or an
        :class:`~kimi_provider.alerts.approval.Approval` with users, time-out and what holds then. The
        task leaves its worker and waits in Airflow's required actions with a preview. The person
        approves, rejects (nobody is told, and the task is skipped), or asks for a rewrite by a comment.
    :param settings: repeats, damping, routes, receivers; see
        :class:`~kimi_provider.alerts.settings.AlertSettings`.
    :param sendgrid_conn_id: the ``sendgrid`` connection. (templated)
    :param from_email: sender's address; by default the connection's. (templated)
    :param from_name: sender's name; by default the connection's. (templated)
    :param reply_to: where answers go; by default the connection's. (templated)
    :param categories: tags by which SendGrid counts mails, 10 at most. (templated)
    :raises RuleError: if a rule asks for a fact that the run does not have; nobody is told.
    :raises DeliveryError: if any mail is not known to be queued, or a receiver not known to be told;
        carries all receipts.
    """

    template_fields: Sequence[str] = (
        "analysis",
        "report",
        "facts",
        "datasets",
        "metrics",
        "to",
        "sendgrid_conn_id",
        "from_email",
        "from_name",
        "reply_to",
        "categories",
    )
    operator_extra_links = (KimiAlertsLink(),)
    ui_color = "#fde8e8"

    def __init__(
        self,
        *,
        rules: Sequence[Any],
        to: str | Source | Sequence[str | Source] = (),
        analysis: Any = None,
        report: Any = None,
        facts: Any = None,
        datasets: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        require_approval: Approval | str = "never",
        settings: AlertSettings | None = None,
        sendgrid_conn_id: str = SendGridHook.default_conn_name,
        from_email: str | None = None,
        from_name: str | None = None,
        reply_to: str | None = None,
        categories: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rules = tuple(rule_from_json(rule) for rule in rules)
        labels = [rule.label for rule in self.rules]
        twice = [label for label in labels if labels.count(label) > 1]
        if twice:
            raise ConfigurationError(f"Two rules are called {twice[0]!r}; give one a name of its own.")
        self.to = to
        self.analysis = analysis
        self.report = report
        # The report's page in Airflow is named after the task that made it; its value does not say.
        self.report_task_id = getattr(getattr(report, "operator", None), "task_id", None)
        self.facts = facts
        self.datasets = datasets
        self.metrics = metrics
        self.approval = Approval.given(require_approval)
        self.settings = settings
        self.sendgrid_conn_id = sendgrid_conn_id
        self.from_email = from_email
        self.from_name = from_name
        self.reply_to = reply_to
        self.categories = categories

    def execute(self, context: Context) -> dict[str, Any]:
        """Ask the rules, and tell whom it concerns."""
        return self._carry_out(context)

    def execute_decided(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after a person has decided, or the time to decide is over."""
        return self._carry_out(context, event)

    def _carry_out(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        from kimi_provider.schemas import AlertResult

        with airflow_failures():
            opening, receipts = self._run(context, event)
        self._told_of(opening, receipts)
        result = AlertResult(events=opening.events, receipts=receipts)
        return result.model_dump(mode="json")

    def _planned(self) -> Lineage:
        from kimi_provider.hooks import lineage

        report = lineage.places_of_report(self.report)[:1]
        read = (*report, *lineage.places_of_analysis(self.analysis))
        return lineage.Lineage(inputs=(*read, *lineage.places_of_datasets(self.datasets)))

    def _told_of(self, opening: Opening, receipts: Sequence[DeliveryReceipt]) -> None:
        """Tell what the rules read, and by numbers what came of it: no address, no reason."""
        from collections import Counter

        told = {
            "rules": len(self.rules),
            "firing": sum(event.status == "firing" for event in opening.events),
            "resolved": sum(event.status == "resolved" for event in opening.events),
            "receipts": dict(Counter(receipt.status.value for receipt in receipts)),
        }
        self._tell(facets={"kimi_alert": told})

    def _review(self, context: Context) -> Review:
        from kimi_provider.hooks.approval import Review
        from kimi_provider.schemas import Analysis, ReportRef

        analysis = None if self.analysis is None else Analysis.model_validate(self.analysis)
        report = None if self.report is None else ReportRef.model_validate(self.report)
        return Review.of(self.approval, context, analysis, report)

    def _run(
        self, context: Context, event: Mapping[str, Any] | None
    ) -> tuple[Opening, tuple[DeliveryReceipt, ...]]:
        from kimi_provider.alerts.desk import Desk
        from kimi_provider.alerts.evaluation import as_table
        from kimi_provider.alerts.settings import AlertSettings
        from kimi_provider.hooks.alert_state import alert_store, attention, moment_of, place_of
        from kimi_provider.hooks.metrics import measure_alerts
        from kimi_provider.hooks.telling import Telling
        from kimi_provider.storage import exists, write_text

        settings = self.settings or AlertSettings()
        review = self._review(context)
        if event is not None:
            review.answered(event)
        review.write_anew(self.dag)
        analysis, report = review.analysis, review.report
        moment = moment_of(context)
        explanation = task_folder(context) / "alert.json"
        decided = exists(explanation)
        store, run_id = alert_store(context), context["ti"].run_id
        desk = Desk(store, settings, moment, run_id, decided=decided)
        opening = desk.open(self.rules, self._material(analysis), attention(settings, moment))
        measure_alerts(context["ti"], opening)
        self.log.info("What the rules saw:\n%s", as_table(opening.seen))
        for one in opening.decisions:
            verb = "is told" if one.tell else "is not told"
            self.log.info("%s %s of %r: %s", one.target.receiver, verb, one.event.rule, one.why)
        if not opening.resumed or not decided:  # a later try has no decisions of its own
            write_text(explanation, json.dumps(opening.as_json(), indent=1))
        if not opening.items:
            self.log.info("None of the %d rules has news, so nobody is told", len(self.rules))
            return opening, ()
        self._wait_for_approval(context, review, opening, desk, answered=event is not None)
        telling = Telling(
            desk=desk,
            opening=opening,
            settings=settings,
            place=place_of(context, moment, report, self.report_task_id),
            mail=self._mail(),
            report=report,
        )
        return opening, telling.tell_all(context)

    def _wait_for_approval(
        self, context: Context, review: Review, opening: Opening, desk: Desk, *, answered: bool
    ) -> None:
        """Go on where nobody has to approve, or somebody has."""
        from kimi_provider.alerts.book import Progress
        from kimi_provider.hooks.approval import Choice, needs_approval, those_told

        settled = review.record.verdict
        if settled is None and not needs_approval(review, opening):
            return
        # A task that was rejected and is cleared asks again.
        if settled is Choice.REJECT and answered:
            for item in opening.items:
                desk.close(item, Progress.FAILED, "A person rejected it.")
            review.refuse()
        reasons = [event.reason for item in opening.items for event in item.events]
        told = those_told(opening, self.to, self.settings)
        review.wait(context, told, list(dict.fromkeys(reasons)))

    def _mail(self) -> MailParts:
        from kimi_provider.hooks.telling import MailParts

        return MailParts(
            to=self.to,
            sendgrid_conn_id=self.sendgrid_conn_id,
            from_email=self.from_email,
            from_name=self.from_name,
            reply_to=self.reply_to,
            categories=tuple(self.categories),
        )

    def _material(self, analysis: Analysis | None) -> Material:
        from kimi_provider.alerts.desk import Material
        from kimi_provider.hooks.alert_facts import computed_facts, sheet_facts
        from kimi_provider.schemas import DatasetRef

        datasets = {n: DatasetRef.model_validate(ref) for n, ref in (self.datasets or {}).items()}
        source = self.facts or (analysis.facts_uri if analysis else None)
        facts: dict[str, Fact] = {} if source is None else sheet_facts(source)
        if self.metrics:
            facts |= computed_facts(self.metrics, datasets)
        return Material(analysis, facts, datasets)
