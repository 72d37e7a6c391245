"""From an analysis and its facts to a report: one document, drawn as mail, page and text."""
