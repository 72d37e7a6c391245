"""The example DAG, run the way people run it."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DAG_FILE = ROOT / "dags" / "example_flight_report.py"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("airflow-home")


def _demo(
    home: Path, out: Path, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
    return subprocess.run(
        [sys.executable, "-m", "kimi_provider.testing.demo", "--out", str(out), *arguments],
        cwd=ROOT,
        env={**clean, "AIRFLOW_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_the_demo_ends_in_a_report_a_mail_and_a_trace(home, tmp_path):
    ran = _demo(home, tmp_path, "--date", "2013-02-08")

    assert ran.returncode == 0, ran.stdout + ran.stderr
    for task in ("fetch_flights", "fetch_weather", "fetch_airlines", "analyze", "report", "alert"):
        assert f"✓ {task}" in ran.stdout
    assert "Kimi: simulator; SendGrid: simulator" in ran.stdout
    folder = tmp_path / "2013-02-08"
    assert "930" in (folder / "report.html").read_text()
    assert "930" in (folder / "report.txt").read_text()
    assert json.loads((folder / "trace.json").read_text())["entries"]
    assert len(list((folder / "mail").glob("*.eml"))) == 1


def test_a_date_without_data_ends_in_one_clear_error_and_no_mail(home, tmp_path):
    ran = _demo(home, tmp_path, "--date", "2013-05-01")

    assert ran.returncode == 1
    assert "has no rows for" in ran.stdout
    assert "Traceback" not in ran.stdout + ran.stderr
    assert not list(tmp_path.rglob("*.eml"))


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["--date", "8.2.2013"], {}, "YYYY-MM-DD"),
        ([], {"SENDGRID_API_KEY": "SG.planted-key"}, "REPORT_FROM and REPORT_TO"),
    ],
    ids=["no date", "a real SendGrid key without people"],
)
def test_a_wrong_setting_is_said_at_once(home, tmp_path, arguments, environment, said):
    ran = _demo(home, tmp_path, *arguments, **environment)

    assert ran.returncode == 2
    assert said in ran.stderr
    assert "planted-key" not in ran.stdout + ran.stderr


def test_the_dag_fits_on_a_screen():
    assert len(DAG_FILE.read_text().splitlines()) <= 65


def test_the_dag_imports_nothing_heavy():
    modules = {
        node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        for node in ast.walk(ast.parse(DAG_FILE.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert modules <= {
        "airflow.sdk",
        "kimi_provider.alerts.rules",
        "kimi_provider.operators.alert",
        "kimi_provider.operators.analyze",
        "kimi_provider.operators.fetch",
        "kimi_provider.operators.report",
        "kimi_provider.sources.pagination",
    }
