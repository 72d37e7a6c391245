"""Agent: Kimi works with tools, under permissions and limits, and asks a person where it must."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import TaskAwaitingInput

from kimi_provider.hooks.storage import open_uri, task_folder
from kimi_provider.operators.thinking import KimiOperator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta

    from airflow.sdk import Context

    from kimi_provider.analysis.caller import Caller
    from kimi_provider.analysis.permissions import Approval
    from kimi_provider.analysis.tools import Tool
    from kimi_provider.analysis.transcript import ApprovalNeeded
    from kimi_provider.hooks.lineage import Lineage
    from kimi_provider.storage import StoragePath

_REFUSE = "Refuse"
_WAITING = "approval.json"
_LONGEST_SHOWN = 4_000


class KimiAgentOperator(KimiOperator):
    """Lets Kimi work with tools until it answers; returns the answer and what it took.

    Each finished model call and tool result is kept, so that a retry, or another worker after a kill,
    goes on at the first step that was not done. Where the policy says ``ask``, the task leaves its
    worker and waits in Airflow for a person, and then goes on where it stood; what was not approved is
    refused, and the model is told.

    :param prompt: what to do. (templated)
    :param system: the system message. (templated)
    :param tools: functions made tools by :func:`kimi_provider.analysis.tools.tool`.
    :param datasets: what fetch operators returned, by the name that the tool ``query_data`` gives
        each as a table. (templated)
    :param fetch_hosts: hosts that the tool ``fetch_url`` may read; none of them may lead into a
        private network. (templated)
    :param formulas: Moonshot's own tools, such as ``moonshot/web-search:latest``. (templated)
    :param policy: by glob over tool names: ``allow``, ``ask``, ``deny``, or rules down to arguments;
        see :mod:`kimi_provider.analysis.permissions`.
    :param limits: any of ``max_steps``, ``max_tool_calls``, ``max_tokens``, ``max_cost_usd``,
        ``max_seconds``, ``max_concurrent_tools`` of :class:`~kimi_provider.analysis.agent.AgentLimits`.
    :param assigned_users: who may decide, as ``{"id": …, "name": …}``; by default everyone who may.
    :param response_timeout: how long to wait for a person; then what was asked about is refused.
    :param kwargs: the parameters of :class:`~kimi_provider.operators.thinking.KimiOperator`
        (connection, model, cost, ``deferrable``), and Airflow's own. With ``deferrable``, the model is
        asked in the triggerer, and tools run on a worker, each turn of them by itself: a triggerer
        serves all tasks of all DAGs, so nothing runs there that a DAG brings or that computes.
    :returns: ``text``, ``steps``, ``tool_calls`` (how many), ``usage``, ``limit`` (the one that ended
        the run, if any) and ``trace_uri``.
    :raises ToolLoopLimitError: if a limit was met and the model gave no answer then.
    :raises APIError: if the model's host fails; its class says whether a retry helps.
    """

    template_fields: Sequence[str] = (
        "prompt",
        "system",
        "datasets",
        "fetch_hosts",
        "formulas",
        *KimiOperator.template_fields,
    )

    def __init__(
        self,
        *,
        prompt: str,
        system: str | None = None,
        tools: Sequence[Tool] = (),
        datasets: Mapping[str, Any] | None = None,
        fetch_hosts: Sequence[str] = (),
        formulas: Sequence[str] = (),
        policy: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
        assigned_users: Sequence[Mapping[str, str]] = (),
        response_timeout: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.system = system
        self.tools = tools
        self.datasets = datasets or {}
        self.fetch_hosts = fetch_hosts
        self.formulas = formulas
        self.policy = policy or {}
        self.limits = limits or {}
        self.assigned_users = assigned_users
        self.response_timeout = response_timeout

    def execute(self, context: Context) -> dict[str, Any]:
        """Work until there is an answer, or a person has to be asked."""
        return self._go(context)

    def execute_complete(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on with the answer that the triggerer has got."""
        return self._go(context, event)

    def execute_decided(self, context: Context, event: Mapping[str, Any]) -> dict[str, Any]:
        """Go on after a person has decided, or the time to decide is over."""
        return self._go(context, approvals=_decisions(task_folder(context) / _WAITING, event))

    def _go(
        self,
        context: Context,
        event: Mapping[str, Any] | None = None,
        approvals: Mapping[str, Approval] | None = None,
    ) -> dict[str, Any]:
        from kimi_provider.analysis.transcript import ApprovalNeeded

        folder = task_folder(context)
        outcome = self._think(context, lambda caller: self._run(caller, approvals or {}), event)
        if isinstance(outcome, ApprovalNeeded):
            self._ask(context, folder, outcome)
        self.log.info(
            "Answered after %d steps and %d tool calls", outcome.steps, len(outcome.tool_calls)
        )
        return {
            "text": outcome.text,
            "steps": outcome.steps,
            "tool_calls": len(outcome.tool_calls),
            "limit": outcome.limit,
            "usage": outcome.usage.model_dump(mode="json"),
            "trace_uri": (folder / "trace.json").as_uri(),
        }

    def _planned(self) -> Lineage:
        from kimi_provider.hooks.lineage import Lineage, places_of_datasets

        return Lineage(inputs=places_of_datasets(self.datasets))

    async def _run(self, caller: Caller, approvals: Mapping[str, Approval]) -> Any:
        from kimi_provider.analysis.agent import AgentLimits, run_agent
        from kimi_provider.analysis.permissions import Policy
        from kimi_provider.client import ChatRequest, Message

        messages = (
            *([Message.system(self.system)] if self.system else []),
            Message.user(self.prompt),
        )
        async with self._toolbox(caller) as tools:
            # Without a transcript to resume: the journal replays what was done, and also where
            # Airflow forgot what it was told to keep for the task.
            return await run_agent(
                caller,
                ChatRequest(messages=messages),
                tools,
                limits=AgentLimits(**self.limits),
                policy=Policy.from_mapping(self.policy),
                approvals=approvals,
            )

    @asynccontextmanager
    async def _toolbox(self, caller: Caller) -> AsyncIterator[list[Tool]]:
        """Give all tools, the datasets' database open for as long as they are used."""
        tools = list(self.tools)
        async with AsyncExitStack() as stack:
            if self.fetch_hosts:
                from kimi_provider.analysis.web import fetch_tool

                tools.append(fetch_tool(self.fetch_hosts))
            if self.formulas:
                from kimi_provider.analysis.formula import formula_tools

                tools += await formula_tools(caller.client, self.formulas)
            if self.datasets:
                tools.append(await asyncio.to_thread(_query_tool, self.datasets, stack))
            yield tools

    def _ask(self, context: Context, folder: StoragePath, needed: ApprovalNeeded) -> None:
        """Park the task until a person has decided."""
        from airflow.sdk.execution_time.hitl import HITLUser, upsert_hitl_detail

        from kimi_provider.storage import write_text

        write_text(folder / _WAITING, needed.model_dump_json())
        self.log.info("%d tool calls wait for a person", len(needed.requests))
        upsert_hitl_detail(
            ti_id=context["ti"].id,
            options=[*_options(needed), _REFUSE],
            subject=f"{self.task_id}: may Kimi make these tool calls?",
            body=_body(needed),
            defaults=[_REFUSE] if self.response_timeout else None,
            multiple=True,
            params={},
            assigned_users=[HITLUser(id=u["id"], name=u["name"]) for u in self.assigned_users],
        )
        raise TaskAwaitingInput(method_name="execute_decided", timeout=self.response_timeout)


