import pytest

from kimi_provider.reports.markdown import escaped
from kimi_provider.schemas import Finding

HOSTILE = "# <script>x</script> [a](http://e.example) | `b` *c* _d_ \\ ![i](x) $m$ ~~s~~"


def parsed(text):
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


@pytest.mark.parametrize(
    "text", [HOSTILE, "- a", "+ a", "1. a", "2) a", "=== ", "> q", "# h", "a\n- b\n  3. c", "***"]
)
def test_escaped_text_is_text(text):
    html = parsed(escaped(text))
    assert html.count("<") == html.count("<p>") + html.count("</p>")
    shown = html.replace("<p>", "").replace("</p>", "").replace("&lt;", "<").replace("&gt;", ">")
    assert [line.strip() for line in shown.strip().split("\n")] == [
        line.strip() for line in text.split("\n")
    ]


def test_data_and_model_become_no_markup(make, build):
    table = make.table("t", [(HOSTILE, 3)], label=HOSTILE)
    sheet = make.sheet([make.fact("name", HOSTILE, "text", label=HOSTILE, kpi=True)], [table])
    findings = (Finding(title="[[name]]", detail="<b>x</b> [[name]]", severity="info"),)
    analysis = make.analysis(summary=HOSTILE, headline="[[name]]", findings=findings)
    html = parsed(build(analysis, sheet, title=HOSTILE).markdown)
    assert "<script" not in html
    assert "<img" not in html
    assert "href" not in html
    assert html.count("<table>") == 1
    assert "<th>Carrier</th>" in html


def test_structure_and_emphasis_stay(storm, build):
    analysis, sheet = storm
    summary = "Late by **[[day.delay]]**:\n\n- one\n  1. two\n\n> quoted\n\n`code`"
    report = build(analysis.model_copy(update={"summary": summary}), sheet)
    html = parsed(report.markdown)
    assert "<strong>14.9 min</strong>" in html
    assert "<ol>\n<li>two</li>" in html
    assert "<blockquote>\n<p>quoted</p>" in html
    assert "<code>code</code>" in html
    assert "<h1>Storm stops New York: 50.8% cancelled</h1>" in html
    assert "<td>Southwest Airlines Co.</td>" in html
    assert 'style="text-align:right">38.1</td>' in html


def test_each_sentence_leads_to_its_figures_and_their_sql(storm, build):
    analysis, sheet = storm
    text = build(analysis, sheet).markdown
    assert (
        "1. Storm stops New York: 50.8% cancelled\n   - Cancelled: 50.8% (`day.cancelled`, Query 1)"
        in text
    )
    assert "Flights left 14.9 min late, 8.4 min more." in text
    assert "The end.\n   -" not in text
    assert text.count("```sql\nSELECT 1\n```") == 1
