"""One report for each value of a column: each carrier, each region with its own readers and figures.

:func:`kimi_provider.operators.kimi_report.kimi_report` builds it; by hand it is::

    slices = KimiSliceOperator(
        task_id="slice", datasets=fetched, by="carrier", recipients={"UA": "ua@example.org"}
    ).output


    @task_group
    def each(datasets, to, title, value):
        analysis = KimiAnalyzeOperator(task_id="analyze", prompt="flights", datasets=datasets).output
        report = ReportOperator(task_id="report", analysis=analysis, title=title).output
        AlertOperator(task_id="alert", analysis=analysis, report=report, rules=[Always()], to=to)


    each.expand_kwargs(slices)

Asked once for all, the model writes about the whole before, and ``KimiRetellOperator`` stands in for
``KimiAnalyzeOperator`` in the group.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.hooks.templates import template_search_path
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kimi_provider.alerts.recipients_from import Source
    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.schemas import Analysis, DatasetRef
    from kimi_provider.storage import StoragePath

OTHERS = "*"
"""In ``recipients``: who gets the slices that are not named."""


class KimiSliceOperator(LineageOperator):
    """Cuts datasets by the values of a column; returns what each slice's tasks take.

    Every dataset that has the column is cut, and the others go to all slices as they are.

    :param datasets: what fetch operators returned, by name. (templated)
    :param by: the column; its values are compared as texts. (templated)
    :param recipients: who gets which slice, by value: addresses with commas between, a list, or
        where they are kept, such as ``FromVariable``; ``*`` is who gets those not named. A mapping, or
        JSON, such as that of a Variable. Without it, every slice goes to ``to``. A value that is named
        and has no rows has no slice. (templated)
    :param to: who gets the slices where there are no ``recipients``. (templated)
    :param title: of the reports; each gets its value behind it. (templated)
    :param max_slices: how many there may be; each is a report, and a mapped task a stage.
    :returns: for each value ``value``, ``datasets``, ``to`` and ``title``, for
        ``task_group.expand_kwargs(…)``.
    :raises ConfigurationError: if no dataset has the column, or recipients are no mapping.
    :raises SourceError: if there are more values than allowed, or a dataset is gone.
    :raises NoDataError: if no value has rows.
    """

    template_fields: Sequence[str] = ("datasets", "by", "recipients", "to", "title")
    ui_color = "#f3e8fd"

    def __init__(
        self,
        *,
        datasets: Mapping[str, Any],
        by: str,
        recipients: Mapping[str, Any] | str | None = None,
        to: str | Source | Sequence[str | Source] = (),
        title: str | None = None,
        max_slices: int = 100,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.datasets = datasets
        self.by = by
        self.recipients = recipients
        self.to = to
        self.title = title
        self.max_slices = max_slices

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Cut the datasets into the task's folder."""
        from kimi_provider.hooks.lineage import places_of_datasets
        from kimi_provider.schemas import DatasetRef

        with airflow_failures():
            refs = {name: DatasetRef.model_validate(value) for name, value in self.datasets.items()}
            slices = self._slices(refs, task_folder(context))
        # A dataset without the column goes to all slices as it is.
        read = {ref.uri for ref in refs.values()}
        cuts = [place for part in slices for place in places_of_datasets(part["datasets"])]
        made = tuple(place for place in cuts if place.uri not in read)
        self._tell(outputs=made)
        return slices

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.lineage import Lineage, places_of_datasets

        return Lineage(inputs=places_of_datasets(self.datasets))

    def _slices(self, refs: Mapping[str, DatasetRef], folder: StoragePath) -> list[dict[str, Any]]:
        import hashlib

        from kimi_provider.exceptions import NoDataError
        from kimi_provider.sources.slicing import cut

        cuttable = [name for name, ref in refs.items() if self.by in {c.name for c in ref.columns}]
        if not cuttable:
            raise ConfigurationError(
                f"by={self.by!r}: no dataset has this column. There are "
                + "; ".join(
                    f"{name}: {', '.join(c.name for c in ref.columns)}" for name, ref in refs.items()
                )
            )
        readers = self._readers(refs, cuttable)
        if not readers:
            raise NoDataError(f"No value of {self.by!r} has rows and recipients; nothing is reported.")
        shared = {name: ref.model_dump(mode="json") for name, ref in refs.items()}
        parts: dict[str, dict[str, Any]] = {value: dict(shared) for value in readers}
        for name in cuttable:
            # A value can have any characters, so that it makes no name of a file.
            digests = {value: hashlib.sha256(value.encode()).hexdigest()[:16] for value in readers}
            cuts = cut(
                refs[name],
                open_uri(refs[name].uri),
                self.by,
                readers,
                lambda value, name=name, digests=digests: folder / f"{name}-{digests[value]}.parquet",  # type: ignore[misc]  # bound early
            )
            for value, ref in cuts.items():
                parts[value][name] = ref.model_dump(mode="json")
        self.log.info("%d slices by %s", len(parts), self.by)
        return [
            {
                "value": value,
                "datasets": parts[value],
                "to": readers[value],
                "title": f"{self.title} · {value}" if self.title else value,
            }
            for value in readers
        ]

    def _readers(self, refs: Mapping[str, DatasetRef], cuttable: Sequence[str]) -> dict[str, Any]:
        """Return who gets the slice of each value that has rows."""
        from kimi_provider.sources.slicing import values_of

        wanted = self._wanted()
        others = _read(self.to if wanted is None else wanted.get(OTHERS))
        # Beyond what is named there may be any number of values, where nobody is told of them.
        most = self.max_slices if others is not None else 100_000
        found: dict[str, None] = {}
        for name in cuttable:
            found |= dict.fromkeys(values_of(open_uri(refs[name].uri), self.by, most=most))
        named = wanted or {}
        for value in named.keys() - found.keys() - {OTHERS}:
            self.log.warning("%s=%s has no rows, and so no report", self.by, value)
        chosen = {value: _read(named[value]) if value in named else others for value in sorted(found)}
        return {value: to for value, to in chosen.items() if to is not None}

    def _wanted(self) -> dict[str, Any] | None:
        given: Any = self.recipients
        if isinstance(given, str):
            try:
                given = json.loads(given)
            except ValueError:
                given = ()
        if given is None:
            return None
        if not isinstance(given, dict):
            raise ConfigurationError(
                "recipients must be a mapping from a value to addresses, or such a mapping as JSON."
            )
        return {str(value): to for value, to in given.items()}


