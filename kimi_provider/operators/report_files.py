"""Reports as YAML files in ``dags/``: a new one is fifteen lines and no Python.

The DAG file beside them is one line (Airflow looks into a file only if it has the words "dag" and
"airflow" in it)::

    from kimi_provider.operators.report_files import load_reports  # Airflow DAGs

    load_reports(__file__)

A file has the arguments of :func:`~kimi_provider.operators.kimi_report.kimi_report` by their names,
and those of its DAG: ``id`` (by default the file's name), ``description``, ``schedule``,
``start_date``, ``catchup``, ``tags``, ``retries``, ``retry_delay``, ``max_active_runs``. Durations are
written ``30m``, ``4h`` or ``2d``. The schedule runs in the report's ``timezone``. Receivers are Python
objects, so a report with routes to them needs a DAG of its own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import DAG

PATTERN = "*report.yaml"


def load_reports(beside: str | Path, pattern: str = PATTERN) -> list[DAG]:
    """Build a DAG of each YAML file in the folder of a DAG file.

    :param beside: the DAG file, its ``__file__``.
    :param pattern: names of the files; ``sales/*.yaml`` looks into a folder.
    :returns: the DAGs, which Airflow finds by itself.
    :raises ConfigurationError: if any file is wrong, or none matches. Names each file, line and key, so
        that all can be mended at once; no DAG of the DAG file is updated then. Give a report that must
        not suffer from others a DAG file of its own.
    """
    folder = Path(beside).resolve().parent
    files = sorted(folder.glob(pattern))
    if not files:
        raise ConfigurationError(f"No file in {folder} matches {pattern!r}.")
    dags: dict[str, tuple[Path, DAG]] = {}
    problems: list[str] = []
    for file in files:
        try:
            dag = load_report(file)
        except ConfigurationError as error:
            problems.append(str(error))
            continue
        if dag.dag_id in dags:
            problems.append(f"{file}: the id {dag.dag_id!r} is that of {dags[dag.dag_id][0].name} too.")
        dags[dag.dag_id] = (file, dag)
    if problems:
        raise ConfigurationError("\n".join(problems))
    return [dag for _, dag in dags.values()]


def load_report(file: str | Path) -> DAG:
    """Build the DAG of one YAML file.

    :raises ConfigurationError: if the file is wrong; names file, line and key of all that is.
    """
    from airflow.sdk import DAG

    from kimi_provider.operators.kimi_report import kimi_report
    from kimi_provider.operators.report_schema import checked
    from kimi_provider.operators.report_yaml import ReportYaml

    document = ReportYaml.read(Path(file))
    arguments, report = checked(document)
    try:
        dag = DAG(**arguments)  # noqa: AIR002 — the schedule is among them
    except Exception as error:  # Airflow raises what its timetables do
        key = ("schedule",) if "chedule" in str(error) or "cron" in str(error).lower() else ()
        raise ConfigurationError(document.at(key, f"Airflow refuses the DAG: {error}")) from error
    with dag:
        try:
            kimi_report(None, **_with_defaults(report, arguments))
        except (ConfigurationError, TypeError, ValueError) as error:
            raise ConfigurationError(document.at((), str(error))) from error
    return dag


def _with_defaults(report: dict[str, Any], arguments: dict[str, Any]) -> dict[str, Any]:
    title = arguments["dag_id"].replace("_", " ").capitalize()
    return {"title": title, **report}
