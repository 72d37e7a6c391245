"""The grammar of expressions: text to tokens to a tree, with errors that point at the character.

A Pratt parser: each operator has a strength, and takes what is as strong on its sides. Nothing here
runs anything; :mod:`kimi_provider.alerts.expression` shows the tree a run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NoReturn

from kimi_provider.alerts.rule import SEVERITIES
from kimi_provider.exceptions import RuleError

_LONGEST = 2000
_DEEPEST = 40
_TALLEST = 150  # what is made of a long sum is shown the run by recursion
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<fact>\[\[[A-Za-z0-9_.-]+\]\])
    |(?P<number>\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d{1,3})?%?)
    |(?P<text>'[^'\n]*'|"[^"\n]*")
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)
    |(?P<operator><=|>=|==|!=|[-<>+*/(),])""",
    re.VERBOSE,
)
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_STRENGTH = {"or": 1, "and": 2, **dict.fromkeys(_COMPARISONS, 4), "+": 5, "-": 5, "*": 6, "/": 6}
_NOT_STRENGTH, _COMPARISON_STRENGTH, _MINUS_STRENGTH = 3, 4, 7
_HINTS = {"=": "to compare, write ==", "&": "write and", "|": "write or", "!": "write not, or !="}

# What has to be written as a number, so that it can be checked before there is a run: from what number
# on, and whether it must be whole.
_WRITTEN = {
    "number of 0 or more": (0, False),
    "whole number of 1 or more": (1, True),
    "whole number of 2 or more": (2, True),
}

# Name → kinds of the arguments that must be there, kinds of those that may, kind of the result.
FUNCTIONS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "abs": (("number",), (), "number"),
    "min": (("number", "number"), ("number",) * 6, "number"),
    "max": (("number", "number"), ("number",) * 6, "number"),
    "change": (("fact",), ("text",), "number"),
    "delta": (("fact",), ("text",), "number"),
    "band": (("fact",), ("number of 0 or more", "whole number of 2 or more"), "condition"),
    "absent": (("fact",), (), "condition"),
    "rows": (("text",), (), "number"),
    "drift": (("text",), (), "condition"),
    "findings": ((), ("severity", "text"), "number"),
    "for_runs": (("condition", "whole number of 1 or more"), (), "condition"),
}


