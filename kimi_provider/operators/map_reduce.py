"""Reading a text on many machines: a plan, a mapped task a part, and the analysis of what they found.

::

    plan = KimiPlanOperator(task_id="plan", prompt="text_themes", datasets=fetched)
    parts = KimiMapOperator.partial(task_id="read", prompt="text_themes", datasets=fetched).expand(
        chunk=plan.output
    )
    KimiAnalyzeOperator(
        task_id="analyze", prompt="text_themes", datasets=fetched, partials=parts.output
    )
"""

from __future__ import annotations

import asyncio
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.hooks.templates import template_search_path
from kimi_provider.operators.lineage import LineageOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow.sdk import Context

    from kimi_provider.analysis.budget import Budget
    from kimi_provider.analysis.partial import PartResult
    from kimi_provider.analysis.preparing import Plan
    from kimi_provider.analysis.prompts import PromptTemplate
    from kimi_provider.analysis.trace import Trace
    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.schemas import DatasetRef


class _TextOperator(LineageOperator):
    """What planning and reading share: the template, the data, and the connection."""

    template_fields: Sequence[str] = ("prompt", "datasets", "kimi_conn_id", "model", "max_cost_usd")
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        prompt: str,
        datasets: Mapping[str, Any],
        kimi_conn_id: str = KimiHook.default_conn_name,
        model: str | None = None,
        max_cost_usd: Decimal | float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.datasets = datasets
        self.kimi_conn_id = kimi_conn_id
        self.model = model
        self.max_cost_usd = max_cost_usd

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.lineage import Lineage, places_of_datasets

        return Lineage(inputs=places_of_datasets(self.datasets))

    def _template(self) -> PromptTemplate:
        from kimi_provider.analysis.prompts import PromptTemplate

        return PromptTemplate.load(self.prompt, template_search_path("prompts", self.dag))

    def _references(self) -> dict[str, DatasetRef]:
        from kimi_provider.schemas import DatasetRef

        return {name: DatasetRef.model_validate(value) for name, value in self.datasets.items()}


class KimiPlanOperator(_TextOperator):
    """Cuts a text into the parts that :class:`KimiMapOperator` reads; asks no model, and costs nothing.

    :param prompt: name of the template in ``templates/prompts``; its ``text`` says what is read.
        (templated)
    :param datasets: what fetch operators returned, by name. (templated)
    :param kimi_conn_id: the ``kimi`` connection, for the model's window and prices. (templated)
    :param model: model id, in place of the template's and the connection's. (templated)
    :param max_cost_usd: what reading all parts and writing about them may cost, in US dollars; a plan
        that is likely to cost more fails here, with nothing paid. (templated)
    :returns: the parts, for ``expand(chunk=…)``. Airflow maps at most ``[core] max_map_length`` tasks
        (1,024); the template's ``text.chunk_tokens`` makes fewer of them.
    :raises BudgetExceededError: if the plan does not fit ``max_cost_usd``.
    :raises ConfigurationError: if it is not clear which text is meant.
    :raises NoDataError: if there is none.
    """

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """Cut the text, and hold what reading it takes against the limit."""
        del context
        with airflow_failures():
            return self._plan()

    def _plan(self) -> list[dict[str, Any]]:
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.database import Database
        from kimi_provider.analysis.map_reduce import check_estimate, estimated
        from kimi_provider.analysis.preparing import chunk_plan, local_files, window_of

        template, refs = self._template(), self._references()
        config = KimiHook(self.kimi_conn_id, model=self.model).get_conn().config
        with ExitStack() as stack:
            files = local_files({name: (ref, open_uri(ref.uri)) for name, ref in refs.items()})
            database = stack.enter_context(Database(stack.enter_context(files)))
            window = window_of(template, config, self.model)
            plan: Plan = chunk_plan(template, database, refs, window=window)
        estimate = estimated(plan.chunks, template, config, self.model)
        self.log.info("Reading %s in %d parts: %s", plan.source.column, len(plan.chunks), estimate)
        check_estimate(estimate, Budget(max_cost_usd=self.max_cost_usd))
        source = {"dataset": plan.source.dataset, "column": plan.source.column}
        return [{**source, **chunk.model_dump(mode="json")} for chunk in plan.chunks]


class KimiMapOperator(_TextOperator):
    """Lets Kimi sort the records of one part of a text into themes; nothing is counted yet.

    Each mapped task reads the rows of its own part, on whatever machine it runs, and a retry pays for
    no call twice.

    :param chunk: one part, of those that :class:`KimiPlanOperator` returned. (templated)
    :param kwargs: the parameters of :class:`KimiPlanOperator` (``max_cost_usd`` bounds this part), and
        Airflow's own.
    :returns: ``uri`` of what was found, ``number``, ``records`` and ``themes`` (how many); for
        ``KimiAnalyzeOperator(partials=…)``.
    :raises APIError: if the model's host fails; its class says whether a retry helps.
    :raises ModelOutputError: if the answer cannot be used.
    """

    template_fields: Sequence[str] = ("chunk", *_TextOperator.template_fields)

    def __init__(self, *, chunk: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.chunk = chunk

    def execute(self, context: Context) -> dict[str, Any]:
        """Read one part and store what was found."""
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.trace import Trace
        from kimi_provider.hooks.lineage import Place
        from kimi_provider.hooks.usage import report_usage
        from kimi_provider.storage import write_text

        folder = task_folder(context)
        with airflow_failures():
            hook = KimiHook(self.kimi_conn_id, model=self.model)
            config = hook.get_conn().config
            trace, budget = Trace(secrets=[config.api_key]), Budget(max_cost_usd=self.max_cost_usd)
            try:
                part = asyncio.run(self._read(hook, context, trace, budget))
            finally:
                report_usage(context["ti"], config.model, budget.spent)
                trace.write(folder / "trace.json")
        path = folder / "part.json"
        write_text(path, part.model_dump_json())
        self._tell(outputs=(Place(path.as_uri()),))
        return {
            "uri": path.as_uri(),
            "number": part.number,
            "records": len(part.read),
            "themes": len(part.themes),
        }

    async def _read(self, hook: KimiHook, context: Context, trace: Trace, budget: Budget) -> PartResult:
        from kimi_provider.analysis.chunks import Chunk, TextSource
        from kimi_provider.analysis.database import Database
        from kimi_provider.analysis.map_reduce import read_chunk
        from kimi_provider.analysis.preparing import local_files
        from kimi_provider.hooks.metrics import calls_of

        fields = dict(self.chunk)
        dataset, column = fields.pop("dataset"), fields.pop("column")
        ref = self._references()[dataset]
        with ExitStack() as stack:
            files = local_files({dataset: (ref, open_uri(ref.uri))})
            database = stack.enter_context(Database(stack.enter_context(files)))
            async with hook.caller(
                task_folder(context),
                trace=trace,
                budget=budget,
                on_progress=self.log.info,
                on_call=calls_of(context["ti"]),
            ) as caller:
                return await read_chunk(
                    caller,
                    self._template(),
                    TextSource(database, dataset, column),
                    Chunk.model_validate(fields),
                    sha256=ref.sha256,
                    model=self.model,
                )
