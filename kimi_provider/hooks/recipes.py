"""How an analysis and a report were made, kept beside them, so that they can be made again otherwise.

A person who is asked to approve a report may ask for another version of it. The model is then asked
in the same conversation, whose finished calls lie in the journal, and the report is drawn as before.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.hooks.storage import open_uri
from kimi_provider.schemas import DatasetRef, Value
from kimi_provider.storage import read_text, write_text

if TYPE_CHECKING:
    from typing import Self

    from kimi_provider.reports.brand import Brand
    from kimi_provider.storage import StoragePath

FILE = "recipe.json"


class _Recipe(Value):
    """Base of recipes: stored as JSON in a task's folder."""

    def store(self, folder: StoragePath) -> None:
        """Write the recipe into the folder of what is made by it."""
        write_text(folder / FILE, self.model_dump_json(indent=1))

    @classmethod
    def beside(cls, uri: str) -> Self:
        """Read the recipe of what lies at a URI.

        :raises ConfigurationError: if there is none.
        """
        try:
            return cls.model_validate_json(read_text(open_uri(uri).parent / FILE))
        except FileNotFoundError:
            raise ConfigurationError(
                "It is not known how the report was made: recipe.json is not beside it any more. Clear "
                "the tasks from the analysis on, and let them run again."
            ) from None


class AnalysisRecipe(_Recipe):
    """The parameters of :class:`~kimi_provider.operators.analyze.KimiAnalyzeOperator`, rendered."""

    prompt: str
    datasets: dict[str, DatasetRef]
    parameters: dict[str, Any]
    kimi_conn_id: str
    fallback_conn_ids: tuple[str, ...] | str | None = None
    model: str | None = None
    max_cost_usd: str | None = None
    strategy: str | None = None
    grounding: dict[str, Any] | str | None = None
    partials: tuple[dict[str, Any], ...] | None = None


class ReportRecipe(_Recipe):
    """The parameters of :class:`~kimi_provider.operators.report.ReportOperator`, rendered.

    ``logo`` is the brand's, in Base64.
    """

    template: str
    title: str | None = None
    subject: str | None = None
    locale: str = "en"
    timezone: str = "UTC"
    link_hosts: tuple[str, ...] = ()
    formats: tuple[str, ...] | str = ()
    file_name: str | None = None
    csv_byte_order_mark: bool = True
    brand: dict[str, Any] | None = None

    @staticmethod
    def brand_fields(brand: Brand | None) -> dict[str, Any] | None:
        """Return a brand as JSON; reads its logo."""
        if brand is None:
            return None
        logo = base64.b64encode(brand.picture.png).decode() if brand.picture else None
        return {
            "name": brand.name,
            "accent": brand.accent,
            "colors": list(brand.colors),
            "logo": logo,
            "font": brand.font,
        }

    def brand_again(self) -> Brand | None:
        """Return the brand, as it was."""
        from kimi_provider.reports.brand import Brand

        if self.brand is None:
            return None
        fields = dict(self.brand)
        logo = fields.pop("logo")
        return Brand(**fields, logo=base64.b64decode(logo) if logo else None)
