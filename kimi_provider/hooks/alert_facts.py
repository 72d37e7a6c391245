"""Facts for rules: from a sheet that somebody else has made, and computed here, by no model."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError, SourceError
from kimi_provider.hooks.storage import open_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kimi_provider.analysis.metrics import Metric
    from kimi_provider.schemas import DatasetRef, Fact


def sheet_facts(source: Any) -> dict[str, Fact]:
    """Return the facts of a sheet by id.

    :param source: the sheet, as a value or plain JSON, or its URI.
    """
    from kimi_provider.schemas import FactSheet
    from kimi_provider.storage import read_bytes

    sheet = (
        FactSheet.model_validate_json(read_bytes(open_uri(source)))
        if isinstance(source, str)
        else FactSheet.model_validate(source)
    )
    return {fact.id: fact for fact in sheet.facts}


def computed_facts(metrics: Mapping[str, Any], datasets: Mapping[str, DatasetRef]) -> dict[str, Fact]:
    """Return the facts that SQL computes over datasets. Blocks.

    :param metrics: SQL by the metric's id, or a mapping with what else a prompt template says of one.
    :param datasets: the tables of the SQL.
    :raises ConfigurationError: if a metric is malformed or cannot be computed; names it.
    :raises SourceError: if a dataset is gone.
    """
    from kimi_provider.analysis.database import Database
    from kimi_provider.analysis.facts import compute_facts
    from kimi_provider.storage import reading

    if not datasets:
        raise ConfigurationError("metrics are computed from datasets; give the alert some.")
    made = [_metric(metric_id, given) for metric_id, given in metrics.items()]
    with ExitStack() as stack:
        files = {}
        for name, ref in datasets.items():
            try:
                files[name] = stack.enter_context(reading(open_uri(ref.uri)))
            except FileNotFoundError:
                raise SourceError(
                    f"The dataset {name!r} is not at {ref.uri} any more; fetch it again"
                ) from None
        database = stack.enter_context(Database(files))
        sheet = compute_facts(database, made, {}, datasets=datasets)
    return {fact.id: fact for fact in sheet.facts}


def _metric(metric_id: str, given: Any) -> Metric:
    from pydantic import ValidationError

    from kimi_provider.analysis.metrics import Metric

    fields = {"sql": given} if isinstance(given, str) else dict(given)
    try:
        return Metric.model_validate({**fields, "id": metric_id})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ConfigurationError(f"metrics: {metric_id!r}: {where}: {first['msg']}.") from None
