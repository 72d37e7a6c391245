"""What is to happen to the sentences that the checks object to, as a template or a task declares it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, ValidationError

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.schemas import Value


class Policy(StrEnum):
    """What an objection leads to.

    ``strict``: the model is asked for a repair; what it does not mend is dropped, or the analysis
    fails. ``annotate``: the sentence stays, with a visible mark. ``warn``: it stays, and the result
    says what was found.
    """

    STRICT = "strict"
    ANNOTATE = "annotate"
    WARN = "warn"


class GroundingPolicy(Value):
    """The policy of each check; where one is ``None``, ``default`` holds.

    ``on_failure`` says what a strict objection leads to that is still there after the repair: ``drop``
    takes the sentence out, and a finding whose title goes with it; ``fail`` raises
    :class:`~kimi_provider.exceptions.UngroundedError`. ``names`` are further names that a text may
    hold. Broken references, markup and links are no matter of policy: they are never let through.
    """

    default: Policy = Policy.STRICT
    unknown_ids: Policy | None = None
    numbers: Policy | None = None
    directions: Policy | None = None
    superlatives: Policy | None = None
    units: Policy | None = None
    entities: Policy | None = None
    on_failure: Literal["drop", "fail"] = "fail"
    names: tuple[str, ...] = ()

    def of(self, check: str) -> Policy:
        """Return the policy of a check, by the name of its field; ``strict`` where it has none."""
        if check not in _CHECKS:
            return Policy.STRICT
        chosen: Policy | None = getattr(self, check)
        return chosen or self.default

    @classmethod
    def given(cls, value: GroundingPolicy | dict[str, object] | str | None) -> GroundingPolicy | None:
        """Return what a task was given as a policy: an object, its fields, or one word for all checks.

        :raises ConfigurationError: if it is none, with the words that are allowed.
        """
        if value is None or isinstance(value, cls):
            return value
        try:
            return cls.model_validate(_long_form(value))
        except ValidationError as error:
            problems = "; ".join(
                f"{'.'.join(map(str, e['loc'])) or 'grounding'}: {e['msg']}" for e in error.errors()
            )
            raise ConfigurationError(
                f"grounding: {problems}. Fields: {', '.join(cls.model_fields)}; policies: "
                f"{', '.join(Policy)}."
            ) from None


def _long_form(value: object) -> object:
    return {"default": value} if isinstance(value, str) else value


Declared = Annotated[GroundingPolicy, BeforeValidator(_long_form)]
"""A policy as front matter declares it: ``grounding: warn`` is short for ``{default: warn}``."""

_CHECKS = frozenset({"unknown_ids", "numbers", "directions", "superlatives", "units", "entities"})
