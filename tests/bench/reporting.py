"""Makes one large report, or inlines its styles; prints JSON: seconds, CPU seconds, bytes.

``report FORMATS`` builds 20 charts and 2,000 table rows (10 tables of 5 figures a row) with nothing
kept from a report before, but what a process loads once. ``css-inline`` and ``premailer`` put the rules
of the same mail's style sheet on its elements.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kimi_provider.schemas import Analysis, FactSheet

TEMPLATES = Path(__file__).parents[2] / "templates" / "reports"
NOW = datetime(2013, 2, 9, 11, tzinfo=UTC)
TABLES, ROWS, COLUMNS = 10, 200, 5
CHARTS = ("line", "bar")


def large() -> tuple[Analysis, FactSheet]:
    """Return an analysis that wants 20 charts, and its 10,000 figures."""
    from kimi_provider.schemas import (
        Analysis,
        ChartRequest,
        Fact,
        FactSheet,
        FactTable,
        Finding,
        Lineage,
        TableColumn,
        Unit,
        Usage,
    )

    lineage = Lineage(sql="SELECT 1", datasets={"flights": "3f2a91bc"})
    units = (Unit.COUNT, Unit.PERCENT, Unit.MINUTES, Unit.CURRENCY, Unit.NUMBER)
    facts: list[Fact] = []
    tables: list[FactTable] = []
    for at in range(TABLES):
        rows = []
        for row in range(ROWS):
            ids = [f"t{at}.{row}.c{column}" for column in range(COLUMNS)]
            facts += [
                Fact(
                    id=name, label=name, value=Decimal(row * 7 + column) / 8, unit=unit, lineage=lineage
                )
                for column, (name, unit) in enumerate(zip(ids, units, strict=True))
            ]
            rows.append((f"Carrier {row}", *ids))
        columns = [TableColumn(name="carrier", label="Carrier", unit=Unit.TEXT, key=True)]
        columns += [
            TableColumn(name=f"c{column}", label=f"Column {column}", unit=unit)
            for column, unit in enumerate(units)
        ]
        tables.append(
            FactTable(
                id=f"t{at}",
                label=f"Table {at}",
                columns=tuple(columns),
                rows=tuple(rows),
                lineage=lineage,
            )
        )
    analysis = Analysis(
        headline="A large day with [[t0.3.c0]] flights",
        summary="Of those [[t0.9.c1]] were late, by [[t0.9.c2]]. " * 4,
        findings=tuple(
            Finding(title=f"Finding [[t{at}.1.c0]]", detail="By [[t0.9.c2]]. " * 5, severity="warning")
            for at in range(5)
        ),
        charts=tuple(
            ChartRequest(title=f"Chart {at} {kind}", kind=kind, table=f"t{at}", x="carrier", y="c2")
            for at in range(TABLES)
            for kind in CHARTS
        ),
        period="2013-02-08",
        facts=(),
        facts_uri="file:///facts.json",
        trace_uri="file:///trace.json",
        model="kimi-k3",
        usage=Usage(calls=1, cost_usd=Decimal("0.01")),
    )
    return analysis, FactSheet(facts=tuple(facts), tables=tuple(tables))


def report(formats: str) -> dict[str, Any]:
    """Build the report, after a small one that loads what is loaded once."""
    from kimi_provider.reports import build

    analysis, sheet = large()
    drawing = 0.0
    draw = build.draw

    def timed(*args: Any, **kwargs: Any) -> Any:
        nonlocal drawing
        started = time.process_time()
        chart = draw(*args, **kwargs)
        drawing += time.process_time() - started
        return chart

    small = analysis.model_copy(update={"charts": analysis.charts[:1]})
    first = sheet.model_copy(update={"tables": sheet.tables[:1]})
    given = {"template": "daily_brief", "search_path": [TEMPLATES], "now": NOW, "formats": formats}
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(build.build_report(small, first, folder=Path(folder) / "small", **given))
        build.draw = timed
        begun, used = time.perf_counter(), time.process_time()
        made = asyncio.run(build.build_report(analysis, sheet, folder=Path(folder) / "large", **given))
        taken = {"s": time.perf_counter() - begun, "cpu": time.process_time() - used}
        taken["charts"] = drawing
        mail = (Path(folder) / "large" / "report.html").stat().st_size
    files = sum(file.bytes for file in made.attachments if file.name.endswith(tuple(formats.split(","))))
    if len(made.images) != TABLES * len(CHARTS) or made.failures:
        raise RuntimeError(f"{len(made.images)} charts, failures: {made.failures}")
    return taken | {"kib": (files if formats else mail) / 1024}


def inline(way: str) -> dict[str, Any]:
    """Put the styles of the mail on its elements, again and again."""
    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.compose import Frame, compose
    from kimi_provider.reports.environment import environment, render
    from kimi_provider.reports.fit import Length, fitted
    from kimi_provider.reports.format import Formatter
    from kimi_provider.reports.html import inline_styles
    from kimi_provider.reports.prose import Prose

    analysis, sheet = large()
    formatter = Formatter()
    prose = Prose({fact.id: fact for fact in sheet.facts}, formatter)
    document = compose(analysis, sheet, prose, Frame("Brief", None, NOW))
    context = {
        "doc": fitted(document, formatter, Length(rows=20)),
        "brand": Brand(),
        "words": formatter.words,
        "medium": "mail",
    }
    html = render(environment([TEMPLATES]), "daily_brief.html.j2", context)
    if way == "premailer":
        import cssutils
        from premailer import transform

        cssutils.log.setLevel(logging.CRITICAL)

        def run(text: str) -> str:
            return transform(text, disable_validation=True, cache_css_parsing=False)
    else:
        run = inline_styles
    run(html)
    repeats, used = 5, time.process_time()
    for _ in range(repeats):
        made = run(html)
    if made.count("style=") < 100:
        raise RuntimeError("the styles are not on the elements")
    taken = (time.process_time() - used) / repeats
    return {"ms": taken * 1000, "kib": len(html.encode()) / 1024}


def main() -> None:
    """Run the job that the command line names."""
    job, *arguments = sys.argv[1:]
    logging.disable(logging.ERROR)
    figures = report(*(arguments or [""])) if job == "report" else inline(job)
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
