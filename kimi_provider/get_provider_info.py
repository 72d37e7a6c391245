"""What Airflow knows of this provider before it imports any of it.

Airflow calls :func:`get_provider_info` inside ``import airflow``: were it to raise, or its answer to
break Airflow's schema, Airflow would not start. So it imports nothing and computes nothing that can
fail; the tests hold it against Airflow's schema and against the modules it names.
"""

from __future__ import annotations

from typing import Any

_Json = dict[str, Any]


def get_provider_info() -> _Json:
    """Return the provider's metadata, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "airflow-provider-kimi",
        "name": "Kimi",
        "description": "Fetch data, analyze it with Kimi, report and alert by e-mail.",
        "integrations": [
            {
                "integration-name": "Kimi",
                "external-doc-url": "https://platform.moonshot.ai/docs",
                "tags": ["ai"],
            },
            {
                "integration-name": "SendGrid",
                "external-doc-url": "https://www.twilio.com/docs/sendgrid",
                "tags": ["service"],
            },
        ],
        "operators": [
            {
                "integration-name": "Kimi",
                "python-modules": [
                    "kimi_provider.operators.agent",
                    "kimi_provider.operators.alert",
                    "kimi_provider.operators.analyze",
                    "kimi_provider.operators.batch",
                    "kimi_provider.operators.chat",
                    "kimi_provider.operators.fetch",
                    "kimi_provider.operators.fetch_files",
                    "kimi_provider.operators.fetch_sql",
                    "kimi_provider.operators.lineage",
                    "kimi_provider.operators.map_reduce",
                    "kimi_provider.operators.report",
                    "kimi_provider.operators.slices",
                    "kimi_provider.operators.thinking",
                ],
            },
            {
                "integration-name": "SendGrid",
                "python-modules": ["kimi_provider.operators.email"],
            },
        ],
        "hooks": [
            {"integration-name": "Kimi", "python-modules": ["kimi_provider.hooks.kimi"]},
            {"integration-name": "SendGrid", "python-modules": ["kimi_provider.hooks.sendgrid"]},
        ],
        "triggers": [
            {
                "integration-name": "Kimi",
                "python-modules": ["kimi_provider.triggers.batch", "kimi_provider.triggers.calls"],
            },
        ],
        "connection-types": [_kimi_connection(), _sendgrid_connection()],
        "email-backends": ["kimi_provider.notifications.email.send_email"],
        "notifications": [
            "kimi_provider.notifications.owner.OwnerNotifier",
            "kimi_provider.notifications.sendgrid.SendGridNotifier",
        ],
        "task-decorators": [
            {"name": "kimi", "class-name": "kimi_provider.decorators.kimi.kimi_task"},
        ],
        "extra-links": [
            "kimi_provider.hooks.links.KimiAlertsLink",
            "kimi_provider.hooks.links.KimiLineageLink",
            "kimi_provider.hooks.links.KimiReportLink",
            "kimi_provider.hooks.links.KimiTraceLink",
        ],
        "plugins": [{"name": "kimi", "plugin-class": "kimi_provider.plugins.kimi.KimiPlugin"}],
        "cli": ["kimi_provider.cli.definition.get_kimi_cli_commands"],
        "config": {
            "kimi": {
                "description": "Settings of the Kimi provider.",
                "options": {
                    "storage_path": _option(
                        "Where datasets, journals, reports and ledgers are kept: any URL that Airflow's "
                        "object storage can open. All workers, the triggerer and the API server need to "
                        "reach it. Empty: the folder ``kimi`` under ``AIRFLOW_HOME``, which is enough "
                        "for one machine.",
                        example="s3://aws_default@reports/kimi",
                    ),
                    "allow_local_storage": {
                        **_option(
                            "Whether ``storage_path`` may be a folder although tasks run on several "
                            "machines (Celery, Kubernetes): only where all of them mount the same file "
                            "system there.",
                            example="True",
                        ),
                        "type": "boolean",
                    },
                    "templates_path": _option(
                        "Folders in which templates are looked for before those that come with the "
                        "package, separated by ``:``. Each may have the subfolders ``prompts``, "
                        "``reports`` and ``alerts``.",
                        example="/opt/airflow/templates:/opt/shared/templates",
                    ),
                    "retention_days": _option(
                        "How many days files are kept, for ``airflow kimi clean`` and the maintenance "
                        "DAG: a number, or numbers by kind (``journal``, ``trace``, ``dataset``, "
                        "``report``, ``ledger``), or ``never``. A task that is cleared after its ledger "
                        "has gone mails again. Empty: all is kept.",
                        example="30, report=365, ledger=never",
                    ),
                    "sendgrid_webhook_public_key": _option(
                        "Verification key of SendGrid's signed event webhook, several separated by "
                        "commas. With it, ``POST /kimi-sendgrid/events`` on the API server takes what "
                        "became of mails into their ledgers. Empty: the extra ``webhook_public_key`` of "
                        "the connection ``sendgrid_default``.",
                        example="MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE...",
                    ),
                    "hash_key": {
                        **_option(
                            "Secret by which protected columns are hashed, of at least 16 characters. "
                            "Datasets of all workers that share it can be joined by such columns. Empty:"
                            " a key made from the first ``[core] fernet_key``, which changes with it.",
                            example="a-long-and-random-text",
                        ),
                        "sensitive": True,
                    },
                },
            },
        },
    }


def _option(description: str, *, example: str) -> _Json:
    return {
        "description": f"{description}\n",
        "version_added": "0.1.0",
        "type": "string",
        "example": example,
        "default": "",
    }


def _field(label: str, description: str, **schema: Any) -> _Json:
    """Describe one field of a connection's form; it is kept in the connection's extra."""
    return {"label": label, "description": description, "schema": schema}


def _kimi_connection() -> _Json:
    return {
        "connection-type": "kimi",
        "hook-class-name": "kimi_provider.hooks.kimi.KimiHook",
        "hook-name": "Kimi",
        "ui-field-behaviour": {
            "hidden-fields": ["login", "port", "schema"],
            "relabeling": {"host": "Base URL", "password": "API key"},
            "placeholders": {"host": "https://api.cometapi.com/v1", "model": "kimi-k2-thinking"},
        },
        "conn-fields": {
            "model": _field(
                "Model",
                "Model used where a task names none, as the host calls it.",
                type=["string", "null"],
            ),
            "host": _field(
                "Host preset",
                "Whose API it is. Empty: recognized by the base URL, which in turn is filled in from "
                "the preset where it is empty.",
                type=["string", "null"],
                enum=[
                    "cometapi",
                    "moonshot",
                    "moonshot-cn",
                    "openrouter",
                    "together",
                    "fireworks",
                    "novita",
                    "vllm",
                    "sglang",
                    "openai-compatible",
                ],
            ),
            "fallback_conn_ids": _field(
                "Fallback connections",
                "Ids of other kimi connections, separated by commas, to ask in this order where the "
                "host is down; never where it refuses.",
                type=["string", "null"],
            ),
            "max_concurrency": _limit("Calls at once", "Most calls in flight in one process."),
            "requests_per_minute": _limit(
                "Requests a minute", "Kept inside one process; use an Airflow pool across processes."
            ),
            "tokens_per_minute": _limit(
                "Tokens a minute", "The same, counted as prompt plus the most that may be answered."
            ),
            "idle_timeout": _field(
                "Idle time-out",
                "Seconds without content after which a streamed answer is given up (300 where empty).",
                type=["number", "null"],
                minimum=1,
            ),
        },
    }


def _limit(label: str, description: str) -> _Json:
    return _field(label, f"{description} Empty: no limit.", type=["integer", "null"], minimum=1)


def _sendgrid_connection() -> _Json:
    return {
        "connection-type": "sendgrid",
        "hook-class-name": "kimi_provider.hooks.sendgrid.SendGridHook",
        "hook-name": "SendGrid",
        "ui-field-behaviour": {
            "hidden-fields": ["login", "port", "schema"],
            "relabeling": {"host": "Base URL", "password": "API key"},
            "placeholders": {
                "host": "empty: SendGrid's own, by region",
                "from_email": "reports@example.com",
            },
        },
        "conn-fields": {
            "from_email": _field(
                "Sender's address",
                "An address, or an address of a domain, that SendGrid has verified.",
                type=["string", "null"],
                format="email",
            ),
            "from_name": _field("Sender's name", "Shown beside the address.", type=["string", "null"]),
            "reply_to": _field(
                "Reply to",
                "Where answers go. Empty: to the sender.",
                type=["string", "null"],
                format="email",
            ),
            "region": _field(
                "Region",
                "Where SendGrid handles the mail; a key of an EU subuser works in eu only.",
                type="string",
                enum=["global", "eu"],
                default="global",
            ),
            "allowed_domains": _field(
                "Allowed domains",
                "Domains that may be sent to, separated by commas; any other recipient is refused. "
                "Empty: any.",
                type=["string", "null"],
            ),
            "sandbox_mode": _field(
                "Sandbox",
                "Whether SendGrid only checks each mail, and sends none.",
                type=["boolean", "null"],
            ),
            "webhook_public_key": _field(
                "Webhook's public key",
                "Verification key of the signed event webhook, for what becomes of mails.",
                type=["string", "null"],
            ),
            "subuser": _field("Subuser", "The subuser in whose name to send.", type=["string", "null"]),
            "timeout": _field(
                "Time-out",
                "Seconds to wait for SendGrid (30 where empty).",
                type=["number", "null"],
                minimum=1,
                maximum=600,
            ),
        },
    }
