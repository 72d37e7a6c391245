"""The stages of a report: fetch, analyze, report, alert."""
