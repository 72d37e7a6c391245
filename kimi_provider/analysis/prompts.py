"""Prompt templates: YAML front matter that says what to compute, and a Jinja body that says what to ask.

A template is a trusted file, written by the engineer who writes the DAG. What it is filled with is
not: values go in as values, and are never rendered themselves.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import jinja2
import yaml
from jinja2 import nodes
from jinja2.loaders import split_template_path

from kimi_provider.analysis.frontmatter import FrontMatter, checked_front_matter, listed
from kimi_provider.analysis.languages import language_tag
from kimi_provider.analysis.metrics import period_text, typed_parameters
from kimi_provider.analysis.sandbox import PromptEnvironment, bounded
from kimi_provider.analysis.translations import in_its_language
from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

SUFFIX = ".md.j2"
LANGUAGE = "language"
"""The parameter that every template has: what the model writes in, in place of the template's."""
_OWN_KEYS = frozenset({"description", "extends"})  # of one template, not of those that extend it
_HEAD = re.compile(r"\A---[ \t]*\n(.*?)^---[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt template, found and checked; make it with :meth:`load`.

    ``front`` is its front matter, completed by the templates that it extends. ``sha256`` is over the
    sources of all of them, and tells two versions of a template apart.
    """

    name: str
    path: Path
    front: FrontMatter
    sha256: str
    _source: _Source
    _body: jinja2.Template

    @classmethod
    def load(cls, name: str, search_path: Sequence[Path]) -> Self:
        """Find a template and check it.

        :param name: ``flight_on_time``, with or without its suffix ``.md.j2``; ``team/daily`` lies in
            a subfolder.
        :param search_path: folders to look in; the first that has it wins.
        :raises ConfigurationError: if no folder has it (the names that exist are listed), or it is
            malformed (file, line or key, and what is allowed are named).
        """
        loader = _Loader(search_path)
        lineage = loader.lineage(_file_name(name))
        raw: dict[str, Any] = {}
        for source in reversed(lineage):
            raw = {key: value for key, value in raw.items() if key not in _OWN_KEYS}
            raw.update(source.head)
            front = checked_front_matter(raw, str(source.path))
        with loader.explained(lineage[0]):
            environment = PromptEnvironment(loader)
            _check_blocks(environment, lineage)
            body = environment.get_template(lineage[0].file)
        digest = hashlib.sha256("\0".join(source.text for source in lineage).encode()).hexdigest()
        return cls(_short_name(name), lineage[0].path, front, digest, lineage[0], body)

    def parameters(self, given: Mapping[str, object]) -> dict[str, object]:
        """Return the declared parameters with their values, in their types.

        :param given: the DAG's ``params``; text is read, as ``"2013-02-08"`` for a ``date``. A
            ``language`` may be among them, declared or not.
        :raises ConfigurationError: if one is missing, not declared, or not of its type.
        """
        declared = self.front.parameters
        types = {name: parameter.type for name, parameter in declared.items()}
        if given.get(LANGUAGE):
            types.setdefault(LANGUAGE, "str")
        elif LANGUAGE not in types:
            given = {name: value for name, value in given.items() if name != LANGUAGE}
        defaults = {
            name: parameter.default
            for name, parameter in declared.items()
            if parameter.default is not None
        }
        try:
            return typed_parameters(types, {**defaults, **given})
        except ConfigurationError as error:
            raise ConfigurationError(f"{self.path}: {error}") from None

    def spoken(self, parameters: Mapping[str, object]) -> Self:
        """Return the template, its labels too, in the language that the parameters name, or its own.

        :param parameters: of :meth:`parameters`.
        :raises ConfigurationError: if the language is not known.
        """
        wanted = str(parameters.get(LANGUAGE) or "")
        front = self.front
        if wanted:
            front = front.model_copy(update={"language": language_tag(wanted)})
        return replace(self, front=in_its_language(front))

    def period(self, parameters: Mapping[str, object]) -> str | None:
        """Return how the period is named, from :meth:`parameters`; ``None`` if it has no name."""
        return period_text(self.front.period, parameters)

    def render(self, values: Mapping[str, object]) -> str:
        """Return the body with the values in place.

        :param values: what stands under each of :data:`~kimi_provider.analysis.sandbox.NAMES`.
        :raises ConfigurationError: if the body asks for a name that is not there (template, line and
            name, and the names that exist are given), or does what the sandbox forbids.
        """
        with self._source.loader.explained(self._source):
            return bounded(self._body.generate(values)).strip() + "\n"


@dataclass(frozen=True)
class _Source:
    """A template's file, taken apart; ``offset`` is how many lines the front matter takes."""

    file: str
    path: Path
    text: str
    head: Mapping[str, Any]
    body: str
    offset: int
    loader: _Loader


class _Loader(jinja2.BaseLoader):
    """Gives Jinja the bodies of the templates in a search path, and explains what goes wrong in them."""

    def __init__(self, search_path: Sequence[Path]) -> None:
        self._search_path = tuple(search_path)
        self._read: dict[str, _Source] = {}

    def get_source(
        self,
        environment: jinja2.Environment,  # noqa: ARG002 — Jinja's interface
        template: str,
    ) -> tuple[str, str, Callable[[], bool]]:
        """Return a body, its path, and that it never goes stale: a template lives for one task."""
        source = self.read(template)
        parent = source.head.get("extends")
        # On the body's first line, so that lines count on as they stand in the file.
        opening = f'{{% extends "{_file_name(parent)}" %}}' if parent else ""
        return opening + source.body, str(source.path), lambda: True

    def read(self, file: str) -> _Source:
        """Return a file, taken apart.

        :raises jinja2.TemplateNotFound: if no folder has it; a path out of the folders never exists.
        :raises ConfigurationError: if its front matter is no YAML mapping.
        """
        if file not in self._read:
            parts = split_template_path(file)
            paths = (folder.joinpath(*parts) for folder in self._search_path)
            path = next((path for path in paths if path.is_file()), None)
            if path is None:
                raise jinja2.TemplateNotFound(file)
            self._read[file] = self._taken_apart(file, path)
        return self._read[file]

    def lineage(self, file: str) -> list[_Source]:
        """Return a template and those that it extends, nearest first.

        :raises ConfigurationError: if one is missing, or they extend each other in a ring.
        """
        found: list[_Source] = []
        while True:
            try:
                source = self.read(file)
            except jinja2.TemplateNotFound:
                by = f"{found[-1].path}: extends: " if found else ""
                raise ConfigurationError(by + self._no_such(file)) from None
            if source in found:
                ring = " → ".join(_short_name(s.file) for s in (*found, source))
                raise ConfigurationError(f"{source.path}: the templates extend each other: {ring}")
            found.append(source)
            parent = source.head.get("extends")
            if not parent:
                return found
            file = _file_name(str(parent))

    @contextmanager
    def explained(self, source: _Source) -> Iterator[None]:
        """Turn what Jinja raises into an error that names file, line and way out."""
        try:
            yield
        except ConfigurationError:
            raise
        except jinja2.TemplateNotFound as error:
            problem = self._no_such(str(error.name))
            raise ConfigurationError(f"{self._place(error, source)}: {problem}") from None
        except jinja2.TemplateSyntaxError as error:
            inside = self._read.get(error.name or "", source)
            line = error.lineno + inside.offset
            raise ConfigurationError(f"{inside.path}, line {line}: {error.message}") from None
        except (jinja2.TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ConfigurationError(f"{self._place(error, source)}: {error}") from None
        except RecursionError:
            raise ConfigurationError(
                f"{source.path}: the template includes or calls itself without end"
            ) from None

    def _place(self, error: BaseException, source: _Source) -> str:
        """Return the file and line of the innermost frame that lies in a template."""
        by_path = {str(known.path): known for known in self._read.values()}
        for frame in reversed(traceback.extract_tb(error.__traceback__)):
            if frame.filename in by_path and frame.lineno is not None:
                return f"{frame.filename}, line {frame.lineno + by_path[frame.filename].offset}"
        return str(source.path)

    def _taken_apart(self, file: str, path: Path) -> _Source:
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise ConfigurationError(f"{path}: is not UTF-8 text (byte {error.start})") from None
        match = _HEAD.match(text)
        if match is None:
            return _Source(file, path, text, {}, text, 0, self)
        try:
            head = yaml.safe_load(match[1]) or {}
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line + 2 if error.problem_mark else 1
            raise ConfigurationError(
                f"{path}, line {line}: the front matter is no valid YAML: {error.problem}"
            ) from None
        if not isinstance(head, dict):
            raise ConfigurationError(
                f"{path}: the front matter is no mapping of keys to values; allowed keys: "
                f"{listed(FrontMatter.model_fields)}"
            )
        return _Source(file, path, text, head, text[match.end() :], match[0].count("\n"), self)

    def _no_such(self, file: str) -> str:
        names = {
            _short_name(path.relative_to(folder).as_posix())
            for folder in self._search_path
            for path in folder.rglob(f"*{SUFFIX}")
        }
        near = difflib.get_close_matches(_short_name(file), names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        folders = ", ".join(map(str, self._search_path))
        return (
            f"there is no prompt template {_short_name(file)!r}; {hint}templates that exist: "
            f"{listed(names)} (looked in {folders})"
        )


def _check_blocks(environment: PromptEnvironment, lineage: Sequence[_Source]) -> None:
    """Refuse what Jinja drops without a word: text outside the blocks, and blocks nobody shows.

    :raises ConfigurationError: naming file, line and the blocks that there are.
    """
    blocks: set[str] = set()
    for source in reversed(lineage):
        tree = environment.parse(source.body, source.file, str(source.path))
        for node in tree.body if source.head.get("extends") else ():
            problem = ""
            if isinstance(node, nodes.Block) and node.name not in blocks:
                problem = f"there is no block {node.name!r} to replace"
            elif isinstance(node, nodes.Output) and not _is_blank(node):
                problem = "text outside the blocks is not shown where a template extends another"
            if problem:
                raise ConfigurationError(
                    f"{source.path}, line {node.lineno + source.offset}: {problem}; "
                    f"blocks that exist: {listed(blocks)}"
                )
        blocks |= {block.name for block in tree.find_all(nodes.Block)}


def _is_blank(output: nodes.Output) -> bool:
    return all(isinstance(part, nodes.TemplateData) and not part.data.strip() for part in output.nodes)


def _file_name(name: str) -> str:
    return name if name.endswith(SUFFIX) else name + SUFFIX


def _short_name(file: str) -> str:
    return file.removesuffix(SUFFIX)
