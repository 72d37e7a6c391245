"""Languages that the model may be asked to write in: by tag, or by their English name."""

from __future__ import annotations

import re

from kimi_provider.exceptions import ConfigurationError

_NAMES = {
    "ar": "Arabic",
    "bg": "Bulgarian",
    "cs": "Czech",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "fi": "Finnish",
    "fr": "French",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "hu": "Hungarian",
    "id": "Indonesian",
    "it": "Italian",
    "ja": "Japanese",
    "ko": "Korean",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "nb": "Norwegian",
    "nl": "Dutch",
    "pl": "Polish",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sv": "Swedish",
    "tr": "Turkish",
    "uk": "Ukrainian",
    "vi": "Vietnamese",
    "zh": "Chinese",
}
_TAGS = {name.lower(): tag for tag, name in _NAMES.items()}
_TAG = re.compile(r"([a-z]{2})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?\Z", re.IGNORECASE)


def language_tag(text: str) -> str:
    """Return the BCP 47 tag of a language: ``pl`` for ``pl``, ``Polish`` or ``PL``; ``pt-BR`` as it is.

    :raises ConfigurationError: if it is neither a tag nor the name of a language known here.
    """
    given = text.strip()
    if given.lower() in _TAGS:
        return _TAGS[given.lower()]
    if (found := _TAG.match(given)) and found[1].lower() in _NAMES:
        parts = (found[1].lower(), (found[2] or "").title(), (found[3] or "").upper())
        return "-".join(part for part in parts if part)
    raise ConfigurationError(
        f"The language {given[:40]!r} is not known: take a tag such as 'pl' or 'pt-BR', or a name. "
        f"Known: {', '.join(f'{tag} ({name})' for tag, name in _NAMES.items())}."
    )


def language_name(tag: str) -> str:
    """Return how a language is named to the model: ``Polish (pl)``."""
    tag = language_tag(tag)
    return f"{_NAMES[tag.partition('-')[0]]} ({tag})"
