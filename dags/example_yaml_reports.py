"""Airflow DAGs: one for each ``*report.yaml`` beside this file."""

from kimi_provider.operators.report_files import load_reports

load_reports(__file__)