@dataclass(frozen=True)
class Node:
    """A part of an expression.

    :param form: ``literal``, ``fact``, ``severity`` (the worst of the findings), ``call``, or operator.
    :param kind: what it gives: ``number``, ``text``, ``severity``, ``condition``, or ``fact`` for the
        value of one, a number or a text.
    :param at: index of its first character.
    :param value: a literal's value, a fact's id, a function's name.
    :param parts: operands or arguments.
    """

    form: str
    kind: str
    at: int
    value: Decimal | str | bool | None = None
    parts: tuple[Node, ...] = ()
    height: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Note how many parts lie below each other."""
        object.__setattr__(self, "height", 1 + max((part.height for part in self.parts), default=0))

    def walk(self) -> tuple[Node, ...]:
        """Return this part and all below it."""
        return (self, *(node for part in self.parts for node in part.walk()))


@dataclass(frozen=True)
class _Token:
    sort: str
    text: str
    at: int


def parse(text: object) -> Node:
    """Return the tree of an expression that says yes or no.

    :param text: for instance ``day.cancelled_share > 5% and severity >= warning``.
    :raises RuleError: if it is malformed; the message shows the line, and a caret under the character.
    """
    if not isinstance(text, str) or not text.strip():
        raise RuleError(f"An expression is text, such as 'day.flights < 100'; got {text!r}.")
    if len(text) > _LONGEST:
        raise RuleError(f"An expression has {_LONGEST} characters at most; this one has {len(text)}.")
    parser = _Parser(text)
    tree = parser.expression(0)
    parser.end()
    if tree.kind != "condition":
        parser.fail(tree.at, f"the expression gives a {tree.kind}, and a rule needs a condition")
    return tree


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._depth = 0
        self._tokens = self._scan()
        self._next = 0

    def fail(self, at: int, why: str) -> NoReturn:
        """Raise an error that shows where."""
        start = self._text.rfind("\n", 0, at) + 1
        line = self._text[start:].split("\n", 1)[0]
        raise RuleError(
            f"In the expression, at character {at + 1}: {why}.\n  {line}\n  {' ' * (at - start)}^"
        )

    def end(self) -> None:
        """Refuse what is left over."""
        token = self._peek()
        if token.sort != "end":
            self.fail(token.at, f"{token.text!r} does not follow here; missing 'and' or 'or'?")

    def expression(self, strength: int) -> Node:
        """Parse as far as operators are stronger than this."""
        self._depth += 1
        if self._depth > _DEEPEST:
            self.fail(self._peek().at, f"the expression is nested deeper than {_DEEPEST}")
        left = self._start()
        while (power := _STRENGTH.get(self._peek().text, 0)) > strength:
            left = self._binary(left, self._take(), power)
            if left.height > _TALLEST:
                self.fail(left.at, f"more than {_TALLEST} parts are taken together here; write fewer")
        self._depth -= 1
        return left

    def _scan(self) -> list[_Token]:
        tokens, at = [], 0
        while at < len(self._text):
            found = _TOKEN.match(self._text, at)
            if found is None:
                sign = self._text[at]
                hint = "a text needs its closing quote" if sign in "'\"" else _HINTS.get(sign)
                self.fail(at, f"{sign!r} means nothing here" + (f"; {hint}" if hint else ""))
            sort = str(found.lastgroup)
            if sort != "space":
                tokens.append(_Token(sort, found[0], at))
            at = found.end()
        return [*tokens, _Token("end", "the end", len(self._text))]

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _take(self) -> _Token:
        token = self._tokens[self._next]
        self._next += token.sort != "end"
        return token

    def _expect(self, text: str) -> None:
        token = self._take()
        if token.text != text:
            self.fail(token.at, f"{text!r} is missing before {token.text}")

    def _start(self) -> Node:
        token = self._take()
        if token.sort == "number":
            digits = token.text.rstrip("%").replace("_", "")
            value = Decimal(digits) / 100 if token.text.endswith("%") else Decimal(digits)
            return Node("literal", "number", token.at, value)
        if token.sort == "text":
            return Node("literal", "text", token.at, token.text[1:-1])
        if token.sort == "fact":
            return Node("fact", "fact", token.at, token.text[2:-2])
        if token.text == "(":
            inner = self.expression(0)
            self._expect(")")
            return inner
        if token.text == "-":
            operand = self._number(self.expression(_MINUS_STRENGTH))
            return Node("negative", "number", token.at, parts=(operand,))
        if token.sort != "name":
            self.fail(token.at, f"a fact, a number or '(' is missing before {token.text}")
        return self._name(token)

    def _name(self, token: _Token) -> Node:
        name = token.text
        if name == "not":
            operand = self._condition(self.expression(_NOT_STRENGTH))
            return Node("not", "condition", token.at, parts=(operand,))
        if self._peek().text == "(":
            return self._call(token)
        if name in _STRENGTH:
            self.fail(token.at, f"{name!r} needs a condition before it")
        if name in {"true", "false"}:
            return Node("literal", "condition", token.at, name == "true")
        if name in SEVERITIES:
            return Node("literal", "severity", token.at, name)
        return Node("severity", name, token.at) if name == "severity" else self._fact(token)

    def _fact(self, token: _Token) -> Node:
        if token.text in FUNCTIONS:
            self.fail(token.at, f"{token.text} is a function; '(' is missing after it")
        return Node("fact", "fact", token.at, token.text)

    def _call(self, token: _Token) -> Node:
        if token.text not in FUNCTIONS:
            self.fail(token.at, f"there is no function {token.text}; there are {', '.join(FUNCTIONS)}")
        needed, more, kind = FUNCTIONS[token.text]
        self._expect("(")
        parts: list[Node] = []
        while self._peek().text != ")":
            if parts:
                self._expect(",")
            part = self.expression(0)
            if len(parts) >= len(needed + more):
                self.fail(part.at, f"{token.text} takes {len(needed + more)} arguments at most")
            self._check(part, (needed + more)[len(parts)])
            parts.append(part)
        closing = self._take()
        if len(parts) < len(needed):
            wanted = needed[len(parts)]
            self.fail(closing.at, f"{token.text} needs a {wanted} as argument {len(parts) + 1}")
        return Node("call", kind, token.at, token.text, tuple(parts))

    def _binary(self, left: Node, token: _Token, power: int) -> Node:
        right = self.expression(power)
        if token.text in {"and", "or"}:
            parts: tuple[Node, ...] = (self._condition(left), self._condition(right))
            if left.form == token.text:  # a or b or c is one part, however many there are
                parts = (*left.parts, right)
            return Node(token.text, "condition", token.at, parts=parts)
        if power != _COMPARISON_STRENGTH:
            return Node(token.text, "number", token.at, parts=(self._number(left), self._number(right)))
        if left.form in _COMPARISONS:
            self.fail(token.at, "comparisons do not chain; write a < b and b < c")
        kinds = {left.kind, right.kind}
        if "condition" in kinds or len(kinds - {"fact"}) > 1 or kinds == {"fact", "severity"}:
            self.fail(token.at, f"a {left.kind} cannot be compared with a {right.kind}")
        if "text" in kinds and token.text not in {"==", "!="}:
            self.fail(token.at, "texts can only be compared by == and !=")
        return Node(token.text, "condition", token.at, parts=(left, right))

    def _condition(self, node: Node) -> Node:
        return self._check(node, "condition")

    def _number(self, node: Node) -> Node:
        return self._check(node, "number")

    def _check(self, node: Node, kind: str) -> Node:
        if kind in _WRITTEN:
            least, whole = _WRITTEN[kind]
            value = node.value if node.form == "literal" else None
            if not isinstance(value, Decimal) or value < least or (whole and value % 1):
                self.fail(node.at, f"a {kind} is needed here, written out")
            return node
        if kind == "severity" and node.form != "literal":
            self.fail(node.at, f"one of {', '.join(SEVERITIES)} is needed here")
        if node.kind != kind and (node.kind, kind) != ("fact", "number"):
            self.fail(node.at, f"a {kind} is needed here, and this is a {node.kind}")
        return node
