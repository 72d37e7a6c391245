"""Tool calls and thoughts that a host leaked into the text, parsed and taken out of it.

A self-hosted or resold Kimi without its tool and reasoning parsers writes the model's own markers
into ``content``. Only hosts whose :class:`Host` says ``leaks`` come here: elsewhere a text about the
markers must stay as it is. Only calls of declared tools are taken; any other stays text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kimi_provider.client.messages import ToolCall

if TYPE_CHECKING:
    from collections.abc import Collection

# Some checkpoints write the section in the singular; vLLM's parser knows both too.
_SECTIONS = ("<|tool_calls_section_begin|>", "<|tool_call_section_begin|>")
_SECTION_ENDS = ("<|tool_calls_section_end|>", "<|tool_call_section_end|>")
_CALL = "<|tool_call_begin|>"
_ARGUMENTS = "<|tool_call_argument_begin|>"
_CALL_END = "<|tool_call_end|>"
_THINK = "<think>"
_THINK_END = "</think>"
# What Bedrock puts around the thinking of the models that it serves.
_ENVELOPE = "<reasoning>"
_ENVELOPE_END = "</reasoning>"
_OPENINGS = (*_SECTIONS, _CALL)
_MARKERS = (*_OPENINGS, _THINK, _THINK_END, _ENVELOPE)


class Healed(NamedTuple):
    """The parts of a healed text; ``found`` is how many calls and thoughts were found in it."""

    text: str
    thought: str
    calls: tuple[ToolCall, ...]
    found: int


def heal(text: str, tools: Collection[str], *, thoughts: bool, enveloped: bool = False) -> Healed:
    """Take leaked tool calls, and with ``thoughts`` leaked thinking, out of ``text``.

    :param tools: names of the declared tools.
    :param enveloped: whether thinking may also come in Bedrock's envelope, at the start of the text.
    """
    if "<" not in text:
        return Healed(text, "", (), 0)
    thought, count = "", 0
    if thoughts:
        if enveloped and text.lstrip().startswith(_ENVELOPE):
            text = text.replace(_ENVELOPE, _THINK).replace(_ENVELOPE_END, _THINK_END)
        text, thought, count = _without_thoughts(text)
    # The model may call a tool before it has closed its thought.
    thought, early = _without_calls(thought, tools)
    text, late = _without_calls(text, tools)
    calls = (*early, *late)
    return Healed(text, thought, calls, count + len(calls))


def _without_calls(text: str, tools: Collection[str]) -> tuple[str, list[ToolCall]]:
    calls: list[ToolCall] = []
    kept: list[str] = []
    position = 0
    while (start := _first(text, position)) >= 0:
        kept.append(text[position:start])
        found, position = _section(text, start, tools)
        if found is None:
            kept.append(text[start:position])
        else:
            calls += found
    kept.append(text[position:])
    rest = "".join(kept)
    return (rest.rstrip() if calls else rest), calls


def _without_thoughts(text: str) -> tuple[str, str, int]:
    """Return the text without its thoughts, the thoughts, and how many there were."""
    found: list[str] = []
    kept: list[str] = []
    while (end := text.find(_THINK_END)) >= 0:
        start = text.find(_THINK, 0, end)
        if start < 0 and found:
            break  # a word about the marker, as nothing was opened
        # The chat template may have put the first opening marker into the prompt.
        kept.append(text[: max(start, 0)] if kept or text[: max(start, 0)].strip() else "")
        found.append(text[start + len(_THINK) : end] if start >= 0 else text[:end])
        text = text[end + len(_THINK_END) :].lstrip("\n")
    if text.lstrip().startswith(_THINK):
        # Cut while thinking, or went over to calling tools without closing: none of it is an answer.
        start = _first(text, 0)
        found.append(text[: start if start >= 0 else len(text)].lstrip().removeprefix(_THINK))
        text = text[start:] if start >= 0 else ""
    thought = "\n".join(filter(None, (piece.strip() for piece in found)))
    return "".join([*kept, text]), thought, len(found)


def _first(text: str, position: int) -> int:
    hits = [hit for marker in _OPENINGS if (hit := text.find(marker, position)) >= 0]
    return min(hits, default=-1)


def _section(text: str, start: int, tools: Collection[str]) -> tuple[list[ToolCall] | None, int]:
    """Return the calls at ``start`` and where they end; ``None`` where they are no declared tools'."""
    calls: list[ToolCall] = []
    section = next((marker for marker in _SECTIONS if text.startswith(marker, start)), "")
    position = start + len(section)
    while text.startswith(_CALL, begin := _skip_blank(text, position)):
        middle = text.find(_ARGUMENTS, begin)
        end = text.find(_CALL_END, middle) if middle >= 0 else -1
        if end < 0:
            # Cut off: half a call must neither be run nor shown.
            return calls, len(text)
        call_id = text[begin + len(_CALL) : middle].strip()
        name = _name(call_id)
        if name not in tools:
            return None, end + len(_CALL_END)
        calls.append(ToolCall(call_id, name, text[middle + len(_ARGUMENTS) : end].strip()))
        position = end + len(_CALL_END)
    closing = _skip_blank(text, position)
    for end_marker in _SECTION_ENDS if section else ():
        if text.startswith(end_marker, closing):
            position = closing + len(end_marker)
    return (calls or None), position


def _name(call_id: str) -> str:
    """``functions.get_weather:0`` → ``get_weather``."""
    return call_id.removeprefix("functions.").rsplit(":", 1)[0]


def _skip_blank(text: str, position: int) -> int:
    while position < len(text) and text[position].isspace():
        position += 1
    return position


class Holdback:
    """Passes text on as it streams, but stops at the first thing that may be a marker.

    What is held back comes out with the final result, healed: a marker must never be shown live,
    and the markers that open a leak are at its start.
    """

    def __init__(self) -> None:
        self._held = ""
        self._stopped = False
        self._begun = False

    def feed(self, piece: str) -> str:
        """Return what of ``piece``, and of what was held, is text for certain."""
        if self._stopped:
            return ""
        if self._begun and not self._held and "<" not in piece:
            return piece
        text = self._held + piece
        self._held = ""
        if not self._begun:
            start = text.lstrip()
            if not start or any(marker.startswith(start) for marker in _MARKERS):
                self._held = text
                return ""
            # Blanks before a thought go with it.
            self._begun, self._stopped = True, start.startswith(_MARKERS)
        return "" if self._stopped else self._certain(text)

    def _certain(self, text: str) -> str:
        start = text.find("<")
        while start >= 0:
            if text.startswith(_MARKERS, start):
                self._stopped = True
                return text[:start]
            if any(marker.startswith(text[start:]) for marker in _MARKERS):
                self._held = text[start:]
                return text[:start]
            start = text.find("<", start + 1)
        return text
