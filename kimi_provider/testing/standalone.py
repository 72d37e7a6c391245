"""Start a whole Airflow with the example DAG, its connections and the simulator, for a look around."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

from kimi_provider.exceptions import ConfigurationError
from kimi_provider.testing import Simulator
from kimi_provider.testing.services import airflow_environment, choose_services


def main() -> int:
    """Run ``airflow standalone`` until it is stopped; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m kimi_provider.testing.standalone", description=__doc__
    )
    parser.add_argument("--port", type=int, default=8080, help="port of Airflow's web UI")
    parser.add_argument("--dags", type=Path, default=Path("dags"), help="folder of the DAGs")
    options = parser.parse_args()
    home = Path(os.environ.get("AIRFLOW_HOME") or Path(".airflow").absolute())
    with Simulator() as simulator:
        try:
            services = choose_services(simulator.connections())
        except ConfigurationError as error:
            sys.stderr.write(f"{error}\n")
            return 2
        environment = {
            **os.environ,
            **airflow_environment(str(home), str(options.dags.absolute()), (home / "kimi").as_uri()),
            **services.environment,
            # Airflow starts its parts by the name "airflow".
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(options.port),
            "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{options.port}",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{options.port}/execution/",
            # Nobody but this machine reaches it, so nobody needs a password.
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            # The example has no schedule, so nothing runs before somebody presses Trigger.
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
        }
        sys.stdout.write(
            f"Airflow      http://127.0.0.1:{options.port}  (ready in about half a minute; no login)\n"
            f"Kimi         {services.kimi}\n"
            f"SendGrid     {services.sendgrid}\n"
            f"Mailbox      {simulator.url}/mailbox\n"
            "To see a report: open the DAG example_flight_report, press Trigger, choose the logical date"
            " 2013-02-08.\n\n"
        )
        sys.stdout.flush()
        command = [sys.executable, "-m", "airflow", "standalone"]
        # In a group of its own, so that all of its parts can be told to stop, and each is told once.
        with subprocess.Popen(command, env=environment, start_new_session=True) as airflow:  # noqa: S603 — fixed command
            signal.signal(signal.SIGTERM, signal.default_int_handler)
            try:
                return airflow.wait()
            except KeyboardInterrupt:
                os.killpg(airflow.pid, signal.SIGTERM)
                return 0


if __name__ == "__main__":
    sys.exit(main())
