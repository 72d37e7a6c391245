"""Tokens of a text, estimated without the model's tokenizer and corrected by what calls report.

Kimi's tokenizer is not public API. It splits like its kin: digits in groups of up to three, words of
letters with the blank before them, CJK about two thirds of a token a character. So the classes of
bytes are counted and weighed; the weights lean to the high side, and UTF-8 bytes are a hard upper
bound, since no token is less than one byte.
"""

from __future__ import annotations

import json
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kimi_provider.client.messages import ChatRequest, Message

# Fixed cost of a message's role markers in the chat template, in tokens.
_MESSAGE_OVERHEAD = 6

# bytes.translate deletes in C, so that a megabyte is classed in milliseconds.
_LETTERS = string.ascii_letters.encode()
_DIGITS = string.digits.encode()
_BLANKS = b" \t"
_PUNCTUATION = (string.punctuation + "\r\n").encode()
_CJK_LEADS = bytes(range(0xE3, 0xEE))  # lead bytes of U+3000..U+DFFF: kana, Han, Hangul
_TWO_BYTE_LEADS = bytes(range(0xC2, 0xE0))  # Latin with marks, Greek, Cyrillic, Hebrew, Arabic
_OTHER_LEADS = bytes([*range(0xE0, 0xE3), 0xEE, 0xEF])  # Indic, Thai, symbols
_LONG_LEADS = bytes(range(0xF0, 0xF5))  # emoji and rare Han

_WEIGHTS = (
    (_LETTERS, 0.23),
    (_DIGITS, 0.55),
    (_BLANKS, 0.10),
    (_PUNCTUATION, 0.75),
    (_CJK_LEADS, 0.75),
    (_TWO_BYTE_LEADS, 0.60),
    (_OTHER_LEADS, 1.20),
    (_LONG_LEADS, 2.50),
)

# A calibration beyond these is a sign of something else (a host that counts images, a hidden prompt).
_LOWEST_SCALE, _HIGHEST_SCALE = 0.5, 2.0


def estimate_tokens(text: str) -> int:
    """Estimate the tokens of a text by class of character; never more than its UTF-8 bytes."""
    data = text.encode("utf-8", "surrogatepass")
    size = len(data)
    tokens = sum((size - len(data.translate(None, leads))) * weight for leads, weight in _WEIGHTS)
    return min(size, int(tokens) + 1) if size else 0


def estimate_message(message: Message) -> int:
    """Estimate the tokens of a message, with its thinking and its calls."""
    tokens = _MESSAGE_OVERHEAD + estimate_tokens(message.content or "")
    tokens += estimate_tokens(message.reasoning or "")
    for call in message.tool_calls:
        tokens += _MESSAGE_OVERHEAD + estimate_tokens(call.name) + estimate_tokens(call.arguments)
    return tokens


class TokenEstimator:
    """An estimate of requests that learns from the usage that the host reports.

    Older calls count half as much with each new one, so a change of content is soon followed. Each
    message is classed once, since a conversation is sent again with every step.
    """

    def __init__(self) -> None:
        self._estimated = 0.0
        self._actual = 0.0
        self._messages: dict[Message, int] = {}

    @property
    def scale(self) -> float:
        """By how much estimates are multiplied; 1 until a call was seen."""
        if not self._estimated:
            return 1.0
        return min(max(self._actual / self._estimated, _LOWEST_SCALE), _HIGHEST_SCALE)

    def estimate(self, request: ChatRequest) -> int:
        """Estimate the prompt tokens of a request, corrected by the calls seen so far."""
        return int(self._raw(request) * self.scale)

    def observe(self, request: ChatRequest, input_tokens: int) -> None:
        """Learn from a finished call.

        :param input_tokens: prompt tokens that the host counted; 0 (no usage reported) is ignored.
        """
        if input_tokens > 0:
            self._estimated = self._estimated / 2 + self._raw(request)
            self._actual = self._actual / 2 + input_tokens

    def _raw(self, request: ChatRequest) -> int:
        total = 0
        for message in request.messages:
            if message not in self._messages:
                self._messages[message] = estimate_message(message)
            total += self._messages[message]
        for tool in request.tools:
            total += _MESSAGE_OVERHEAD + estimate_tokens(tool.name) + estimate_tokens(tool.description)
            total += estimate_tokens(json.dumps(tool.parameters))
        if request.response_schema is not None:
            total += estimate_tokens(json.dumps(request.response_schema.schema))
        return total
