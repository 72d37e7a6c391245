"""The small, typed, frozen values that pass between stages.

Each travels through XCom as plain JSON: ``value.model_dump(mode="json")`` on the way out,
``Class.model_validate(data)`` on the way in. Whatever is large lies in object storage and is named
here by its URI.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer


class Value(BaseModel):
    """Base of all values: frozen, and strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# A Decimal would cross JSON as a string; readers of XCom (rules, branches, other tools) want a number.
Number = Annotated[
    Decimal,
    PlainSerializer(lambda v: int(v) if v == v.to_integral_value() else float(v), when_used="json"),
]


class Severity(StrEnum):
    """How serious a finding or an alert is, in rising order."""

    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Position in rising order, from 0."""
        return list(type(self)).index(self)


# --- fetch ----------------------------------------------------------------------------------------


class TopValue(Value):
    """One of a column's most frequent values."""

    value: str
    count: int


class Column(Value):
    """Profile of one column of a dataset.

    ``type`` is DuckDB's name of it (``BIGINT``, ``DECIMAL(18,3)``, ``TIMESTAMP WITH TIME ZONE``…);
    ``minimum`` and ``maximum`` are written as text, ``None`` where all is null or has no order.
    ``protected`` says that the values were replaced before they were stored: ``hash`` by a keyed
    digest, ``mask`` with personal data blotted out.
    """

    name: str
    type: str
    nulls: int
    distinct: int
    minimum: str | None = None
    maximum: str | None = None
    top: tuple[TopValue, ...] = ()
    protected: Literal["hash", "mask"] | None = None


class DatasetRef(Value):
    """A table in object storage, with its profile.

    ``sha256`` is the hash of the content (column names, types, rows), not of the file. ``source``
    is where it came from, without credentials and query values. ``bytes`` is the file's size.
    ``dropped`` names the columns that the source had and this has not. ``watermark`` is the highest
    value of the column that an incremental fetch goes by, as text.
    """

    uri: str
    format: Literal["parquet"] = "parquet"
    rows: int
    bytes: int
    sha256: str
    source: str
    columns: tuple[Column, ...]
    dropped: tuple[str, ...] = ()
    watermark: str | None = None


# --- analyze --------------------------------------------------------------------------------------


class Unit(StrEnum):
    """What a fact's value counts; decides how it is printed."""

    NUMBER = "number"
    COUNT = "count"
    PERCENT = "percent"  # the value is a fraction: 0.25 prints as 25%
    CURRENCY = "currency"
    MINUTES = "minutes"
    SECONDS = "seconds"
    DATE = "date"
    TEXT = "text"
    OTHER = "other"  # see Fact.unit_label


class Comparison(Value):
    """A fact against its baseline. ``delta = value - baseline``; ``percent = delta / |baseline|``.

    Each of the three is a fact of its own too, so that it can be cited: ``{fact}.{id}`` is the
    baseline, ``{fact}.{id}.delta`` and ``{fact}.{id}.percent`` the change.
    """

    id: str
    label: str
    baseline: Number
    delta: Number
    percent: float | None
    direction: Literal["up", "down", "flat"]


class Lineage(Value):
    """Where a fact comes from: the SQL, and the content hash of each dataset it ran over."""

    sql: str
    datasets: dict[str, str] = Field(default_factory=dict)


class Fact(Value):
    """One figure computed from the data; the only way a number gets into a report.

    ``id`` is what the model cites as ``[[id]]``. ``value`` is ``None`` where the data has none, and
    ISO 8601 text for a date or a time.
    ``decimals`` is how many places to print (``None``: by unit); ``unit_label`` is a currency code
    for ``currency``, or the word to print after the value for ``other`` (``mph``). ``format`` is a
    number pattern of Unicode's LDML (``#,##0.00``) that stands in for what unit and decimals say.
    ``good`` says which direction is good news, ``None`` where neither is. ``change`` marks the
    change against a baseline: prose prints it without its sign, since the words say the direction.
    ``kpi`` marks the figures that belong at the top of a report.
    """

    id: str
    label: str
    value: Number | str | None
    unit: Unit = Unit.NUMBER
    unit_label: str | None = None
    decimals: int | None = None
    format: str | None = None
    period: str | None = None
    comparisons: tuple[Comparison, ...] = ()
    good: Literal["up", "down"] | None = None
    change: bool = False
    kpi: bool = False
    lineage: Lineage


