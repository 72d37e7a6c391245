"""What the facts say of a claimed direction: how a value stands to what it is compared with."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

from kimi_provider.schemas import Unit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kimi_provider.analysis.grounding_claims import Said
    from kimi_provider.schemas import Comparison, Fact

_STEADY = 0.05  # a change below this share is still "unchanged"
_TIME = re.compile(
    r"durat|time|days?\b|hours?\b|weeks?\b|dni\b|godzin|delay|wait|latenc|stay|czas|opóźn|oczekiw|trwan"
)


def moved(said: Said, fact: Fact | None, chosen: Collection[str]) -> str:
    """Hold a claim against how a value stands to what it is compared with; empty where it is right.

    :param chosen: ids of the comparisons that the text names; empty for any of the fact's.
    """
    if fact is None or not isinstance(fact.value, Decimal):
        return ""
    comparisons = [c for c in fact.comparisons if c.id in chosen] or list(fact.comparisons)
    return against(said, fact, {c.direction for c in comparisons}, comparisons)


def against(said: Said, fact: Fact, actual: set[str], comparisons: Sequence[Comparison] = ()) -> str:
    """Return what the facts say where a claim is against it.

    :param actual: the directions that would be right.
    """
    if not actual or (fact.change and not isinstance(fact.value, Decimal)):
        return ""
    claimed: str = said.claim
    if claimed in {"fast", "slow"}:
        claimed = "down" if (claimed == "fast") == is_time(fact) else "up"
    if claimed in {"good", "bad"}:
        if fact.good is None:
            return ""
        opposite = "down" if fact.good == "up" else "up"
        claimed = fact.good if claimed == "good" else opposite
    if claimed == "flat":
        sizes = [abs(c.percent) if c.percent is not None else 1.0 for c in comparisons]
        moved = bool(sizes) and min(sizes) > _STEADY and "flat" not in actual
        wrong = moved and not said.negated
    elif said.negated:
        wrong = actual == {claimed}
    else:
        wrong = claimed not in actual
    return f"the facts say {' or '.join(sorted(actual))}" if wrong else ""


def is_time(fact: Fact) -> bool:
    """Whether a figure says how long something takes, so that faster is less."""
    return fact.unit in {Unit.MINUTES, Unit.SECONDS} or _TIME.search(fact.label.casefold()) is not None


def sign(value: object) -> str:
    """Return the direction of a change of this size."""
    if not isinstance(value, Decimal):
        return "flat"
    return "up" if value > 0 else "down" if value < 0 else "flat"
