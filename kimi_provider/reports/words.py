"""The fixed words of every report, by language, so that all renderings say the same.

A language that is not here is written in English; its numbers and dates still follow its locale.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENGLISH = {
    "language": "en",
    "actions": "Recommended actions",
    "all_at": "{highest}: {highest_value}",
    "and_others": "{name} and {count} more",
    "bar_chart": "Bar chart",
    "better": "better than {baseline}",
    "calls": "model calls: {calls}, tokens: {input} in, {output} out",
    "chart_failed": "The chart “{title}” could not be drawn: {reason}.",
    "cost": "Cost",
    "cost_simulated": "nothing was charged (simulator)",
    "cost_unknown": "price not known",
    "critical": "Critical",
    "data": "Data",
    "down": "down from {baseline}",
    "findings": "Findings",
    "generated": "Generated",
    "highest_lowest": "Highest: {highest}, {highest_value}; lowest: {lowest}, {lowest_value}",
    "how": (
        "Every figure is computed from the data by SQL. The model chooses what to say and cites the "
        "figures; it does not write them."
    ),
    "info": "Info",
    "kpis": "Key figures",
    "line_chart": "Line chart",
    "link_removed": "(link removed)",
    "model": "Written by",
    "more_columns": "columns not shown: {count}",
    "more_figures": "More figures",
    "more_rows": "and {count} more",
    "more_tables": "Tables not shown: {count}.",
    "no_findings": "Nothing noteworthy was found.",
    "no_name": "(no name)",
    "no_value": "n/a",
    "no_value_for": "no value for {names}",
    "no_rows": "The data has no rows for this table.",
    "notes": "Not complete",
    "out_of": "shown are {shown} of {total}",
    "percentage_points": "percentage points",
    "percentage_points_short": "pp",
    "period": "Period",
    "same": "same as {baseline}",
    "simulated": "Written by the simulator, not by Kimi.",
    "simulated_detail": "The figures are computed from the data; the words are a rehearsal.",
    "simulator": "the simulator ({model})",
    "sources": "{facts} figures from {datasets}",
    "up": "up from {baseline}",
    "warning": "Warning",
    "worse": "worse than {baseline}",
}

_BY_LANGUAGE = {"en": MappingProxyType(_ENGLISH)}


def words(locale: str) -> Mapping[str, str]:
    """Return the fixed words in the language of a locale (``en``, ``en_GB``, ``pl-PL``)."""
    language = locale.replace("-", "_").split("_", 1)[0].lower()
    return _BY_LANGUAGE.get(language, _BY_LANGUAGE["en"])
