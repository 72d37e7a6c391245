"""HTML fit for mail: styles on the elements, nothing fetched, small enough not to be clipped."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING

from kimi_provider.exceptions import RenderError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kimi_provider.reports.document import Picture

# Gmail cuts off what is beyond about 102 KB, in the middle of a sentence.
MAX_BYTES = 100_000


def inline_styles(html: str) -> str:
    """Put the rules of ``<style>`` on the elements; many mail clients drop ``<style>``.

    Media queries stay in a ``<style>``, as an extra where it is understood.

    :raises RenderError: if the style sheet cannot be read.
    """
    import css_inline

    inliner = css_inline.CSSInliner(load_remote_stylesheets=False, keep_at_rules=True, minify_css=True)
    try:
        return str(inliner.inline(html))
    except css_inline.InlineError as error:
        raise RenderError(f"The template's styles cannot be read: {error}") from error


def self_contained(html: str, pictures: Iterable[Picture]) -> str:
    """Return the page with its pictures inside, so that it can be opened and passed on as one file."""
    for picture in pictures:
        data = b64encode(picture.png).decode()
        html = html.replace(
            f'src="cid:{picture.content_id}"', f'src="data:{picture.media_type};base64,{data}"'
        )
    return html