class TableColumn(Value):
    """A column of a fact table. ``key`` columns hold names; the others hold facts."""

    name: str
    label: str
    unit: Unit = Unit.NUMBER
    unit_label: str | None = None
    decimals: int | None = None
    format: str | None = None
    key: bool = False


class FactTable(Value):
    """A table of facts, one for each metric that returns several rows.

    ``rows[i][j]`` is the text of a key column, or the id of the fact in that cell.
    """

    id: str
    label: str
    columns: tuple[TableColumn, ...]
    rows: tuple[tuple[str, ...], ...]
    lineage: Lineage


class FactSheet(Value):
    """All facts of one analysis; lies in object storage, at ``Analysis.facts_uri``."""

    facts: tuple[Fact, ...]
    tables: tuple[FactTable, ...] = ()


class Finding(Value):
    """One thing the model found. ``title`` and ``detail`` hold figures only as ``[[fact_id]]``."""

    title: str
    detail: str
    severity: Severity
    kind: str = "observation"


class ChartKind(StrEnum):
    """The charts there are. ``distribution`` counts the rows of ``table`` by ranges of ``y``."""

    LINE = "line"
    BAR = "bar"
    STACKED_BAR = "stacked_bar"
    HEATMAP = "heatmap"
    DISTRIBUTION = "distribution"
    SLOPE = "slope"


class ChartRequest(Value):
    """A chart that the model or the template wants: named by table and columns, never by data.

    ``series`` is the key column that splits it: the parts of a stacked bar, the rows of a heat map,
    the lines of a slope.
    """

    title: str
    kind: ChartKind
    table: str
    x: str
    y: str
    series: str | None = None


class Usage(Value):
    """Tokens and money, summed over the calls they describe (OpenTelemetry GenAI's words).

    ``cost_usd`` is ``None`` where a price is not known. ``input_tokens`` includes
    ``cache_read_tokens``; ``output_tokens`` includes ``reasoning_tokens``. ``repeated_calls`` were
    under way when their process was killed, and made again: what the first of each took may have been
    billed, is not known, and is not in the other figures.
    """

    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    reasoning_tokens: int = 0
    repeated_calls: int = 0
    cost_usd: Number | None = Decimal(0)

    def __add__(self, other: Usage) -> Usage:
        """Sum, with an unknown cost making the sum's cost unknown."""
        known = self.cost_usd is not None and other.cost_usd is not None
        return Usage(
            calls=self.calls + other.calls,
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            repeated_calls=self.repeated_calls + other.repeated_calls,
            cost_usd=(self.cost_usd or Decimal(0)) + (other.cost_usd or Decimal(0)) if known else None,
        )


class GroundingIssue(Value):
    """Something the check found in the model's text, and what was done about it.

    ``kind`` is the check that found it (``unknown_id``, ``digit``, ``direction``, ``superlative``…),
    ``where`` the field it stood in (``findings[0].detail``), ``excerpt`` the words.
    """

    kind: str
    where: str
    excerpt: str
    hint: str = ""
    action: Literal["repaired", "dropped", "annotated", "warned"]


class Grounding(Value):
    """How far the text stands on facts.

    ``score`` is the share of sentences in the final text that no check objects to, from 0 to 1;
    ``sentences`` how many there are. ``issues`` are those of the final text and those repaired or
    dropped on the way. The audit record at ``audit_uri`` leads from each sentence to the SQL.
    """

    score: float
    sentences: int
    issues: tuple[GroundingIssue, ...] = ()
    audit_uri: str | None = None


class Analysis(Value):
    """What the model made of the data. Its texts hold figures only as ``[[fact_id]]``.

    ``facts`` are the single figures and those cited; all facts and the tables lie at ``facts_uri``,
    the messages, reasoning, SQL and usage at ``trace_uri``. ``model`` is the id the host answered
    with; ``simulated`` is true where the simulator wrote the text. ``failure`` says in a word why no
    model wrote it, where the text stands in for one and holds the facts alone. ``language`` is the
    text's, as a BCP 47 tag; ``strategy`` how the data reached the model.
    """

    headline: str
    summary: str
    findings: tuple[Finding, ...]
    actions: tuple[str, ...] = ()
    charts: tuple[ChartRequest, ...] = ()
    period: str | None = None
    facts: tuple[Fact, ...]
    facts_uri: str
    trace_uri: str
    model: str
    simulated: bool = False
    failure: str | None = None
    language: str = "en"
    strategy: Literal["facts", "direct", "tools", "map_reduce"] = "facts"
    grounding: Grounding | None = None
    usage: Usage

    @property
    def severity(self) -> Severity:
        """The highest severity among the findings, ``info`` where there are none."""
        return max((f.severity for f in self.findings), key=lambda s: s.rank, default=Severity.INFO)

    def fact(self, fact_id: str) -> Fact | None:
        """Return the fact with this id, or ``None``."""
        return next((f for f in self.facts if f.id == fact_id), None)


