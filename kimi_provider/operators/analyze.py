"""Analyze: Kimi reads computed facts and writes what they mean, without typing a digit."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, get_args

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.failure import airflow_failures
from kimi_provider.hooks.kimi import KimiHook
from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.hooks.templates import template_search_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from airflow.sdk import Context

    from kimi_provider.analysis.partial import PartResult
    from kimi_provider.analysis.trace import Trace
    from kimi_provider.exceptions import KimiProviderError
    from kimi_provider.schemas import Analysis

OnFailure = Literal["fail", "fallback", "skip"]
OnNoData = Literal["fail", "report", "skip"]


class KimiAnalyzeOperator(BaseOperator):
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
    :param kimi_conn_id: the ``kimi`` connection. (templated)
    :param fallback_conn_ids: connections to ask, in order, when the host is down. (templated)
    :param model: model id, in place of the template's and the connection's. (templated)
    :param max_cost_usd: what all attempts together may cost, in US dollars; a call that might cost
        more is not made. (templated)
    :param strategy: in place of the template's. (templated)
    :param grounding: in place of the template's: a word for all checks (``strict``, ``annotate``,
        ``warn``), or the fields of
        :class:`~kimi_provider.analysis.grounding_policy.GroundingPolicy`. (templated)
    :param on_llm_failure: ``fail``, ``fallback``, or ``skip`` (the task is skipped).
    :param on_no_data: where there is nothing to write about: ``fail``, ``report`` (an empty analysis,
        of which the report says so), or ``skip``.
    :param partials: what the tasks of :class:`~kimi_provider.operators.map_reduce.KimiMapOperator`
        returned; the text is then not read here. (templated)
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
        "kimi_conn_id",
        "fallback_conn_ids",
        "model",
        "max_cost_usd",
        "strategy",
        "grounding",
        "partials",
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
        self.kimi_conn_id = kimi_conn_id
        self.fallback_conn_ids = fallback_conn_ids
        self.model = model
        self.max_cost_usd = max_cost_usd
        self.strategy = strategy
        self.grounding = grounding
        self.on_llm_failure = on_llm_failure
        self.on_no_data = on_no_data
        self.partials = partials

    def execute(self, context: Context) -> dict[str, Any]:
        """Compute the facts, ask the model, check what it wrote."""
        from kimi_provider.analysis.fallback import MODEL_FAILURES
        from kimi_provider.analysis.trace import Trace
        from kimi_provider.exceptions import NoDataError

        try:
            with airflow_failures():
                hook = KimiHook(
                    self.kimi_conn_id, model=self.model, fallback_conn_ids=self.fallback_conn_ids
                )
                # Read here, since Airflow's async connections do not work under dag.test().
                key = hook.get_conn().config.api_key
                try:
                    analysis = asyncio.run(self._analyze(hook, context, Trace(secrets=[key])))
                except NoDataError as error:
                    if self.on_no_data == "skip":
                        raise AirflowSkipException(f"No data: {error}") from error
                    raise
                except MODEL_FAILURES as error:
                    if self.on_llm_failure == "skip" and _is_final(error, context):
                        raise AirflowSkipException(f"{type(error).__name__}: {error}") from error
                    raise
        finally:
            self.log.info("Trace of the analysis: %s", (task_folder(context) / "trace.json").as_uri())
        return analysis.model_dump(mode="json")

    async def _analyze(self, hook: KimiHook, context: Context, trace: Trace) -> Analysis:
        from kimi_provider.analysis.analyst import AnalysisOptions, analyze
        from kimi_provider.analysis.budget import Budget
        from kimi_provider.analysis.grounding_policy import GroundingPolicy
        from kimi_provider.analysis.prompts import PromptTemplate
        from kimi_provider.analysis.strategy import strategy_named
        from kimi_provider.schemas import DatasetRef

        template = PromptTemplate.load(self.prompt, template_search_path("prompts", self.dag))
        references = {name: DatasetRef.model_validate(value) for name, value in self.datasets.items()}
        folder = task_folder(context)
        grounding = self.grounding
        options = AnalysisOptions(
            model=self.model,
            strategy=strategy_named(self.strategy) if self.strategy else None,
            grounding=GroundingPolicy.given(
                dict(grounding) if grounding and not isinstance(grounding, str) else grounding  # type: ignore[arg-type]  # a mapping or a word
            ),
            falls_back=lambda error: self.on_llm_failure == "fallback" and _is_final(error, context),
            reports_no_data=self.on_no_data == "report",
            parts=await asyncio.to_thread(_parts, self.partials),
        )
        budget = Budget(max_cost_usd=self.max_cost_usd)
        async with hook.caller(folder, trace=trace, budget=budget, on_progress=self.log.info) as caller:
            return await analyze(
                caller=caller,
                template=template,
                datasets={name: (ref, open_uri(ref.uri)) for name, ref in references.items()},
                params=self.parameters,
                folder=folder,
                options=options,
                on_progress=self.log.info,
            )


def _is_final(error: KimiProviderError, context: Context) -> bool:
    """Whether no later try of the task can do better: none helps, or none is left."""
    ti = context["ti"]
    return not error.retryable or ti.try_number > (getattr(ti, "max_tries", 0) or 0)


def _parts(partials: Any) -> tuple[PartResult, ...]:
    """Read what the tasks that read the parts have stored.

    :raises ConfigurationError: if none has.
    """
    from kimi_provider.analysis.partial import PartResult
    from kimi_provider.storage import read_bytes

    if partials is None:
        return ()
    found = list(partials)
    if not found:
        raise ConfigurationError("partials is empty: no task has read a part of the text")
    return tuple(PartResult.model_validate_json(read_bytes(open_uri(one["uri"]))) for one in found)
