"""What the provider adds to Airflow's web UI."""
