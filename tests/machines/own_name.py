"""What Airflow calls a machine, since all of a test's have one host name."""

import os


def own_name() -> str:
    return os.environ["KIMI_MACHINE"]
