"""Airflow's side of the services: connections, storage, templates and how failures are told."""
