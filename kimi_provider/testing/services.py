"""Which services a local run uses: the simulator, or the real ones where their keys are set."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kimi_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_BASE_URL = "https://api.cometapi.com/v1"
DEFAULT_MODEL = "kimi-k2-thinking"
RECIPIENTS_VARIABLE = "AIRFLOW_VAR_FLIGHT_REPORT_RECIPIENTS"


@dataclass(frozen=True)
class Services:
    """Environment for Airflow (connections, variables), and what it leads to, in words."""

    environment: dict[str, str]
    kimi: str
    sendgrid: str
    sendgrid_is_simulated: bool


def choose_services(simulated: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> Services:
    """Take each real service whose key is set, and the simulator for the rest.

    :param simulated: the simulator's connections, as ``Simulator.connections()`` gives them.
    :param environ: ``KIMI_API_KEY`` with ``KIMI_BASE_URL`` and ``KIMI_MODEL``;
        ``SENDGRID_API_KEY`` with ``REPORT_FROM`` and ``REPORT_TO``.
    :raises ConfigurationError: if SendGrid's key is set without a sender and a recipient.
    """
    chosen = dict(simulated)
    kimi = "simulator"
    if key := environ.get("KIMI_API_KEY"):
        base_url = environ.get("KIMI_BASE_URL") or DEFAULT_BASE_URL
        model = environ.get("KIMI_MODEL") or DEFAULT_MODEL
        kimi = f"{model} at {base_url}"
        chosen["AIRFLOW_CONN_KIMI_DEFAULT"] = json.dumps(
            {"conn_type": "kimi", "host": base_url, "password": key, "extra": {"model": model}}
        )
    real_mail = bool(environ.get("SENDGRID_API_KEY"))
    if real_mail:
        missing = [name for name in ("REPORT_FROM", "REPORT_TO") if not environ.get(name)]
        if missing:
            raise ConfigurationError(
                f"SENDGRID_API_KEY is set, so mail would be real, but {' and '.join(missing)} is not."
                " Set both to addresses: a sender that SendGrid has verified, and who gets the report."
            )
        chosen[RECIPIENTS_VARIABLE] = environ["REPORT_TO"]
        chosen["AIRFLOW_CONN_SENDGRID_DEFAULT"] = json.dumps(
            {
                "conn_type": "sendgrid",
                "password": environ["SENDGRID_API_KEY"],
                "extra": {"from_email": environ["REPORT_FROM"]},
            }
        )
    return Services(chosen, kimi, "SendGrid" if real_mail else "simulator", not real_mail)


def airflow_environment(home: str, dags_folder: str, output: str) -> dict[str, str]:
    """Return the settings of a small, private Airflow under ``home``."""
    return {
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__DAGS_FOLDER": dags_folder,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__KIMI__STORAGE_PATH": output,
    }
