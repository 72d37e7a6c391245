"""Draws charts again and again in a process of its own; prints JSON: charts a second, bytes a chart.

The same three for both: a line over 28 days with one marked, twelve bars with their values, and 7 by 19
cells of a heat map; each 592 px wide with twice the pixels, as PNG.
"""

from __future__ import annotations

import io
import json
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAYS = [f"2013-02-{day:02}" for day in range(1, 29)]
NAMES = [f"Carrier {letter}" for letter in "ABCDEFGHIJKL"]
WEEK = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
HOURS = range(5, 24)


def value(*at: int) -> float:
    """Return a value that differs from place to place."""
    return 10 + sum((place * 37) % 23 for place in at) / 2


def ours() -> Sequence[Callable[[], bytes]]:
    """Return this provider's charts."""
    from decimal import Decimal

    from kimi_provider.reports.brand import Brand
    from kimi_provider.reports.charts import draw
    from kimi_provider.reports.format import Formatter
    from kimi_provider.schemas import ChartRequest, Fact, FactTable, Lineage, TableColumn, Unit

    lineage = Lineage(sql="SELECT 1")
    formatter, brand = Formatter(), Brand()

    def chart(kind: str, keys: Sequence[str], rows: Sequence[tuple[str, ...]]) -> Callable[[], bytes]:
        facts = {
            f"t.{at}": Fact(
                id=f"t.{at}", label="Delay", value=Decimal(str(value(at))), unit=Unit.MINUTES,
                decimals=1, lineage=lineage,
            )
            for at in range(len(rows))
        }  # fmt: skip
        columns = [TableColumn(name=key, label=key, unit=Unit.TEXT, key=True) for key in keys]
        columns.append(TableColumn(name="delay", label="Delay", unit=Unit.MINUTES))
        table = FactTable(
            id="t", label="T", columns=tuple(columns), lineage=lineage,
            rows=tuple((*names, f"t.{at}") for at, names in enumerate(rows)),
        )  # fmt: skip
        request = ChartRequest(title="Delay", kind=kind, table="t", x=keys[0], y="delay")
        options = {"title": "Delay", "formatter": formatter, "brand": brand, "period": "2013-02-08"}
        return lambda: draw(request, {"t": table}, facts, **options).picture.png

    return [
        chart("line", ["day"], [(day,) for day in DAYS]),
        chart("bar", ["carrier"], [(name,) for name in NAMES]),
        chart("heatmap", ["hour", "weekday"], [(str(hour), day) for day in WEEK for hour in HOURS]),
    ]


def matplotlib() -> Sequence[Callable[[], bytes]]:
    """Return the same charts by matplotlib, without its global state, as its manual advises servers."""
    from matplotlib.figure import Figure

    def png(figure: Figure) -> bytes:
        target = io.BytesIO()
        figure.savefig(target, format="png", dpi=200)
        return target.getvalue()

    def line() -> bytes:
        figure = Figure(figsize=(5.92, 2.75), layout="constrained")
        axes = figure.subplots()
        axes.plot(range(28), [value(at) for at in range(28)], color="#1d4f91", linewidth=2.5)
        axes.axvspan(6.6, 7.4, color="#e4e7eb")
        axes.annotate("11.0 min", (7, value(7)))
        axes.set_xticks(range(0, 28, 4), [DAYS[at][5:] for at in range(0, 28, 4)])
        axes.set_ylabel("Delay (min)")
        return png(figure)

    def bars() -> bytes:
        figure = Figure(figsize=(5.92, 4.3), layout="constrained")
        axes = figure.subplots()
        drawn = axes.barh(NAMES, [value(at) for at in range(12)], color="#9aa9b8")
        axes.bar_label(drawn, fmt="%.1f min")
        axes.set_xlabel("Delay (min)")
        return png(figure)

    def cells() -> bytes:
        figure = Figure(figsize=(5.92, 3.7), layout="constrained")
        axes = figure.subplots()
        rows = [[value(at * 19 + hour) for hour in range(19)] for at in range(7)]
        figure.colorbar(axes.pcolormesh(rows, cmap="Blues", edgecolors="white"), location="bottom")
        axes.set_xticks([at + 0.5 for at in range(19)], [str(hour) for hour in HOURS])
        axes.set_yticks([at + 0.5 for at in range(7)], WEEK)
        return png(figure)

    return [line, bars, cells]


def main() -> None:
    """Draw for the given number of seconds, after a round that loads what is loaded once."""
    way, seconds = sys.argv[1], float(sys.argv[2])
    begun = time.perf_counter()
    charts = {"kimi": ours, "matplotlib": matplotlib}[way]()
    sizes = [len(chart()) for chart in charts]
    first = time.perf_counter() - begun
    drawn, started, cpu = 0, time.perf_counter(), time.process_time()
    while (taken := time.perf_counter() - started) < seconds:
        for chart in charts:
            chart()
            drawn += 1
    used = time.process_time() - cpu
    figures = {
        "charts_s": drawn / taken,
        "cpu_ms": used / drawn * 1000,
        "kib": sum(sizes) / len(sizes) / 1024,
        "first_s": first,
    }
    sys.stdout.write(json.dumps(figures))


if __name__ == "__main__":
    main()
