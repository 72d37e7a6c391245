"""What a report's YAML may say; everything that is wrong is found at once, each with its line."""

from __future__ import annotations

import inspect
import re
from dataclasses import MISSING, fields
from datetime import date, datetime, timedelta
from importlib import import_module
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError, KimiProviderError
from kimi_provider.operators.kimi_report import ALWAYS, FETCHERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kimi_provider.operators.report_yaml import Key, ReportYaml

_DURATION = re.compile(r"(\d+)\s*([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# Airflow finds a wrong one only when it has taken the DAG, and then names no line.
_SCHEDULE = re.compile(
    r"@(once|continuous|hourly|daily|weekly|monthly|quarterly|yearly|annually)"
    r"|([0-9A-Za-z*/,#?-]+ +){4}\S+"
)
_ID = re.compile(r"[A-Za-z0-9_.-]{1,250}")

_TEXT, _TEXTS = "a text", "a text, or a list of texts"
_READERS = "a text, where they are kept ({query: …}, {variable: …}, {file: …}), or a list of these"
_DAG: dict[str, str] = {
    "id": _TEXT,
    "description": _TEXT,
    "schedule": "a text, or null",
    "start_date": "a date",
    "catchup": "true or false",
    "tags": "a list of texts",
    "retries": "a whole number",
    "retry_delay": "a duration such as 30m, 4h or 2d",
    "max_active_runs": "a whole number",
}
_REPORT: dict[str, str] = {
    "sources": "a mapping",
    "prompt": _TEXT,
    "to": _READERS,
    "owner": _TEXTS,
    "parameters": "a mapping",
    "title": _TEXT,
    "template": _TEXT,
    "locale": _TEXT,
    "timezone": _TEXT,
    "formats": _TEXTS,
    "brand": "a mapping",
    "rules": "a list",
    "require_approval": "a text, or a mapping",
    "settings": "a mapping",
    "slice_by": _TEXT,
    "ask": _TEXT,
    "recipients": "a text, or a mapping",
    "kimi_conn_id": _TEXT,
    "sendgrid_conn_id": _TEXT,
    "model": _TEXT,
    "max_cost_usd": "a number above 0",
    "on_llm_failure": _TEXT,
    "analyze": "a mapping",
    "report": "a mapping",
    "alert": "a mapping",
}
_NEEDED = ("sources", "prompt")
_WORDS = {"ask": ("each", "once"), "on_llm_failure": ("fail", "fallback", "skip")}
_PAGES = {
    "single": "SinglePage",
    "page": "PagePagination",
    "offset": "OffsetPagination",
    "cursor": "CursorPagination",
    "link": "LinkPagination",
    "next_url": "NextUrlPagination",
}
_STAGES = {
    "analyze": ("kimi_provider.operators.analyze", "KimiAnalyzeOperator"),
    "report": ("kimi_provider.operators.report", "ReportOperator"),
    "alert": ("kimi_provider.operators.alert", "AlertOperator"),
}
# Where recipients are kept, and which part of it a text alone is.
_KEPT = {
    "query": ("FromQuery", "sql"),
    "variable": ("FromVariable", "key"),
    "file": ("FromFile", "path"),
}
# What the chain itself gives to its operators, or has keys of its own for.
_CHAINS = frozenset({"analysis", "report", "datasets", "facts", "to", "title", "rules"})
_FORMATS = ("pdf", "xlsx", "csv")
_TASK = ("retries", "retry_delay", "pool", "execution_timeout", "queue", "priority_weight")


def checked(document: ReportYaml) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arguments of the DAG, and those of ``kimi_report``.

    :raises ConfigurationError: if anything is wrong; a line for each.
    """
    check = _Check(document)
    check.keys((), document.data, {**_DAG, **_REPORT}, _NEEDED)
    given = {key: value for key, value in document.data.items() if key in {**_DAG, **_REPORT}}
    good = {key: value for key, value in given.items() if check.kind((key,), value)}
    dag = check.dag({key: value for key, value in good.items() if key in _DAG})
    report = check.report({key: value for key, value in good.items() if key in _REPORT})
    if check.problems:
        raise ConfigurationError("\n".join(check.problems))
    return dag, report


class _Check:
    """Gathers what is wrong with a file."""

    def __init__(self, document: ReportYaml) -> None:
        self._document = document
        self.problems: list[str] = []

    def problem(self, key: Key, text: str) -> None:
        self.problems.append(self._document.at(key, text))

    def keys(
        self, key: Key, given: Mapping[str, Any], known: Iterable[str], needed: Iterable[str] = ()
    ) -> None:
        """Find unknown keys, with what may have been meant, and missing ones."""
        import difflib

        names = list(known)
        for name in given:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, n=1)
                hint = f" Did you mean {close[0]!r}?" if close else f" There are {', '.join(names)}."
                self.problem((*key, str(name)), f"it is not known.{hint}")
        for name in needed:
            if name not in given:
                self.problem(key, f"the key {name!r} is missing.")

    def kind(self, key: Key, value: Any) -> bool:
        """Whether a value is of the kind that its key asks for."""
        wanted = {**_DAG, **_REPORT}[str(key[0])]
        fits = {
            _TEXT: isinstance(value, str) and bool(value.strip()),
            _TEXTS: isinstance(value, str) or _is_texts(value),
            "a text, or null": value is None or isinstance(value, str),
            _READERS: bool(value) and all(isinstance(one, str | dict) for one in _listed(value)),
            "a date": isinstance(value, date),
            "true or false": isinstance(value, bool),
            "a list of texts": _is_texts(value),
            "a whole number": isinstance(value, int) and not isinstance(value, bool) and value >= 0,
            _DAG["retry_delay"]: _duration(value) is not None,
            "a mapping": isinstance(value, dict) and bool(value),
            "a list": isinstance(value, list) and bool(value),
            "a text, or a mapping": isinstance(value, str | dict) and bool(value),
            "a number above 0": isinstance(value, int | float)
            and not isinstance(value, bool)
            and value > 0,
        }[wanted]
        if not fits:
            self.problem(key, f"it must be {wanted}; it is {value!r}."[:300])
        return fits

    def dag(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of the DAG."""
        import pendulum

        name = given.pop("id", self._document.path.name.removesuffix(".yaml").replace(".", "_"))
        if not _ID.fullmatch(name):
            self.problem(("id",), "an id has letters, digits, dots, dashes and underscores only.")
        defaults: dict[str, Any] = {}
        for key in ("retries", "retry_delay"):
            if key in given:
                value = given.pop(key)
                defaults[key] = _duration(value) if key == "retry_delay" else value
        zone = self._document.data.get("timezone", "UTC")
        try:
            tz = pendulum.timezone(str(zone))
        except Exception:  # noqa: BLE001 — pendulum and its sources of time zones raise all kinds
            self.problem(("timezone",), f"{zone!r} is no time zone, such as Europe/Warsaw.")
            tz = pendulum.timezone("UTC")
        schedule = given.get("schedule")
        if schedule is not None and not _is_schedule(schedule.strip()):
            self.problem(
                ("schedule",),
                f"{schedule!r} is neither a preset such as @daily nor cron of five fields.",
            )
        if "start_date" in given:
            day = given["start_date"]
            moment = day if isinstance(day, datetime) else datetime(day.year, day.month, day.day)  # noqa: DTZ001 — gets its zone here
            given["start_date"] = pendulum.instance(moment.replace(tzinfo=None), tz=tz)
        elif schedule is not None:
            self.problem(("schedule",), "a schedule needs a start_date, such as 2026-01-31.")
        arguments = {"dag_id": name, "schedule": None, "catchup": False, **given}
        if defaults:
            arguments["default_args"] = defaults
        return arguments

    def report(self, given: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of ``kimi_report``."""
        made: dict[str, Callable[[Any], Any]] = {
            "sources": self._sources,
            "to": self._readers,
            "rules": self._rules,
            "require_approval": self._approval,
            "settings": self._settings,
            "brand": self._brand,
        }
        for key, words in _WORDS.items():
            if key in given and given[key] not in words:
                self.problem((key,), f"{given[key]!r} is not known. Choose one of {', '.join(words)}.")
        self._words(given)
        for key in ("recipients", "ask"):
            if key in given and "slice_by" not in given:
                self.problem((key,), "it is for slices; name their column: slice_by.")
        if not self._document.data.get("to") and "recipients" not in given:
            self.problem((), "nobody gets the report: the key 'to' is missing.")
        self._template(given, "prompt", "prompts", ".md.j2")
        self._template(given, "template", "reports", ".html.j2")
        for key, place in _STAGES.items():
            if key in given:
                given[key] = self._operator((key,), given[key], place)
        return {key: made[key](value) if key in made else value for key, value in given.items()}

    def _words(self, given: Mapping[str, Any]) -> None:
        """Check texts that say all before there is a run, unless they are templated."""
        for key in ("to", "owner"):
            self._addresses((key,), given.get(key))
        for one in _listed(given.get("formats", [])):
            if one not in _FORMATS and "{{" not in one:
                self.problem(("formats",), f"{one!r} is not known. There are {', '.join(_FORMATS)}.")

    def _readers(self, given: Any) -> Any:
        """Make the objects that read recipients from where they are kept."""
        if isinstance(given, list):
            return [self._reader(("to", number), one) for number, one in enumerate(given)]
        return self._reader(("to",), given)

    def _reader(self, key: Key, given: Any) -> Any:
        if isinstance(given, str):
            return given
        if len(given) != 1 or next(iter(given)) not in _KEPT:
            self.problem(key, f"it must be an address, or have exactly one of: {', '.join(_KEPT)}.")
            return None
        ((kind, value),) = given.items()
        name, first = _KEPT[kind]
        fields_of = {first: value} if isinstance(value, str) else value
        return self._object((*key, kind), fields_of, ("kimi_provider.alerts.recipients_from", name))

    def _addresses(self, key: Key, given: Any) -> None:
        from kimi_provider.alerts.addresses import recipients

        written = [one for one in _listed(given) if isinstance(one, str)]
        if written and "{{" not in str(written):
            try:
                recipients(written)
            except ConfigurationError as error:
                self.problem(key, str(error))

    def _template(self, given: Mapping[str, Any], key: str, kind: Any, suffix: str) -> None:
        """Find out whether a template is there; what is in it is checked when it is used."""
        from kimi_provider.hooks.templates import template_search_path

        name = given.get(key)
        if name is None or "{{" in name:
            return
        folders = template_search_path(kind)
        if not any((folder / f"{name.removesuffix(suffix)}{suffix}").is_file() for folder in folders):
            there = sorted({f.name.removesuffix(suffix) for d in folders for f in d.glob(f"*{suffix}")})
            self.problem((key,), f"there is no template {name!r}. There are {', '.join(there)}.")

    def _sources(self, given: Mapping[str, Any]) -> dict[str, Any]:
        sources: dict[str, Any] = {}
        for name, source in given.items():
            key: Key = ("sources", str(name))
            if not re.fullmatch(r"[A-Za-z_]\w*", str(name)):
                self.problem(key, "a source is a table of SQL; its name has letters, digits and _ only.")
            if not isinstance(source, dict) or len(source) != 1 or next(iter(source)) not in FETCHERS:
                self.problem(key, f"it must have exactly one of: {', '.join(FETCHERS)}.")
                continue
            ((kind, arguments),) = source.items()
            if not isinstance(arguments, dict):
                self.problem((*key, kind), "it must be a mapping.")
                continue
            given_to = self._operator((*key, kind), arguments, FETCHERS[kind])
            sources[str(name)] = {kind: self._reading((*key, kind), given_to)}
        return sources

    def _reading(self, key: Key, given: Mapping[str, Any]) -> dict[str, Any]:
        """Make the objects that a fetch operator takes."""
        made = dict(given)
        pages = made.get("pagination")
        if pages is not None:
            fields_of = dict(pages) if isinstance(pages, dict) else {"kind": pages}
            kind = fields_of.pop("kind", None)
            if not isinstance(kind, str) or kind not in _PAGES:
                self.problem((*key, "pagination"), f"its kind is one of {', '.join(_PAGES)}.")
            else:
                where = ("kimi_provider.sources.pagination", _PAGES[kind])
                made["pagination"] = self._object((*key, "pagination"), fields_of, where)
        for name, place in (
            ("columns", ("kimi_provider.sources.protect", "Columns")),
            ("incremental", ("kimi_provider.sources.incremental", "Incremental")),
        ):
            if name in made:
                made[name] = self._object((*key, name), made[name], place)
        return made

    def _operator(self, key: Key, given: Mapping[str, Any], place: tuple[str, str]) -> dict[str, Any]:
        """Check the parameters of an operator; return them with the durations that they have."""
        parameters = inspect.signature(_named(place).__init__).parameters
        own = [p for p in parameters.values() if p.kind is p.KEYWORD_ONLY]
        known = [p.name for p in own if p.name not in _CHAINS]
        needed = [p.name for p in own if p.default is p.empty and key[0] == "sources"]
        self.keys(key, given, [*known, *_TASK], needed)
        made = dict(given)
        self._durations(key, made, ("retry_delay", "execution_timeout"))
        return made

    def _object(self, key: Key, given: Any, place: tuple[str, str]) -> Any:
        """Make a dataclass, if its fields are known and its values are right."""
        cls = _named(place)
        if not isinstance(given, dict):
            self.problem(key, "it must be a mapping.")
            return None
        before = len(self.problems)
        needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
        self.keys(key, given, [f.name for f in fields(cls)], needed)
        if len(self.problems) > before:
            return None
        try:
            return cls(**given)
        except (KimiProviderError, TypeError, ValueError) as error:
            named = next((name for name in given if str(name) in str(error)), None)
            self.problem((*key, named) if named else key, str(error))
            return None

    def _rules(self, given: list[Any]) -> list[Any]:
        from kimi_provider.alerts.rules import rule_from_json

        rules: list[Any] = []
        for number, rule in enumerate(given):
            key: Key = ("rules", number)
            try:
                made = rule_from_json({"kind": ALWAYS} if rule == ALWAYS else rule)
            except KimiProviderError as error:
                self.problem(key, str(error))
                continue
            if made.label in [one.label for one in rules]:
                self.problem(key, f"the rule {made.label!r} is there already; give one a name.")
            rules.append(made)
        return rules

    def _approval(self, given: Any) -> Any:
        fields_of = {"when": given} if isinstance(given, str) else dict(given)
        key: Key = ("require_approval",)
        self._durations(key, fields_of, ("timeout",))
        return self._object(key, fields_of, ("kimi_provider.alerts.approval", "Approval"))

    def _settings(self, given: dict[str, Any]) -> Any:
        fields_of = dict(given)
        key: Key = ("settings",)
        self._durations(key, fields_of, ("repeat_interval",))
        for name in ("route", "receivers", "silences", "brand"):
            if name in fields_of:
                self.problem((*key, name), "it needs Python: build this report with kimi_report().")
                del fields_of[name]
        return self._object(key, fields_of, ("kimi_provider.alerts.settings", "AlertSettings"))

    def _brand(self, given: dict[str, Any]) -> Any:
        return self._object(("brand",), given, ("kimi_provider.reports.brand", "Brand"))

    def _durations(self, key: Key, given: dict[str, Any], names: Iterable[str]) -> None:
        for name in names:
            if given.get(name) is None:
                continue
            found = _duration(given[name])
            if found is None:
                self.problem((*key, name), f"it must be {_DAG['retry_delay']}; it is {given[name]!r}.")
            given[name] = found


def _named(place: tuple[str, str]) -> Any:
    return getattr(import_module(place[0]), place[1])


def _is_schedule(text: str) -> bool:
    from croniter import croniter  # type: ignore[import-untyped]  # Airflow's own, without types

    return _SCHEDULE.fullmatch(text) is not None and (text[0] == "@" or croniter.is_valid(text))


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(one, str) for one in value)


def _duration(value: Any) -> timedelta | None:
    found = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]]) if found else None
