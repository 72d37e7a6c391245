"""The head of a prompt template: what it computes, with what, and how it wants the model asked."""

from __future__ import annotations

import re
from datetime import date
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Self, Union, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError, model_validator

from kimi_provider.analysis.automatic_settings import AutomaticSettings
from kimi_provider.analysis.grounding_policy import Declared
from kimi_provider.analysis.languages import language_tag
from kimi_provider.analysis.metrics import ComparisonSpec, Metric, ParameterType
from kimi_provider.analysis.strategy import TextSettings, Wanted
from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import ChartRequest, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_PERIOD_NAME = re.compile(r"\{(\w+)\}")


class Parameter(Value):
    """A value that the DAG gives; bound into the metrics' SQL as ``$name``, never formatted into it.

    ``day: date`` is short for ``day: {type: date}``; with a ``default`` the DAG need not give it.
    """

    type: ParameterType
    default: str | int | float | bool | date | None = None


class ModelSettings(Value):
    """How the template wants the model asked; ``None`` leaves it to the connection.

    ``max_tokens`` bounds reasoning and answer together.
    """

    model: str | None = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    thinking: bool | None = None
    effort: str | None = None


def _long_form(value: object) -> object:
    return {"type": value} if isinstance(value, str) else value


def _known_language(value: str) -> str:
    try:
        return language_tag(value)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None


class FrontMatter(Value):
    """Everything about a prompt template but the text of the request.

    ``extends`` names the template whose front matter holds where this one is silent, key by key.
    ``system`` follows our own rules in the system message. ``period`` is how the period is named, with
    ``{day}`` standing for a parameter. ``needs`` are ids of facts without which there is nothing to
    write about: where one has no value, or is zero, the analysis stops before anything is paid.
    ``language`` is what the model writes in, a tag or a name; the parameter ``language``, which every
    template has, stands in for it. ``automatic`` asks for facts from the data itself beside
    the metrics, and says of which columns; without metrics there always are such facts. ``strategy`` is
    how the data reaches the model, ``text`` the free text to read where that is ``map_reduce``.
    ``grounding`` says what each check of the text leads to (``strict``, ``annotate``, ``warn``);
    ``entities`` are names that the text may hold although neither the data nor the prompt does.
    ``translations`` gives, by the tag of a language, what labels and chart titles are called in it: the
    label as it stands here, and the one in its place.
    """

    description: str = ""
    extends: str | None = None
    system: str = ""
    language: Annotated[str, AfterValidator(_known_language)] | None = None
    parameters: dict[str, Annotated[Parameter, BeforeValidator(_long_form)]] = Field(
        default_factory=dict
    )
    period: str | None = None
    comparisons: tuple[ComparisonSpec, ...] = ()
    metrics: tuple[Metric, ...] = ()
    automatic: AutomaticSettings | None = None
    strategy: Wanted = "auto"
    text: TextSettings | None = None
    needs: tuple[str, ...] = ()
    grounding: Declared | None = None
    entities: tuple[str, ...] = ()
    charts: tuple[ChartRequest, ...] = ()
    translations: dict[Annotated[str, AfterValidator(_known_language)], dict[str, str]] = Field(
        default_factory=dict
    )
    model: ModelSettings = ModelSettings()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        """Check what one part says of another, so that a typing error costs no call."""
        comparisons = _unique("comparisons", [spec.id for spec in self.comparisons])
        metrics = _unique("metrics", [metric.id for metric in self.metrics])
        for name in _PERIOD_NAME.findall(self.period or ""):
            _known("period", name, self.parameters)
        for spec in self.comparisons:
            for name in spec.shift:
                _known(f"comparisons: {spec.id}: shift", name, self.parameters)
        for metric in self.metrics:
            for name in metric.compare or ():
                _known(f"metrics: {metric.id}: compare", name, comparisons)
        for chart in self.charts:
            # Themes are tables too, which reading the text makes.
            if metrics and not self.automatic and not self.text and self.strategy != "map_reduce":
                _known(f"charts: {chart.title!r}: table", chart.table, metrics)
        return self


def listed(names: Iterable[object]) -> str:
    """Return names as an error message lists them."""
    shown = sorted(map(str, names))
    more = f" and {len(shown) - 40} more" if len(shown) > 40 else ""  # noqa: PLR2004 — a screenful
    return ", ".join(shown[:40]) + more if shown else "none"


def checked_front_matter(raw: Mapping[str, object], where: str) -> FrontMatter:
    """Return the front matter, or say all that is wrong with it.

    :param raw: the YAML, as Python values.
    :param where: the file, as the message names it.
    :raises ConfigurationError: naming file, key and what is allowed.
    """
    try:
        return FrontMatter.model_validate(raw)
    except ValidationError as error:
        problems = "; ".join(_problem(e["loc"], e["type"], e["msg"], e["input"]) for e in error.errors())
        raise ConfigurationError(f"{where}: front matter: {problems}") from None


def _problem(location: tuple[int | str, ...], kind: str, message: str, given: object) -> str:
    """Return one of pydantic's findings in the words of a template's author."""
    if kind == "value_error" and not location:
        return message.removeprefix("Value error, ")
    key = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in location)[1:]
    if kind == "extra_forbidden":
        return f"{key}: there is no such key; allowed: {listed(_keys_beside(location))}"
    if kind == "missing":
        return f"{key}: is missing"
    shown = f" (given: {given!r})" if isinstance(given, str | int | float) else ""
    return f"{key}: {message.removeprefix('Value error, ')}{shown}"


def _keys_beside(location: tuple[int | str, ...]) -> Iterable[str]:
    """Follow a key's path through the models to the keys that are allowed where it stands."""
    here: Any = FrontMatter
    for step in location[:-1]:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[str(step)].annotation
        else:
            arguments = get_args(here)
            here = arguments[-1] if get_origin(here) is dict else arguments[0]
        while get_origin(here) in {Annotated, Union, UnionType}:
            here = get_args(here)[0]
    return here.model_fields if isinstance(here, type) and issubclass(here, BaseModel) else ()


def _unique(part: str, ids: list[str]) -> list[str]:
    twice = {name for name in ids if ids.count(name) > 1}
    if twice:
        raise ValueError(f"{part}: the id is used twice: {listed(twice)}")
    return ids


def _known(where: str, name: str, names: Iterable[str]) -> None:
    if name not in names:
        raise ValueError(f"{where}: there is no {name!r}; declared: {listed(names)}")
