"""Where templates are looked for: the user's folders first, then those that ship with the package."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from airflow.sdk import conf

import kimi_provider
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from airflow.sdk import DAG

Kind = Literal["prompts", "reports", "alerts"]


@cache
def bundled_templates() -> Path:
    """Return the folder of the templates that ship with the package.

    An installed wheel has them inside the package, a checkout (and so an editable install) beside it.

    :raises ConfigurationError: if neither is there, which means a broken installation.
    """
    package = Path(kimi_provider.__file__).parent
    candidates = (package / "templates", package.parent / "templates")
    for folder in candidates:
        if (folder / "prompts").is_dir():
            return folder
    looked = " and ".join(str(folder) for folder in candidates)
    raise ConfigurationError(
        f"The bundled templates are in neither {looked}. Install the package again."
    )


def template_search_path(kind: Kind, dag: DAG | None = None) -> tuple[Path, ...]:
    """Return the folders to look in for a template, first match wins.

    :param kind: which sort of template.
    :param dag: the DAG whose ``template_searchpath`` comes first.

    The order: each folder of the DAG's ``template_searchpath``, each folder of ``[kimi]
    templates_path`` (separated by ``:``), then the bundled templates. In each, a subfolder named
    after the kind is looked in before the folder itself.
    """
    roots: list[Path] = []
    if dag is not None and dag.template_searchpath:
        configured = dag.template_searchpath
        roots += [Path(p) for p in ([configured] if isinstance(configured, str) else configured)]
    roots += [Path(p) for p in conf.get("kimi", "templates_path", fallback="").split(":") if p]
    folders = [folder for root in roots for folder in (root / kind, root)]
    return (*folders, bundled_templates() / kind)
