"""What the operators that read or write data share: they tell Airflow where it comes from and goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.providers.openlineage.extractors import OperatorLineage

    from kimi_provider.hooks.lineage import Lineage, Place


class LineageOperator(BaseOperator):
    """Base of the operators that tell lineage, to OpenLineage and to any other listener.

    OpenLineage's provider finds the three methods by their names, and asks in the task's own process:
    before the task runs for what it will read, and after it for what came of it.
    """

    _told: Lineage | None = None

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any] | None:
        """Return what the task is going to read."""
        return self._as_openlineage(self._planned())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what the task has read and written, and what is told of it."""
        del task_instance
        return self._as_openlineage(self._told or self._planned())

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any] | None:
        """Return what the task has read, and what it took until it failed."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _planned(self) -> Lineage:
        """Return what is known before the task has run."""
        from kimi_provider.hooks.lineage import Lineage

        return Lineage()

    def _tell(
        self,
        *,
        inputs: tuple[Place, ...] | None = None,
        outputs: tuple[Place, ...] = (),
        facets: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Keep what was read and written for OpenLineage, and tell it to other listeners.

        :param inputs: in place of what was planned to be read.
        """
        from dataclasses import replace

        from kimi_provider.hooks.lineage import collect

        try:
            plan = self._planned()
            read = plan.inputs if inputs is None else inputs
            told = {**(self._told.facets if self._told else {}), **(facets or {})}
            self._told = replace(plan, inputs=read, outputs=outputs, facets=told)
            collect(self, self._told)
        except Exception as error:  # noqa: BLE001 — a task that has done its work does not fail by this
            self.log.warning("The lineage cannot be told: %s: %s", type(error).__name__, error)

    def _as_openlineage(self, lineage: Lineage) -> OperatorLineage[Any, Any] | None:
        from kimi_provider.hooks.assets import dataset_asset
        from kimi_provider.hooks.openlineage import operator_lineage

        asset = dataset_asset(self.dag_id, self.task_id).uri if self.has_dag() else None  # type: ignore[no-untyped-call]
        return operator_lineage(lineage, asset)
