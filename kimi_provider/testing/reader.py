"""The simulator's reader: sorts records into themes by their words, and says which themes are one."""

from __future__ import annotations

import csv
import io
import re
from collections import defaultdict
from typing import Any

_RECORDS = re.compile(r'<records fence="([^"\n]*)">\n(.*?)\n?</records fence="\1">', re.DOTALL)
_THEMES = re.compile(r'<themes fence="([^"\n]*)">\n(.*?)\n?</themes fence="\1">', re.DOTALL)
_WORD = re.compile(r"[^\W\d_]{6,}")
_MOST_THEMES, _LEAST_RECORDS, _MOST_QUOTES, _QUOTE = 8, 2, 2, 60


def sort_records(prompt: str) -> dict[str, Any] | None:
    """Answer the schema ``partial_findings``: a theme for each word that many records have.

    :returns: ``None`` where the prompt has no records.
    """
    found = _RECORDS.findall(prompt)
    if not found:
        return None
    records = [(row["record"], row["text"]) for row in _rows(found[-1][1])]
    members: defaultdict[str, list[int]] = defaultdict(list)
    for number, text in records:
        for word in dict.fromkeys(_WORD.findall(text.lower())):
            members[word].append(int(number))
    # A word that nearly all have tells nothing apart.
    telling = {
        word: numbers
        for word, numbers in members.items()
        if _LEAST_RECORDS <= len(numbers) <= max(len(records) * 0.9, _LEAST_RECORDS)
    }
    largest = sorted(telling.items(), key=lambda item: (-len(item[1]), item[0]))[:_MOST_THEMES]
    texts = {int(number): text for number, text in records}
    return {
        "themes": [
            {
                "label": word.capitalize(),
                "description": f"Records that speak of {word}.",
                "records": numbers,
                "quotes": [
                    {"record": number, "text": texts[number][:_QUOTE]}
                    for number in numbers[:_MOST_QUOTES]
                ],
            }
            for word, numbers in largest
        ]
    }


def merge_themes(prompt: str) -> dict[str, Any] | None:
    """Answer the schema ``merged_themes``: themes whose labels begin alike are one.

    :returns: ``None`` where the prompt has no themes.
    """
    found = _THEMES.findall(prompt)
    if not found:
        return None
    groups: dict[str, dict[str, Any]] = {}
    for row in _rows(found[-1][1]):
        theme = groups.setdefault(
            row["label"].lower()[:5],
            {"label": row["label"], "description": row["description"], "members": []},
        )
        theme["members"].append(int(row["number"]))
    return {"themes": list(groups.values())}


def _rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))
