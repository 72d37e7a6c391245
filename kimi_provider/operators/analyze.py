"""Analyze: Kimi reads computed facts and writes what they mean, without typing a digit."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.sdk.exceptions import AirflowSkipException

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.links import KimiLineageLink, KimiTraceLink
from kimi_provider.hooks.storage import task_folder
from kimi_provider.hooks.templates import template_search_path
from kimi_provider.operators.thinking import KimiOperator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.exceptions import KimiProviderError
    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.hooks.recipes import AnalysisRecipe
    from kimi_provider.schemas import Analysis

OnFailure = Literal["fail", "fallback", "skip"]
OnNoData = Literal["fail", "report", "skip"]


class KimiAnalyzeOperator(KimiOperator):
    """Lets Kimi analyze datasets; returns an :class:`~kimi_provider.schemas.Analysis`.

    The template's metrics are computed from the data by SQL, each figure with an id. The model cites
    figures as ``[[id]]``; a text that cites an unknown id, or holds a digit of its own, is sent back
    once and then treated as the grounding policy says. Finished calls are kept, so that a retry pays
    for none of them again.

    How the data reaches the model is the ``strategy``: ``facts`` (the metrics alone), ``direct`` (rows
    in the prompt), ``tools`` (the model asks the data by SQL and never sees more than it asks for),
    ``map_reduce`` (a text of any size, read in parts; the model sorts the records, SQL counts them).
    ``auto`` takes ``map_reduce`` where the template has ``text``, ``facts`` where it has metrics, and
    else measures: rows that take at most a quarter of the window, and 50,000 tokens, go ``direct``; a
    column of free text beyond that is read; anything else is queried.

    With ``on_llm_failure="fallback"`` a failure of the model (of a call after its retries, of an answer
    that cannot be used, of the budget) gives an analysis of the facts alone, with ``failure`` set to a
    word such as ``rate_limited``. As long as a retry of the task can help and Airflow has retries left,
    the task fails first, so that the retry can do better. Settings and sources that are wrong fail.

    :param prompt: name of the template in ``templates/prompts``. (templated)
    :param datasets: what fetch operators returned, by the table name that SQL uses. (templated)
    :param parameters: values for the template's parameters, bound into its SQL. (templated)
    :param strategy: in place of the template's. (templated)
    :param grounding: in place of the template's: a word for all checks (``strict``, ``annotate``,
        ``warn``), or the fields of
        :class:`~kimi_provider.analysis.grounding_policy.GroundingPolicy`. (templated)
    :param on_llm_failure: ``fail``, ``fallback``, or ``skip`` (the task is skipped).
    :param on_no_data: where there is nothing to write about: ``fail``, ``report`` (an empty analysis,
        of which the report says so), or ``skip``.
    :param partials: what the tasks of :class:`~kimi_provider.operators.map_reduce.KimiMapOperator`
        returned; the text is then not read here. (templated)
    :param kwargs: the parameters of :class:`~kimi_provider.operators.thinking.KimiOperator`
        (connection, model, cost, ``deferrable``), and Airflow's own. With ``deferrable`` the parts of a
        text all go to the triggerer at once.
    :raises ConfigurationError: if template, parameters, metrics or connection are wrong; nothing was
        paid.
    :raises UngroundedError: if the text is still not grounded in the facts after its repair, and the
        policy says ``fail``.
    :raises APIError: if the model's host fails; its class says whether a retry helps.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "datasets",
        "parameters",
        "strategy",
        "grounding",
        "partials",
        *KimiOperator.template_fields,
    )
    operator_extra_links = (KimiTraceLink(), KimiLineageLink())

    def __init__(
        self,
        *,
        prompt: str,
        datasets: Mapping[str, Any],
        parameters: Mapping[str, Any] | None = None,
        strategy: str | None = None,
        grounding: Mapping[str, Any] | str | None = None,
        on_llm_failure: OnFailure = "fail",
        on_no_data: OnNoData = "fail",
        partials: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value, words in (
            ("on_llm_failure", on_llm_failure, get_args(OnFailure)),
            ("on_no_data", on_no_data, get_args(OnNoData)),
        ):
            if value not in words:
                raise ConfigurationError(f"{name}={value!r} is not known; choose one of {words}")
        self.prompt = prompt
        self.datasets = datasets
        self.parameters = parameters or {}
        self.strategy = strategy
        self.grounding = grounding
        self.on_llm_failure = on_llm_failure
        self.on_no_data = on_no_data
        self.partials = partials

    def execute(self, context: Context) -> dict[str, Any]:
        """Compute the facts, ask the model, check what it wrote."""
        return self._analyze(context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with the answers that the triggerer has got."""
        return self._analyze(context, event)

    def _analyze(self, context: Context, event: Mapping[str, Any] | None = None) -> dict[str, Any]:
        from kimi_provider.hooks.lineage import places_of_analysis, told_of_analysis
        from kimi_provider.hooks.metrics import measure_analysis

        folder = task_folder(context)
        with airflow_failures():
            recipe = self._recipe()
            recipe.store(folder)
        try:
            analysis = self._think(context, partial(self._made, recipe, context), event)
        finally:
            self.log.info("Trace of the analysis: %s", (folder / "trace.json").as_uri())
        measure_analysis(context["ti"], analysis)
        facets = {"kimi_analysis": told_of_analysis(analysis)}
        self._tell(outputs=places_of_analysis(analysis), facets=facets)
        return analysis.model_dump(mode="json")

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.lineage import Lineage, places_of_datasets

        return Lineage(inputs=places_of_datasets(self.datasets))

    async def _made(self, recipe: AnalysisRecipe, context: Context, caller: Caller) -> Analysis:
        from kimi_provider.analysis.fallback import MODEL_FAILURES
        from kimi_provider.exceptions import NoDataError
        from kimi_provider.hooks.making import analyzed_by

        try:
            return await analyzed_by(
                caller,
                recipe,
                folder=task_folder(context),
                search_path=template_search_path("prompts", self.dag),
                on_progress=self.log.info,
                falls_back=lambda error: self.on_llm_failure == "fallback" and _is_final(error, context),
                reports_no_data=self.on_no_data == "report",
            )
        except NoDataError as error:
            if self.on_no_data == "skip":
                raise AirflowSkipException(f"No data: {error}") from error
            raise
        except MODEL_FAILURES as error:
            if self.on_llm_failure == "skip" and _is_final(error, context):
                raise AirflowSkipException(f"{type(error).__name__}: {error}") from error
            raise

    def _recipe(self) -> AnalysisRecipe:
        from kimi_provider.hooks.recipes import AnalysisRecipe
        from kimi_provider.schemas import DatasetRef

        others, grounding = self.fallback_conn_ids, self.grounding
        return AnalysisRecipe(
            prompt=self.prompt,
            datasets={name: DatasetRef.model_validate(value) for name, value in self.datasets.items()},
            parameters=dict(self.parameters),
            kimi_conn_id=self.kimi_conn_id,
            fallback_conn_ids=others if others is None or isinstance(others, str) else tuple(others),
            model=self.model,
            max_cost_usd=None if self.max_cost_usd is None else str(self.max_cost_usd),
            strategy=self.strategy,
            grounding=grounding if grounding is None or isinstance(grounding, str) else dict(grounding),
            partials=None if self.partials is None else tuple(self.partials),
        )


def _is_final(error: KimiProviderError, context: Context) -> bool:
    """Whether no later try of the task can do better: none helps, or none is left."""
    ti = context["ti"]
    return not error.retryable or ti.try_number > (getattr(ti, "max_tries", 0) or 0)
