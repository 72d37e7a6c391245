"""Folders of templates, where one that stands in for another can still extend it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jinja2

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

# Parts how many folders are passed over from the name; no file's name has it.
_MARK = "\0"


class Folders(jinja2.BaseLoader):
    """Finds templates in folders, the first that has a name wins.

    What a template of the same name in a later folder has, the winner reaches by its own name, as in
    ``{% extends "daily_brief.html.j2" %}`` inside of a ``daily_brief.html.j2``.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._loaders = [jinja2.FileSystemLoader(folder) for folder in dict.fromkeys(folders)]

    def get_source(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[str, str, Callable[[], bool]]:
        """Return a template's text, its file, and whether that is still the same."""
        return self._found(environment, template)[1]

    def list_templates(self) -> list[str]:
        """Return the names that there are."""
        return sorted({name for loader in self._loaders for name in loader.list_templates()})

    def named_in(self, environment: jinja2.Environment, template: str, parent: str) -> str:
        """Return what a name means inside of a template.

        Where no later folder has the template's own name, that means itself, as a part that includes
        itself wants it.
        """
        if template != plain_name(parent):
            return template
        at, _ = self._found(environment, parent)
        below = f"{at + 1}{_MARK}{template}"
        try:
            self._found(environment, below)
        except jinja2.TemplateNotFound:
            return template
        return below

    def _found(
        self, environment: jinja2.Environment, template: str
    ) -> tuple[int, tuple[str, str, Callable[[], bool]]]:
        passed, _, name = template.rpartition(_MARK)
        for at, loader in enumerate(self._loaders):
            if at < int(passed or 0):
                continue
            try:
                return at, loader.get_source(environment, name)
            except jinja2.TemplateNotFound:
                continue
        raise jinja2.TemplateNotFound(name)


def plain_name(template: str) -> str:
    """Return the name that a template's file has."""
    return template.rpartition(_MARK)[2]
