"""``airflow kimi``: what people ask of the provider at a terminal."""
