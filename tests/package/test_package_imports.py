"""What importing costs, and that every module can be imported and says what it is for."""

from __future__ import annotations

import ast
import json
import subprocess
import sys

import pytest

# Loaded by the function that uses them; at the top of a module each would be paid at every DAG parse.
HEAVY = {
    "babel",
    "css_inline",
    "duckdb",
    "email_validator",
    "fastapi",
    "markdown_it",
    "nh3",
    "numpy",
    "pandas",
    "pyarrow",
    "sendgrid",
    "starlette",
    "uvicorn",
    "vl_convert",
}
MOST_NEW_MODULES = 60
# Of all operators by themselves: small files of this package, and nothing of another one.
MOST_OF_OPERATORS = 40


def _new_modules(base, code):
    """Run ``base``, then ``code``, in a new process; return the modules that ``code`` added."""
    before = "import json, sys\n" + base + "\nbefore = set(sys.modules)\n"
    after = "\nprint(json.dumps(sorted(set(sys.modules) - before)))"
    script = before + code + after
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def _names(root, *rooms):
    """Dotted names of all modules in these rooms (default: in the package)."""
    package = root / "kimi_provider"
    files = [f for room in rooms or [""] for f in (package / room).rglob("*.py")]
    parts = [f.relative_to(root).with_suffix("").parts for f in files]
    return sorted({".".join(p[:-1] if p[-1] == "__init__" else p) for p in parts})


@pytest.fixture(scope="module")
def added(root):
    names = _names(root, "operators", "notifications", "decorators", "triggers")
    # What a DAG file imports of the other rooms; their inner modules are loaded when a task runs.
    names += [f"kimi_provider.hooks.{name}" for name in ("kimi", "sendgrid", "retry_policy")]
    names += ["kimi_provider.plugins.kimi", "kimi_provider.alerts.rules"]
    names += ["kimi_provider.sources.pagination"]
    return _new_modules(
        "from airflow.sdk import BaseOperator", "\n".join(f"import {name}" for name in names)
    )


def test_all_operators_add_few_modules(root):
    code = "\n".join(f"import {name}" for name in _names(root, "operators"))
    added = _new_modules("from airflow.sdk import BaseOperator", code)
    outside = [name for name in added if name.partition(".")[0] != "airflow"]
    assert "kimi_provider.operators.analyze" in outside
    assert len(outside) <= MOST_OF_OPERATORS, outside


def test_all_that_a_dag_imports_adds_few_modules(added):
    outside = [name for name in added if name.partition(".")[0] != "airflow"]
    assert "kimi_provider.operators.analyze" in outside
    assert len(outside) <= MOST_NEW_MODULES, outside


def test_all_that_a_dag_imports_loads_no_heavy_library(added):
    assert not HEAVY & {name.partition(".")[0] for name in added}


def test_every_process_loads_the_plugin_and_pays_nothing_for_it():
    added = _new_modules(
        "import airflow.sdk.execution_time.task_runner",
        "from kimi_provider.plugins.kimi import KimiPlugin; KimiPlugin().name; KimiPlugin().timetables",
    )
    assert "kimi_provider.plugins.kimi" in added
    assert set(added) <= {"kimi_provider", "kimi_provider.plugins", "kimi_provider.plugins.kimi"}


def test_nothing_below_the_hooks_loads_airflow(root):
    names = _names(root, "client", "analysis", "reports", "alerts", "sources")
    added = _new_modules("", "\n".join(f"import {name}" for name in names))
    assert not [name for name in added if name.partition(".")[0] == "airflow"]


def test_every_module_can_be_imported(root):
    # Code that starts something when it is run says so by the name __main__, and can be imported.
    names = _names(root)
    added = _new_modules("", "\n".join(f"import {name}" for name in names))
    assert set(names) <= set(added)


def test_every_module_says_what_it_is_for(root):
    silent = [
        str(file.relative_to(root))
        for file in (root / "kimi_provider").rglob("*.py")
        if not ast.get_docstring(ast.parse(file.read_text()))
    ]
    assert not silent
