"""``airflow kimi preview``: how a report looks, without a run, a call or a mail."""

from __future__ import annotations

import tempfile
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kimi_provider.cli.console import FAILED, command, note, show
from kimi_provider.cli.drawing import draw
from kimi_provider.cli.source import ReportSource, source_of
from kimi_provider.exceptions import ConfigurationError, RenderError

if TYPE_CHECKING:
    from argparse import Namespace

    from kimi_provider.cli.drawing import Drawing
    from kimi_provider.cli.source import Source

_ENDINGS = (".html", ".txt", ".md", ".pdf", ".xlsx")
_FILES = {".pdf", ".xlsx"}  # those that are attached to a mail


@command
def preview(args: Namespace) -> int:
    """Show a preview; see ``airflow kimi preview --help``."""
    if args.watch:
        if args.output is not None:
            raise ConfigurationError("Give --watch or --output: a live page, or a file, not both.")
        from kimi_provider.cli.live import watch

        return watch(
            lambda: source_of(args), port=args.port, browser=not args.no_browser, tell=_teller(args)
        )
    target = _target(args.output)
    source = source_of(args)
    began = time.monotonic()
    drawing = draw(source, (target.suffix[1:],) if target.suffix in _FILES else ())
    content = _content(source, drawing, target.suffix)
    seconds = time.monotonic() - began
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    show([row_of(source, drawing, seconds, str(target))], args.format)
    for failure in drawing.failures:
        note(f"The report is not complete: {failure}")
    opens = args.output is None and not args.no_browser
    if opens and not webbrowser.open(target.as_uri()):
        note(f"There is no browser here. Open {target}")
    return FAILED if drawing.failures else 0


def row_of(source: Source, drawing: Drawing, seconds: float, where: str) -> dict[str, Any]:
    """Return what was drawn as a row of a table; ``seconds`` are the drawing's alone."""
    template = source.recipe.template if isinstance(source, ReportSource) else source.template
    return {
        "template": template,
        "subject": drawing.subject,
        "failures": len(drawing.failures),
        "seconds": round(seconds, 2),
        "where": where,
    }


def _teller(args: Namespace) -> Any:
    def tell(source: Source, drawing: Drawing, seconds: float, where: str) -> None:
        show([row_of(source, drawing, seconds, where)], args.format)

    return tell


def _target(output: str | None) -> Path:
    if output is None:
        return Path(tempfile.mkdtemp(prefix="kimi-preview-")) / "report.html"
    target = Path(output).absolute()
    if target.suffix not in _ENDINGS:
        raise ConfigurationError(f"--output must end in one of {', '.join(_ENDINGS)}; got {output!r}.")
    return target


def _content(source: Source, drawing: Drawing, ending: str) -> bytes:
    if ending in _FILES:
        if not isinstance(source, ReportSource):
            raise ConfigurationError(f"Alerts are drawn as .html and .txt, not as {ending}.")
        for file in drawing.attachments:
            if file.filename.endswith(ending):
                return file.content
        raise RenderError(f"The {ending} could not be made: {' '.join(drawing.failures)}")
    parts = {".html": drawing.page, ".txt": drawing.text, ".md": drawing.markdown}
    return parts[ending].encode()