def _query_tool(datasets: Mapping[str, Any], stack: AsyncExitStack) -> Tool:
    from kimi_provider.analysis.database import Database
    from kimi_provider.analysis.sql_tool import sql_tool
    from kimi_provider.schemas import DatasetRef
    from kimi_provider.storage import reading

    references = {name: DatasetRef.model_validate(value) for name, value in datasets.items()}
    files = stack.enter_context(ExitStack())
    local = {name: files.enter_context(reading(open_uri(ref.uri))) for name, ref in references.items()}
    return sql_tool(stack.enter_context(Database(local)), references)


def _options(needed: ApprovalNeeded) -> list[str]:
    return [f"Approve {number}: {asked.tool}" for number, asked in enumerate(needed.requests, 1)]


def _body(needed: ApprovalNeeded) -> str:
    """Show each call as a code block: what the model wrote is shown, never rendered."""
    import json

    parts = []
    for number, asked in enumerate(needed.requests, 1):
        arguments = json.dumps(asked.arguments, indent=2, ensure_ascii=False)
        shown = arguments if len(arguments) <= _LONGEST_SHOWN else f"{arguments[:_LONGEST_SHOWN]} …"
        block = "\n".join(f"    {line}" for line in shown.splitlines())
        parts.append(f"**{number}. {asked.tool}** ({asked.reason})\n\n{block}")
    return "\n\n".join([*parts, "What is not approved is refused."])


def _decisions(path: StoragePath, event: Mapping[str, Any]) -> dict[str, Approval]:
    """Read a person's choice; no choice, and the end of the time to choose, refuse."""
    from kimi_provider.analysis.permissions import Approval
    from kimi_provider.analysis.transcript import ApprovalNeeded
    from kimi_provider.storage import read_text

    needed = ApprovalNeeded.model_validate_json(read_text(path))
    chosen = set(event.get("chosen_options") or ())
    user = event.get("responded_by_user") or {}
    by = str(user.get("name") or user.get("id") or "") if isinstance(user, dict) else str(user)
    return {
        asked.key: Approval(
            approved=option in chosen and _REFUSE not in chosen,
            by=by,
            note="" if event.get("chosen_options") else "nobody decided in time",
        )
        for option, asked in zip(_options(needed), needed.requests, strict=True)
    }
