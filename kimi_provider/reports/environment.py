"""The one Jinja environment of reports and alerts: sandboxed, strict, bounded.

Templates are files that somebody trusted put into a folder; data and the model's text come in as
values only. The sandbox is there for mistakes, and for folders that many may write to.
"""

from __future__ import annotations

import re
import textwrap
import traceback
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import jinja2
from jinja2.exceptions import SecurityError
from jinja2.filters import do_batch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup, escape

from kimi_provider.exceptions import RenderError, TemplateError
from kimi_provider.reports.folders import Folders, plain_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_PLAIN_TEXT = ".txt.j2"
# Each makes gigabytes out of a few characters.
_UNBOUNDED_FILTERS = {
    "center": "'aligned' sets rows in columns",
    "format": "what the document prints is formatted, and 'round' rounds",
    "indent": "'wrapped(76, first, rest)' indents",
    "tojson": "what the document has are texts that print as they are",
}
_NO_FILTER = re.compile(r"No filter named '([^']+)'( found)?\.")
_LARGEST_BATCH = 1000
_UNBOUNDED_METHODS = frozenset(
    {"center", "expandtabs", "format", "format_map", "ljust", "rjust", "zfill"}
)
_MAX_CHARACTERS = 5_000_000
_WITH_UNIT = re.compile(r"(?<![\w&#])([\N{MINUS SIGN}+-]?\d[\d.,]*\s[^\W\d]{1,8})(?=[\s.,;)]|$)")


class _Undefined(jinja2.StrictUndefined):
    """Says which fields there are, where a template wants one that is not."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        owner, name = self._undefined_obj, self._undefined_name
        if self._undefined_hint:
            return self._undefined_hint
        if owner is jinja2.utils.missing:
            return f"wants the name {name!r}, which is not there"
        known = ", ".join(_field_names(owner)) or "none"
        return f"wants the field {name!r} of a {type(owner).__name__}; fields available: {known}"


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, which guards attributes, guarded against memory bombs too."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def call_binop(self, context: jinja2.runtime.Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate with numbers only: text times a number, or formatted by one, is a memory bomb."""
        if operator == "**" or not all(isinstance(side, int | float) for side in (left, right)):
            raise SecurityError(f"may not use {operator!r} here; only numbers multiply")
        return super().call_binop(context, operator, left, right)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse the methods of text that pad to any length."""
        padding = isinstance(obj, str) and attr in _UNBOUNDED_METHODS
        return not padding and super().is_safe_attribute(obj, attr, value)

    def join_path(self, template: str, parent: str) -> str:
        """Let a template reach the one that it stands in for, by their name."""
        return cast("Folders", self.loader).named_in(self, template, parent)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # noqa: ARG002 — Jinja's signature
        """Leave ``str.format`` to :meth:`is_safe_attribute`, which refuses it."""
        return None


def environment(search_path: Sequence[Path]) -> jinja2.Environment:
    """Return the environment over folders of templates; the first that has a name wins.

    Inside of a template its own name means the one that it stands in for.
    HTML is escaped by itself; a template named ``*.txt.j2`` makes plain text, which is not.
    """
    env = _Environment(
        loader=Folders(search_path),
        autoescape=lambda name: not (name or "").endswith(_PLAIN_TEXT),
        undefined=_Undefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=False,
    )
    del env.globals["lipsum"]
    for name in _UNBOUNDED_FILTERS:
        del env.filters[name]
    env.filters["batch"] = _batch
    env.filters["wrapped"] = _wrapped
    env.filters["aligned"] = _aligned
    env.filters["together"] = _together
    return env


def render(
    env: jinja2.Environment, name: str, context: Mapping[str, object], *, limit: int = _MAX_CHARACTERS
) -> str:
    """Draw a template.

    :param name: file name of the template, in one of the environment's folders.
    :param limit: most characters that it may make.
    :raises TemplateError: if it is missing, malformed, or wants what there is not; names the template,
        the line, what it wants and what there is.
    :raises RenderError: if it makes more than the limit.
    """
    parts: list[str] = []
    size = 0
    try:
        for part in env.get_template(name).generate(context):
            size += len(part)
            if size > limit:
                raise RenderError(
                    f"Template {name!r} makes more than {limit:,} characters. Show fewer rows in it."
                )
            parts.append(part)
    except jinja2.TemplateNotFound as error:
        there = ", ".join(sorted(env.list_templates())) or "none"
        raise TemplateError(
            f"There is no template {error.name!r}. Templates there are: {there}."
        ) from error
    except jinja2.TemplateSyntaxError as error:
        wrong = plain_name(error.name or name)
        said = _explained(env, str(error.message))
        raise TemplateError(f"Template {wrong!r}, line {error.lineno}: {said}") from error
    except RecursionError:
        raise TemplateError(
            f"Template {name!r} extends, includes or calls itself without end."
        ) from None
    except jinja2.UndefinedError as error:
        names = ", ".join(sorted(context))
        raise TemplateError(
            f"{_place(error, name)} {error.message}. Names at the top: {names}."
        ) from error
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        said = _explained(env, str(error))
        raise TemplateError(f"{_place(error, name)} {said}") from error
    return "".join(parts)


def _explained(env: jinja2.Environment, message: str) -> str:
    """Say what there is in place of a filter that is not there."""
    found = _NO_FILTER.fullmatch(message)
    if found is None:
        return message
    name = found[1]
    if name in _UNBOUNDED_FILTERS:
        return (
            f"No filter named {name!r} here: it makes gigabytes out of a few characters. In its place: "
            f"{_UNBOUNDED_FILTERS[name]}."
        )
    return f"No filter named {name!r}. Filters there are: {', '.join(sorted(env.filters))}."


def _place(error: BaseException, name: str) -> str:
    """Say where in which template an error arose; Jinja writes template lines into the traceback."""
    lines = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(".j2")]
    if not lines:
        return f"Template {name!r}"
    return f"Template {Path(lines[-1].filename).name!r}, line {lines[-1].lineno},"


def _field_names(owner: object) -> list[str]:
    if isinstance(owner, dict):
        return sorted(map(str, owner))
    if is_dataclass(owner):
        return [field.name for field in fields(owner)]
    return sorted(name for name in dir(owner) if not name.startswith("_"))[:40]


def _wrapped(text: str, width: int = 76, first: str = "", rest: str = "") -> str:
    """Break each line of a text at a width, for plain-text mail."""
    return "\n".join(
        textwrap.fill(
            line,
            width,
            initial_indent=first if number == 0 else rest,
            subsequent_indent=rest,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for number, line in enumerate(str(text).splitlines())
    )


def _batch(value: Iterable[Any], linecount: int, fill_with: object = None) -> Iterator[list[Any]]:
    """Jinja's ``batch``, which fills up the last of its lists to any length."""
    if linecount > _LARGEST_BATCH:
        raise SecurityError(f"may not batch by {linecount}; {_LARGEST_BATCH} at most")
    return do_batch(value, linecount, fill_with)


def _together(text: str) -> Markup:
    """Keep each number on one line with the word after it, its unit, in HTML."""
    return Markup(_WITH_UNIT.sub(r'<span class="together">\1</span>', str(escape(text))))  # noqa: S704 — escaped


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Set rows of text in columns, for plain-text mail: names to the left, the rest to the right."""
    if not rows:
        return ""
    widths = [min(max(map(len, column)), 34) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            text.ljust(width) if at == 0 else text.rjust(width)
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
