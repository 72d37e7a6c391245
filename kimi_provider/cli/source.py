"""What a preview shows: a DAG's last analysis as its report task draws it, or sample data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.recipes import FILE as RECIPE_FILE
from kimi_provider.hooks.recipes import ReportRecipe
from kimi_provider.hooks.storage import instance_folder
from kimi_provider.hooks.templates import template_search_path
from kimi_provider.storage import read_text

if TYPE_CHECKING:
    from argparse import Namespace

    from airflow.sdk import DAG

    from kimi_provider.cli.results import Returned
    from kimi_provider.schemas import Analysis, FactSheet

_ENDING = ".html.j2"
# Templates that others are made of.
_PARTS = {"base", "frame", "parts", "alert_parts", "notice"}
_OPEN = ("{{", "{%")


@dataclass(frozen=True)
class ReportSource:
    """A report to draw.

    :param recipe: how.
    :param search_path: folders of the templates.
    :param files: what else, when it is saved, changes the report.
    """

    analysis: Analysis
    sheet: FactSheet
    recipe: ReportRecipe
    search_path: tuple[Path, ...]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class NoticeSource:
    """A notice of alerts to draw, with sample data; ``search_path`` are the folders of its templates."""

    template: str
    locale: str
    search_path: tuple[Path, ...]
    files: tuple[Path, ...] = ()


Source = ReportSource | NoticeSource


def source_of(args: Namespace) -> Source:
    """Return what the arguments ask for: ``dag_id``, ``task_id``, ``template``, ``locale``.

    :raises ConfigurationError: if it is not there; says what is.
    """
    if args.dag_id is not None:
        return _of_dag(args.dag_id, args.task_id, args.template, args.locale)
    if args.template is None:
        raise ConfigurationError(
            "Name a DAG that has made an analysis, or a --template, such as --template daily_brief."
        )
    return _of_template(args.template, args.locale or "en")


def _of_template(name: str, locale: str) -> Source:
    reports, alerts = template_search_path("reports"), template_search_path("alerts")
    if name in _templates(reports):
        from kimi_provider.reports.sample import sample_report

        recipe = ReportRecipe(template=name, title="Sample report", locale=locale)
        return ReportSource(*sample_report(), recipe, reports)
    if name in _templates(alerts):
        return NoticeSource(name, locale, (*alerts, *reports))
    raise ConfigurationError(
        f"There is no template {name!r}. Reports: {', '.join(_templates(reports))}. "
        f"Alerts: {', '.join(_templates(alerts))}. More are looked for in templates_path of the section"
        " kimi."
    )


def _templates(folders: tuple[Path, ...]) -> list[str]:
    names = {file.name.removesuffix(_ENDING) for one in folders for file in one.glob(f"*{_ENDING}")}
    return sorted(names - _PARTS)


def _of_dag(dag_id: str, task_id: str | None, template: str | None, locale: str | None) -> ReportSource:
    # Airflow's tables take long to load, and sample data need none.
    from kimi_provider.cli.results import last_analysis
    from kimi_provider.hooks.making import sheet_of

    dag, file = _dag(dag_id)
    task = _report_task(dag, task_id)
    found = last_analysis(dag_id, task.upstream_task_ids) or last_analysis(dag_id)
    if found is None:
        raise ConfigurationError(
            f"The DAG {dag_id!r} has no analysis in Airflow's database yet. Run it once, or look at its"
            " template with sample data: --template NAME, without the DAG."
        )
    place, analysis = found
    try:
        sheet = sheet_of(analysis)
    except FileNotFoundError:
        raise ConfigurationError(
            f"The facts of the last analysis of {dag_id!r} (run {place.run_id!r}) are not in storage any"
            " more: they may have expired. Run the DAG again."
        ) from None
    changes = {name: value for name, value in (("template", template), ("locale", locale)) if value}
    recipe = _recipe(task, place).model_copy(update=changes)
    return ReportSource(analysis, sheet, recipe, template_search_path("reports", dag), (file,))


def _dag(dag_id: str) -> tuple[DAG, Path]:
    """Parse a DAG from its file, which says how it is now; return both."""
    from airflow.dag_processing.dagbag import DagBag
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        fileloc = session.scalar(select(DagModel.fileloc).where(DagModel.dag_id == dag_id))
    if fileloc is None:
        raise ConfigurationError(f"Airflow knows no DAG {dag_id!r}. See: airflow dags list")
    if not Path(fileloc).is_file():
        raise ConfigurationError(
            f"The file of the DAG {dag_id!r}, {fileloc}, is not on this machine. Run this where the DAGs"
            " are, or look at the template with sample data: --template NAME, without the DAG."
        )
    bag = DagBag(fileloc, load_op_links=False)
    if dag_id not in bag.dags:
        errors = "\n".join(bag.import_errors.values()).strip()
        raise ConfigurationError(f"{fileloc} makes no DAG {dag_id!r}. {errors}".rstrip())
    return bag.dags[dag_id], Path(fileloc)


def _report_task(dag: DAG, task_id: str | None) -> Any:
    from kimi_provider.operators.report import ReportOperator

    tasks = {
        task.task_id: task
        for task in dag.tasks
        if issubclass(getattr(task, "operator_class", type(task)), ReportOperator)
    }
    if task_id is None and len(tasks) == 1:
        return next(iter(tasks.values()))
    if task_id in tasks:
        return tasks[task_id]
    named = ", ".join(sorted(tasks)) or "none"
    wanted = "several tasks make reports" if task_id is None else f"{task_id!r} makes no report"
    wanted = "no task makes a report" if not tasks else wanted
    raise ConfigurationError(
        f"In the DAG {dag.dag_id!r} {wanted}. Tasks with a ReportOperator: {named}; choose by --task-id."
    )


def _recipe(task: Any, place: Returned) -> ReportRecipe:
    """Return how the task draws now; what Airflow fills in at a run is as it was in the last one."""
    given = getattr(task, "partial_kwargs", None)
    fields = {
        name: (given.get(name) if given is not None else getattr(task, name))
        for name in ReportRecipe.model_fields
        if name != "brand"
    }
    then = _last_recipe(task.task_id, place)
    rendered = {name: getattr(then, name) for name in fields} if then else {}
    for name, value in list(fields.items()):
        if value is None or not _is_filled_in(value):
            continue
        fields[name] = rendered.get(name)
    brand = given.get("brand") if given is not None else task.brand
    known = {name: value for name, value in fields.items() if value is not None}
    for name in ("link_hosts", "formats"):
        if name in known and not isinstance(known[name], str):
            known[name] = tuple(known[name])
    known.setdefault("template", "daily_brief")
    return ReportRecipe(**known, brand=ReportRecipe.brand_fields(brand))


def _is_filled_in(value: Any) -> bool:
    """Whether Airflow renders it at a run: a text with braces, or another task's output."""
    if isinstance(value, str):
        return any(mark in value for mark in _OPEN)
    return not isinstance(value, bool | int | tuple | list | set | frozenset)


def _last_recipe(task_id: str, place: Returned) -> ReportRecipe | None:
    """Return what the last run's report was drawn by, ``None`` where that is not known."""
    # Of a slice, the report has the index that its analysis has.
    folder = instance_folder(place.dag_id, place.run_id, task_id, place.map_index)
    try:
        return ReportRecipe.model_validate_json(read_text(folder / RECIPE_FILE))
    except (FileNotFoundError, ValueError):
        return None