def _read(to: Any) -> Any:
    """Return recipients as texts, which tasks can hand on, with those kept elsewhere read."""
    from kimi_provider.hooks.recipients import read_recipients

    return to if to is None or isinstance(to, str) else read_recipients(to)


class KimiRetellOperator(LineageOperator):
    """Tells the analysis of the whole of one slice, as far as it is true of it; asks no model.

    The model's text cites facts by id, and a slice has facts of the same ids. Each sentence is held
    against the slice's own facts; those that do not hold, or that name what the slice does not know,
    are left out. Where nothing is left, the slice's facts stand alone. How severe a finding is of the
    whole says nothing of a slice, so each is an ``info``.

    :param whole: what :class:`~kimi_provider.operators.analyze.KimiAnalyzeOperator` returned for all the
        data. (templated)
    :param prompt: the template that it was made by. (templated)
    :param datasets: the slice's, by name. (templated)
    :param parameters: values for the template's parameters. (templated)
    :returns: an :class:`~kimi_provider.schemas.Analysis`.
    :raises ConfigurationError: if template or parameters are wrong.
    :raises NoDataError: if the slice has nothing of what the template needs.
    """

    template_fields: Sequence[str] = ("whole", "prompt", "datasets", "parameters")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        whole: Any,
        prompt: str,
        datasets: Mapping[str, Any],
        parameters: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.whole = whole
        self.prompt = prompt
        self.datasets = datasets
        self.parameters = parameters or {}

    def execute(self, context: Context) -> dict[str, Any]:
        """Compute the slice's facts and hold the text against them."""
        from kimi_provider.hooks.lineage import places_of_analysis, told_of_analysis

        with airflow_failures():
            analysis = asyncio.run(self._retell(context))
        score = analysis.grounding.score if analysis.grounding else None
        self.log.info("%d findings are true of the slice, score %s", len(analysis.findings), score)
        facets = {"kimi_analysis": told_of_analysis(analysis)}
        self._tell(outputs=places_of_analysis(analysis), facets=facets)
        return analysis.model_dump(mode="json")

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.lineage import Lineage, places_of_analysis, places_of_datasets

        whole = places_of_analysis(self.whole)
        return Lineage(inputs=(*whole, *places_of_datasets(self.datasets)))

    async def _retell(self, context: Context) -> Analysis:
        from kimi_provider.analysis.prompts import PromptTemplate
        from kimi_provider.analysis.retelling import retold
        from kimi_provider.schemas import Analysis, DatasetRef

        refs = {name: DatasetRef.model_validate(value) for name, value in self.datasets.items()}
        return await retold(
            Analysis.model_validate(self.whole),
            template=PromptTemplate.load(self.prompt, template_search_path("prompts", self.dag)),
            datasets={name: (ref, open_uri(ref.uri)) for name, ref in refs.items()},
            params=self.parameters,
            folder=task_folder(context),
        )
