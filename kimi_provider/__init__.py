"""Apache Airflow provider that turns data into trusted, e-mailed reports written by Kimi."""

__version__ = "0.1.0"
