"""Every morning: how punctual were New York's airports, and does anyone need to know."""

from airflow.sdk import dag

from kimi_provider.alerts.rules import Always, Threshold
from kimi_provider.operators.alert import AlertOperator
from kimi_provider.operators.analyze import KimiAnalyzeOperator
from kimi_provider.operators.fetch import HttpFetchOperator
from kimi_provider.operators.report import ReportOperator
from kimi_provider.sources.pagination import PagePagination


# On live data: schedule="@daily", with a start_date. The sample data has January and February 2013.
@dag(schedule=None)
def example_flight_report() -> None:
    """Fetch flights and weather, let Kimi find what matters, mail the report, flag bad days."""

    def fetch(name: str, **query: str) -> HttpFetchOperator:
        return HttpFetchOperator(
            task_id=f"fetch_{name}",
            http_conn_id="flights_api",
            endpoint=f"data/{name}",
            query=query,
            records_path="data",
            pagination=PagePagination(),
        )

    last_week = {"from": "{{ macros.ds_add(ds, -7) }}", "to": "{{ ds }}"}
    analysis = KimiAnalyzeOperator(
        task_id="analyze",
        prompt="flight_on_time",
        datasets={
            "flights": fetch("flights", **last_week).output,
            "weather": fetch("weather", **last_week).output,
            "airlines": fetch("airlines").output,
        },
        parameters={"day": "{{ ds }}"},
    ).output
    report = ReportOperator(
        task_id="report",
        analysis=analysis,
        template="daily_brief",
        title="New York flights",
    ).output
    AlertOperator(
        task_id="alert",
        analysis=analysis,
        report=report,
        rules=[Always(), Threshold("day.cancelled_share", at_least=0.1, severity="critical")],
        to="{{ var.value.get('flight_report_recipients', 'operations@example.com') }}",
    )


example_flight_report()
