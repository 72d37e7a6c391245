"""Matchers of labels, in Alertmanager's words: ``severity=critical``, ``fact=~day.*``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.alerts.rule import SEVERITIES
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_FORM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|>=|=)\s*(.*?)\s*", re.DOTALL)


@dataclass(frozen=True)
class Matcher:
    """One condition on a label: ``=``, ``!=``, ``=~`` and ``!~`` (a whole-text pattern), and for
    ``severity`` also ``>=``. A label that is not there is an empty text.

    :param text: for instance ``severity>=warning``.
    :raises ConfigurationError: if it is malformed.
    """  # noqa: D205 — the operators do not fit one line

    text: str

    def __post_init__(self) -> None:
        """Refuse what could never match."""
        found = _FORM.fullmatch(self.text) if isinstance(self.text, str) else None
        if found is None:
            raise ConfigurationError(
                f"A matcher is a label, one of = != =~ !~ and a value, such as severity=critical; got "
                f"{self.text!r}."
            )
        label, operator, value = self._parts
        if label == "severity" and "~" not in operator and value not in SEVERITIES:
            raise ConfigurationError(
                f"The matcher {self.text!r}: severity is one of {', '.join(SEVERITIES)}; got {value!r}."
            )
        if operator == ">=" and label != "severity":
            raise ConfigurationError(f"The matcher {self.text!r}: only severity can be compared by >=.")
        if "~" in operator:
            try:
                re.compile(value)
            except re.error as error:
                raise ConfigurationError(
                    f"The matcher {self.text!r} has a malformed pattern: {error}."
                ) from None

    @property
    def _parts(self) -> tuple[str, str, str]:
        found = _FORM.fullmatch(self.text)
        assert found is not None  # noqa: S101 — checked when it was made
        label, operator, value = found.groups()
        quoted = len(value) > 1 and value[0] == value[-1] == '"'
        return label, operator, value[1:-1] if quoted else value

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether labels fit."""
        label, operator, value = self._parts
        given = labels.get(label, "")
        if operator == ">=":
            return given in SEVERITIES and SEVERITIES.index(given) >= SEVERITIES.index(value)
        fits = re.fullmatch(value, given) is not None if "~" in operator else given == value
        return fits != operator.startswith("!")


def matchers(given: str | Iterable[str]) -> tuple[Matcher, ...]:
    """Return the matchers of a list; one text is one matcher.

    :raises ConfigurationError: if one is malformed.
    """
    return tuple(Matcher(text) for text in ([given] if isinstance(given, str) else given))


def all_match(given: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether labels fit each of the matchers."""
    return all(matcher.matches(labels) for matcher in given)
