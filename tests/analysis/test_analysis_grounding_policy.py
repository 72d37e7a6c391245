"""What an objection leads to: the sentence goes, gets a mark, or is only recorded."""

import json

import pytest

from kimi_provider.analysis.audit import audit_record, write_audit
from kimi_provider.analysis.draft import AnalysisDraft
from kimi_provider.analysis.grounding import check
from kimi_provider.analysis.grounding_policy import GroundingPolicy, Policy
from kimi_provider.analysis.grounding_treatment import MARK, treated
from kimi_provider.exceptions import ConfigurationError, UngroundedError
from kimi_provider.schemas import Analysis, ChartRequest, Usage

LIE = "There were 12345 of them."
TRUE = "Flights fell to [[day.flights]]."


def draft(summary, **fields):
    whole = {"headline": "Delays stood at [[day.delay]]", "summary": summary, "findings": []}
    return AnalysisDraft.model_validate(whole | fields)


def treat(answer, sheet, **policy):
    return treated(answer, check(answer, sheet), sheet, GroundingPolicy(**policy))


def finding(title, detail):
    return {"title": title, "detail": detail, "severity": "info"}


def test_strict_drops_the_sentence_and_leaves_its_neighbors(sheet):
    done = treat(draft(f"{TRUE} {LIE} All is well."), sheet)
    assert done.draft.summary == f"{TRUE} All is well."
    assert [(i.kind, i.action) for i in done.grounding.issues] == [("digit", "dropped")]
    assert (done.grounding.score, done.grounding.sentences) == (1.0, 3)


def test_annotate_marks_the_sentence_before_its_end(sheet):
    done = treat(draft(f"{TRUE} {LIE}"), sheet, default="annotate")
    assert done.draft.summary == f"{TRUE} {LIE[:-1]} {MARK}."
    assert done.grounding.issues[0].action == "annotated"
    assert done.grounding.score == pytest.approx(2 / 3, abs=1e-3)


def test_warn_changes_nothing_but_the_score(sheet):
    done = treat(draft(f"{TRUE} {LIE}"), sheet, numbers="warn")
    assert done.draft.summary == f"{TRUE} {LIE}"
    assert done.grounding.issues[0].action == "warned"
    assert done.grounding.score < 1


def test_an_id_that_there_is_not_never_reaches_a_report(sheet):
    done = treat(draft(f"{TRUE} It was [[nothing.here]]."), sheet, unknown_ids="warn")
    assert "nothing.here" not in done.draft.summary
    assert MARK in done.draft.summary


def test_a_finding_goes_with_its_title_and_a_headline_becomes_a_fact(sheet):
    findings = [finding("Some 77 more", TRUE), finding("Delays", f"{TRUE} {LIE}")]
    done = treat(draft(TRUE, headline="It was 999", findings=findings), sheet)
    assert [(f.title, f.detail) for f in done.draft.findings] == [("Delays", TRUE)]
    assert done.draft.headline == "Average delay: [[day.delay]]"
    assert check(done.draft, sheet) == ()


@pytest.mark.parametrize(("policy", "kind"), [("annotate", "delay 9"), ("strict", "observation")])
def test_a_kind_is_never_marked_and_never_a_sentence(sheet, policy, kind):
    findings = [finding("Delays", TRUE) | {"kind": "delay 9"}]
    done = treat(draft(TRUE, findings=findings), sheet, default=policy)
    assert done.draft.findings[0].kind == kind
    assert (done.grounding.score, done.grounding.sentences) == (1.0, 4)


def test_a_kind_holds_no_figure(sheet):
    findings = [finding("Delays", TRUE) | {"kind": "[[total]] delays"}]
    done = treat(draft(TRUE, findings=findings), sheet, default="warn")
    assert done.draft.findings[0].kind == "observation"


def test_every_sentence_that_a_reader_sees_is_rewritten():
    chart = {"title": "c", "kind": "bar", "table": "t", "x": "x", "y": "y"}
    written = draft("s", headline="h", findings=[finding("t", "d")], actions=["a"], charts=[chart])
    texts = written.rewritten(str.upper).texts()
    assert [t for where, t in texts.items() if not where.endswith("kind")] == [*"HSTDAC"]


def test_a_chart_that_cannot_be_drawn_does_not_count(sheet):
    chart = {"title": "Some 77 more", "kind": "bar", "table": "none", "x": "a", "y": "b"}
    done = treat(draft(TRUE, charts=[chart]), sheet, default="warn")
    assert (done.draft.charts, done.grounding.score, done.grounding.sentences) == ((), 1.0, 2)
    assert {(i.kind, i.action) for i in done.grounding.issues} == {
        ("digit", "dropped"),
        ("chart", "dropped"),
    }


def test_an_answer_of_which_nothing_is_left_fails(sheet):
    with pytest.raises(UngroundedError, match="no sentence"):
        treat(draft(LIE), sheet)


def test_markup_is_no_matter_of_policy(sheet):
    done = treat(draft(f"{TRUE} <b>late</b>."), sheet, default="warn")
    assert done.draft.summary == TRUE


def test_a_policy_is_given_in_a_word_in_fields_or_as_an_object():
    assert GroundingPolicy.given("warn").of("numbers") is Policy.WARN
    given = GroundingPolicy.given({"default": "annotate", "units": "strict"})
    assert (given.of("units"), given.of("entities")) == (Policy.STRICT, Policy.ANNOTATE)
    assert given.of("") is Policy.STRICT
    assert GroundingPolicy.given(given) is given
    with pytest.raises(ConfigurationError, match="strict, annotate, warn"):
        GroundingPolicy.given("lax")


def test_the_audit_leads_from_each_sentence_to_the_sql(sheet, tmp_path):
    done = treat(draft(f"{TRUE} Again: [[day.flights]], [[total]]."), sheet)
    analysis = Analysis(
        headline=done.draft.headline,
        summary=done.draft.summary,
        findings=(),
        charts=(ChartRequest(title="Of [[total]]", kind="bar", table="t", x="x", y="y"),),
        facts=sheet.facts,
        facts_uri="f",
        trace_uri="t",
        model="m",
        usage=Usage(),
    )
    record = audit_record(
        analysis,
        sheet,
        grounding=done.grounding,
        policy=GroundingPolicy(),
        template="mine",
        template_sha256="0" * 64,
        request_ids=["r1"],
        repairs=1,
    )
    write_audit(tmp_path / "audit.json", record)
    read = json.loads((tmp_path / "audit.json").read_text())
    assert [s["footnotes"] for s in read["sentences"]] == [[1], [2], [2, 3], [3]]
    assert [n["fact"] for n in read["footnotes"]] == ["day.delay", "day.flights", "total"]
    assert {n["sql"] for n in read["footnotes"]} == {"SELECT 1"}
    assert (read["repairs"], read["request_ids"], read["template"]["name"]) == (1, ["r1"], "mine")
