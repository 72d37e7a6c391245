"""Jinja for prompt templates: strict about names, bounded, and blind outside its folders.

A template is a trusted file, yet a slip in one must not fill the memory of a worker. Jinja's own
sandbox keeps a template from Python's insides, but does not stop ``'a' * 10**9``.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing

from kimi_provider.analysis.frontmatter import listed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2.runtime import Context

NAMES = ("datasets", "facts", "language", "params", "period")
"""What a body sees."""
MAX_RANGE = 1_000
MAX_RENDERED = 1_000_000
"""Characters that a body may render to: about a quarter of a million tokens, a model's window."""

# What makes much out of little (`center`, `indent`, `format`, `batch`, …) is not on the list.
_FILTERS = (
    *("abs", "capitalize", "count", "default", "dictsort", "first", "float", "groupby", "int", "items"),
    *("join", "last", "length", "list", "lower", "map", "max", "min", "reject", "rejectattr", "reverse"),
    *("round", "select", "selectattr", "sort", "string", "sum", "title", "trim", "truncate", "unique"),
    *("upper", "wordcount"),
)
_TEXT_METHODS = frozenset(
    {"endswith", "lower", "split", "splitlines", "startswith", "strip", "title", "upper"}
)


class Missing(jinja2.StrictUndefined):
    """A name that is not there, which says which are; Jinja alone says only which is not."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        if self._undefined_hint:
            return self._undefined_hint
        owner = self._undefined_obj
        names: Any = (
            NAMES
            if owner is missing
            else owner
            if isinstance(owner, Mapping)
            else getattr(type(owner), "__dataclass_fields__", ())
        )
        return f"there is no {self._undefined_name!r}; what exists here: {listed(names)}"


class PromptEnvironment(ImmutableSandboxedEnvironment):
    """The Jinja environment of prompt templates.

    :param loader: gives the bodies.
    """

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self, loader: jinja2.BaseLoader) -> None:
        super().__init__(
            loader=loader,
            undefined=Missing,
            autoescape=False,  # the body is Markdown for a model, not HTML
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.filters = {name: self.filters[name] for name in _FILTERS}
        self.globals = {"range": _bounded_range}

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Let ``*`` and ``%`` calculate only: text and lists they repeat and pad without bound."""
        numbers = all(isinstance(side, int | float | Decimal) for side in (left, right))
        if operator == "**" or not numbers:
            raise SecurityError(
                f"{operator!r} is not allowed on {type(left).__name__} and {type(right).__name__}"
            )
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Keep text to the methods that return no more than they were given."""
        if isinstance(obj, str):
            return attr in _TEXT_METHODS
        return super().is_safe_attribute(obj, attr, value)


def bounded(parts: Iterator[str]) -> str:
    """Return the parts joined.

    :raises SecurityError: if they are longer than :data:`MAX_RENDERED` together.
    """
    kept: list[str] = []
    size = 0
    for part in parts:
        size += len(part)
        if size > MAX_RENDERED:
            raise SecurityError(
                f"the body renders to more than {MAX_RENDERED} characters; leave rows to the metrics"
            )
        kept.append(part)
    return "".join(kept)


def _bounded_range(*bounds: int) -> range:
    numbers = range(*bounds)
    if len(numbers) > MAX_RANGE:
        raise SecurityError(f"range() of {len(numbers)} numbers is not allowed; at most {MAX_RANGE}")
    return numbers