# --- report ---------------------------------------------------------------------------------------


class InlineImage(Value):
    """A picture that a report's HTML shows as ``cid:{content_id}``."""

    content_id: str
    uri: str
    media_type: str = "image/png"


class Attachment(Value):
    """A file that goes with a report: the PDF, the workbook, a long table as CSV."""

    name: str
    uri: str
    media_type: str
    bytes: int


class ReportRef(Value):
    """A rendered report in object storage.

    ``html_uri`` is the e-mail's HTML with ``cid:`` pictures, ``page_uri`` the same as one
    self-contained page, ``text_uri`` the plain-text part, ``markdown_uri`` the same in Markdown.
    ``sha256`` is over all of them. ``failures`` names the parts that could not be made (they are named
    inside the report too). ``empty`` marks a report that says there was no data.
    """

    subject: str
    html_uri: str
    page_uri: str
    text_uri: str
    markdown_uri: str | None = None
    images: tuple[InlineImage, ...] = ()
    attachments: tuple[Attachment, ...] = ()
    failures: tuple[str, ...] = ()
    empty: bool = False
    grounding_score: float | None = None
    cost_usd: Number | None = None
    period: str | None = None
    severity: Severity
    sha256: str
    created_at: datetime


# --- alert ----------------------------------------------------------------------------------------


class AlertEvent(Value):
    """A rule that fired, or one that no longer does: which, how severe, and what it saw."""

    rule: str
    severity: Severity
    reason: str
    labels: dict[str, str] = Field(default_factory=dict)
    status: Literal["firing", "resolved"] = "firing"


class DeliveryStatus(StrEnum):
    """What is known of one recipient's mail. ``queued``: the service took it; not yet delivered.

    What comes after ``queued`` is known only where the service's events are received.
    """

    QUEUED = "queued"
    REJECTED = "rejected"  # the service refused it, and will refuse it again
    FAILED = "failed"  # it is known that nothing left
    AMBIGUOUS = "ambiguous"  # it may or may not have left; it is not sent again by itself
    SKIPPED = "skipped"  # no rule asked for it
    CHECKED = "checked"  # the service's sandbox found it good; nothing was sent, as told
    CANCELED = "canceled"  # it was scheduled, and taken back
    DEFERRED = "deferred"  # the recipient's server put it off; the service goes on trying
    DELIVERED = "delivered"  # the recipient's server took it
    BOUNCED = "bounced"  # the recipient's server refused it
    DROPPED = "dropped"  # the service did not pass it on: unsubscribed, or bounced before
    SPAM = "spam"  # the recipient called it spam

    @property
    def may_have_left(self) -> bool:
        """Whether the service has the mail or had it, or nobody knows that it has not."""
        return self not in {
            DeliveryStatus.REJECTED,
            DeliveryStatus.FAILED,
            DeliveryStatus.SKIPPED,
            DeliveryStatus.CHECKED,
        }


class DeliveryReceipt(Value):
    """What happened to one recipient's mail; the ledger at ``ledger_uri`` has the same, durably.

    A mail that was scheduled leaves at ``send_at``, and can be taken back by ``batch_id`` until ten
    minutes before.
    """

    recipient: str
    status: DeliveryStatus
    message_id: str | None = None
    sent_at: datetime | None = None
    detail: str = ""
    ledger_uri: str | None = None
    send_at: datetime | None = None
    batch_id: str | None = None


class AlertResult(Value):
    """What :class:`AlertOperator` returns: the rules that fired, and a receipt a recipient."""

    events: tuple[AlertEvent, ...]
    receipts: tuple[DeliveryReceipt, ...]
