"""Which mails a person has to approve before they leave, who may, and what holds if nobody does.

DAG files import this at every parse, so it takes nothing heavier than the standard library.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, get_args

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kimi_provider.schemas import Severity

When = Literal["never", "always", "warning", "critical", "unless_grounded"]


@dataclass(frozen=True)
class Approval:
    """How a person approves what an alert is about to tell.

    :param when: ``never``; ``always``; ``warning`` or ``critical`` for a run whose rules or findings are
        at least so severe; ``unless_grounded`` for a text of the model whose grounding score is below
        1.0, or that has none.
    :param assigned_users: who may decide, as ``{"id": …, "name": …}``; by default everyone who may
        answer the DAG's required actions.
    :param timeout: how long to wait; ``None`` waits until somebody decides.
    :param default: what holds when the time is over: ``approve`` or ``reject``.
    :param on_rejection: what a rejection does to the task: ``skip`` or ``fail``. Nobody is told either
        way.
    :param notifiers: Airflow notifiers that ask for the decision, each time that one is needed; their
        templates find ``kimi_approval`` (``subject``, ``text``, ``url``, ``report_url``, ``version``).
    :raises ConfigurationError: if a word is not known, a time is not positive, or a user has no id.
    """

    when: When = "always"
    assigned_users: Sequence[Mapping[str, str]] = ()
    timeout: timedelta | None = None
    default: Literal["approve", "reject"] = "reject"
    on_rejection: Literal["skip", "fail"] = "skip"
    notifiers: Sequence[Any] = ()

    def __post_init__(self) -> None:
        """Refuse at DAG parse what cannot work in a run."""
        for name, words in (
            ("when", get_args(When)),
            ("default", ("approve", "reject")),
            ("on_rejection", ("skip", "fail")),
        ):
            if getattr(self, name) not in words:
                raise ConfigurationError(
                    f"{name}={getattr(self, name)!r} is not known in an approval. Choose one of: "
                    f"{', '.join(words)}."
                )
        if self.timeout is not None and (
            not isinstance(self.timeout, timedelta) or self.timeout <= timedelta(0)
        ):
            raise ConfigurationError(
                f"timeout of an approval must be a timedelta longer than nothing; got {self.timeout!r}."
            )
        users = self.assigned_users
        for user in users if isinstance(users, list | tuple) else (users,):
            if not isinstance(user, dict) or {"id", "name"} - user.keys():
                raise ConfigurationError(
                    "assigned_users of an approval are mappings with 'id' and 'name', as Airflow's auth "
                    "manager knows the users."
                )

    @classmethod
    def given(cls, value: Approval | str | None) -> Approval:
        """Return what an operator was given: an approval, or one of the words of ``when``."""
        if isinstance(value, cls):
            return value
        return cls(when=value or "never")  # type: ignore[arg-type]  # checked when it is made

    def asks(self, severity: Severity, score: float | None, *, written: bool) -> bool:
        """Whether a person has to approve.

        :param severity: the highest of what is told.
        :param score: the text's grounding score, from 0 to 1.
        :param written: whether a model wrote any of it.
        """
        if self.when in {"never", "always"}:
            return self.when == "always"
        if self.when == "unless_grounded":
            return written and (score is None or score < 1)
        return severity.rank >= type(severity)(self.when).rank
