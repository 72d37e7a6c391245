import pytest

from kimi_provider.analysis.grounding import STYLES
from kimi_provider.exceptions import RenderError
from kimi_provider.reports.format import Style
from kimi_provider.reports.prose import Prose
from kimi_provider.reports.text import one_line

HOSTILE = "**x** [[a]] <script>alert(1)</script> ![i](http://e.example/i.png) \ue0000\ue001 {{ 7*7 }}"
AS_TEXT = "**x** [[a]] <script>alert(1)</script> ![i](http://e.example/i.png) 0 {{ 7*7 }}"


@pytest.fixture
def prose(make):
    facts = [make.fact("a", 12.5, "minutes"), make.fact("bad", HOSTILE, "text")]
    return Prose({fact.id: fact for fact in facts}, link_hosts={"ok.example"})


def test_references_become_figures_in_both_parts(prose):
    rich = prose.paragraphs("Delay **[[a]]** and [[ a | signed ]].")
    assert rich.text == "Delay 12.5 min and +12.5 min."
    assert rich.html == (
        '<p>Delay <strong><span class="figure">12.5 min</span></strong> and '
        '<span class="figure">+12.5 min</span>.</p>'
    )


def test_a_sentence_that_ends_in_a_full_stop_of_its_own_has_one(make):
    prose = Prose({"who": make.fact("who", "Acme Inc.", "text"), "n": make.fact("n", 3, "number")})
    assert prose.paragraphs("It was [[who]]. It had [[n]].").text == "It was Acme Inc. It had 3."
    assert prose.line("By [[who]]...") == "By Acme Inc...."
    told = [sentence for sentence, _ in prose.sentences("It was [[who]]. It had [[n]].")]
    assert told == ["It was Acme Inc.", "It had 3."]


def test_text_from_data_stays_text(prose):
    rich = prose.paragraphs("Say [[bad]].")
    assert rich.text == f"Say {AS_TEXT}."
    escaped = AS_TEXT.replace("<", "&lt;").replace(">", "&gt;")
    assert rich.html == f"<p>Say <bdi>{escaped}</bdi>.</p>"
    assert prose.line("[[bad]]") == AS_TEXT
    assert prose.inline("[[bad]]").html == f"<bdi>{escaped}</bdi>"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=http://e.example/i.png>",
        "![alt](http://e.example/i.png)",
        "[click](http://e.example/[[a]])",
        "[click](javascript:alert(1))",
        "<https://e.example>",
        "[click](https://ok.example/?q=[[a]])",
        "[click](https://ok.example.evil.example/)",
        "[click](//ok.example/)",
        '[click](https://ok.example/ "onmouseover=alert(1)")',
    ],
)
def test_the_models_markup_is_cut_down(prose, text):
    html = prose.paragraphs(text).html
    assert "<script" not in html
    assert "<img" not in html
    assert "title=" not in html
    assert "e.example" not in html or "&lt;img" in html
    assert "<a" not in html or 'href="https://ok.example/"' in html


def test_links_to_allowed_hosts_stay(prose):
    html = prose.paragraphs(
        "[see](https://ok.example/p) or https://ok.example/q, not www.e.example/x"
    ).html
    assert '<a href="https://ok.example/p" rel="noopener noreferrer">see</a>' in html
    assert "https://ok.example/q" in html
    assert "not (link removed)" in html


def test_markdown_becomes_plain_text():
    text = "# Head\n\none\ntwo\n\n- a\n- **b**\n  - c\n\n3. x\n4. y\n\nend `code`"
    assert Prose({}).paragraphs(text).text == (
        "Head\n\none two\n\n- a\n- b\n  - c\n\n3. x\n4. y\n\nend code"
    )


def test_a_line_cannot_start_a_header(prose):
    line = prose.line("A\r\nBcc: x@example.org\u2028B\x00 [[a]]\n\n# C", 200)
    assert line == "A Bcc: x@example.org B 12.5 min # C"


def test_the_check_of_answers_knows_the_same_styles():
    assert set(Style) == STYLES


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[nope]]", "cites the fact 'nope'"),
        ("[[a|loud]]", "'a' in the style 'loud'"),
        ("[[not an id]]", "malformed reference"),
        ("[[a", "malformed reference"),
    ],
)
def test_a_reference_that_names_nothing_fails(prose, text, message):
    for render in (prose.line, prose.inline, prose.paragraphs):
        with pytest.raises(RenderError, match=message):
            render(text)


def test_one_line_is_cut_at_a_word():
    assert one_line("alpha beta gamma delta", 14) == "alpha beta…"
    assert one_line("x" * 20, 10) == "x" * 9 + "…"
    assert one_line("\u200bok \ufeff👩\u200d✈️") == "ok 👩\u200d✈️"


def test_a_sentence_that_a_check_objected_to_says_so(prose):
    rich = prose.paragraphs("Delay [[a]] was a record [[~note:unverified]]. Next.")
    assert rich.text == "Delay 12.5 min was a record (⚠ not verified). Next."
