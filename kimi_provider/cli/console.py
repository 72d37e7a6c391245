"""What the commands share: tables or JSON on the way out, and errors as sentences with an exit code."""

from __future__ import annotations

import functools
import json
import os
import sys
from typing import TYPE_CHECKING, Any, Protocol

from airflow.cli.simple_table import AirflowConsole
from airflow.sdk.exceptions import AirflowException
from airflow.utils.cli import suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded
from sqlalchemy.exc import SQLAlchemyError

from kimi_provider.exceptions import ConfigurationError, KimiProviderError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping, Sequence

FAILED, MISUSED = 1, 2


class Work(Protocol):
    """A command: takes the parsed arguments, returns the exit code."""

    __name__: str

    def __call__(self, args: Namespace, /) -> int:
        """Do what was asked."""


def command(work: Work) -> Callable[[Namespace], None]:
    """Make a command of a function: connections and settings are there, and errors are sentences.

    It exits with 0 where all is well, with 1 where something is not, and with 2 where it was asked for
    what cannot be.

    :param work: returns the exit code.
    """

    @functools.wraps(work)
    @suppress_logs_and_warning
    @providers_configuration_loaded
    def run(args: Namespace) -> None:
        # Else connections and Variables of the database are not found; Airflow's own commands do so too.
        os.environ["_AIRFLOW_PROCESS_CONTEXT"] = "server"
        try:
            code = work(args)
        except ConfigurationError as error:
            code = _say(str(error), MISUSED)
        except (KimiProviderError, AirflowException) as error:
            code = _say(f"{type(error).__name__}: {error}", FAILED)
        except SQLAlchemyError as error:
            code = _say(
                f"Airflow's database does not answer ({type(error).__name__}). Is it there, and up to"
                " date? See: airflow db check, airflow db migrate.",
                FAILED,
            )
        except OSError as error:
            code = _say(f"{type(error).__name__}: {error}", FAILED)
        if code:
            raise SystemExit(code)

    return run


def show(rows: Sequence[Mapping[str, Any]], output: str) -> None:
    """Print rows in Airflow's own formats, numbers as numbers.

    :param rows: all with the same keys.
    :param output: ``table``, ``json``, ``yaml`` or ``plain``.
    """
    if output == "json":
        # Airflow's own printing makes text of every number, and takes long to color a whole trace.
        sys.stdout.write(f"{json.dumps(list(rows), ensure_ascii=False)}\n")
    elif output == "yaml":
        AirflowConsole().print_as_yaml([dict(row) for row in rows])  # type: ignore[arg-type]  # takes lists
    else:
        shown = [{name: _text(value, output) for name, value in row.items()} for row in rows]
        AirflowConsole().print_as(shown, output)


def note(text: str) -> None:
    """Say something beside the output, where it does not break what reads it."""
    sys.stderr.write(f"{text}\n")


def _say(text: str, code: int) -> int:
    note(text)
    return code


def _text(value: object, output: str) -> str:
    from rich.markup import escape

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    # Texts of models and data must not be read as styles.
    return escape(str(value)) if output == "table" else str(value)
