"""Analyze: Kimi reads computed facts and writes what they mean, without typing a digit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.hooks.templates import template_search_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow.sdk import Context

    from kimi_provider.analysis.trace import Trace
    from kimi_provider.schemas import Analysis


class KimiAnalyzeOperator(BaseOperator):
    """Lets Kimi analyze datasets; returns an :class:`~kimi_provider.schemas.Analysis`.

    The template's metrics are computed from the data by SQL, each figure with an id. The model gets
    the figures, never the rows, and cites them as ``[[id]]``; a text that cites an unknown id, or
    holds a digit of its own, is sent back once and then fails. Finished calls are kept, so that a
    retry pays for none of them again.

    :param prompt: name of the template in ``templates/prompts``. (templated)
    :param datasets: what fetch operators returned, by the table name that the metrics use. (templated)
    :param parameters: values for the template's parameters, bound into its SQL. (templated)
    :param kimi_conn_id: the ``kimi`` connection. (templated)
    :param fallback_conn_ids: connections to ask, in order, when the host is down. (templated)
    :param model: model id, in place of the template's and the connection's. (templated)
    :param max_cost_usd: what all attempts together may cost, in US dollars; a call that might cost
        more is not made. (templated)
    :raises ConfigurationError: if template, parameters, metrics or connection are wrong; nothing was
        paid.
    :raises UngroundedError: if the text is still not grounded in the facts after its repair.
    :raises APIError: if the model's host fails; its class says whether a retry helps.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "datasets",
        "parameters",
        "kimi_conn_id",
        "fallback_conn_ids",
        "model",
        "max_cost_usd",
    )
    ui_color = "#e6f4ea"

    def __init__(
        self,
        *,
        prompt: str,
        datasets: Mapping[str, Any],
        parameters: Mapping[str, Any] | None = None,
        kimi_conn_id: str = KimiHook.default_conn_name,
        fallback_conn_ids: Sequence[str] | str | None = None,
        model: str | None = None,
        max_cost_usd: Decimal | float | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.datasets = datasets
        self.parameters = parameters or {}
        self.kimi_conn_id = kimi_conn_id
        self.fallback_conn_ids = fallback_conn_ids
        self.model = model
        self.max_cost_usd = max_cost_usd

    def execute(self, context: Context) -> dict[str, Any]:
        """Compute the facts, ask the model, check what it wrote."""
        from kimi_provider.analysis.trace import Trace

        with airflow_failures():
            hook = KimiHook(
                self.kimi_conn_id, model=self.model, fallback_conn_ids=self.fallback_conn_ids
            )
            # Read here, since Airflow's async connections do not work under dag.test().
            key = hook.get_conn().config.api_key
            analysis = asyncio.run(self._analyze(hook, context, Trace(secrets=[key])))
        self.log.info("Trace of the analysis: %s", analysis.trace_uri)
        return analysis.model_dump(mode="json")

    async def _analyze(self, hook: KimiHook, context: Context, trace: Trace) -> Analysis:
        from kimi_provider.analysis.analyst import AnalysisOptions, analyze
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.prompts import PromptTemplate
        from kimi_provider.schemas import DatasetRef

        template = PromptTemplate.load(self.prompt, template_search_path("prompts", self.dag))
        references = {name: DatasetRef.model_validate(value) for name, value in self.datasets.items()}
        folder = task_folder(context)
        budget = Budget(max_cost_usd=self.max_cost_usd)
        async with hook.caller(folder, trace=trace, budget=budget, on_progress=self.log.info) as caller:
            return await analyze(
                caller=caller,
                template=template,
                datasets={name: (ref, open_uri(ref.uri)) for name, ref in references.items()},
                params=self.parameters,
                folder=folder,
                options=AnalysisOptions(model=self.model),
                on_progress=self.log.info,
            )
