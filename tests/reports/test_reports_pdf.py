import io
import re
from pathlib import Path

import pytest

from kimi_provider.exceptions import TemplateError
from kimi_provider.reports.pdf import pdf
from kimi_provider.schemas import ChartRequest, Finding

typst = pytest.importorskip("typst", reason="Typst, the extra pdf, is not installed")
FIGURE = re.compile(r"[+\N{MINUS SIGN}$]*\d[\d,.]*%?")
HOSTILE = '#panic("x") #read("/etc/passwd") *b* _i_ $x$ `c` <l> @r \\ // [a] 50% \u202e"'


def figures(text):
    return {figure.rstrip(".,") for figure in FIGURE.findall(text)}


class Pdf:
    """What a reader of the PDF finds in it."""

    def __init__(self, data):
        from pypdf import PdfReader

        self.reader = PdfReader(io.BytesIO(data))
        self.root = self.reader.trailer["/Root"]
        text = " ".join(page.extract_text() for page in self.reader.pages)
        self.text = re.sub(r"\s+", " ", text)

    def bookmarks(self, items=None):
        names = []
        for item in self.reader.outline if items is None else items:
            names += self.bookmarks(item) if isinstance(item, list) else [item.title]
        return names

    def fonts(self):
        for page in self.reader.pages:
            for font in page["/Resources"].get("/Font", {}).values():
                yield font.get_object()

    def elements(self, node=None):
        """Yield the elements of the tree of tags."""
        node = self.root["/StructTreeRoot"] if node is None else node
        children = node.get("/K", [])
        for reference in children if isinstance(children, list) else [children]:
            child = reference.get_object()
            if isinstance(child, dict) and "/S" in child:
                yield child
                yield from self.elements(child)


@pytest.fixture
def made(build):
    def run(analysis, sheet, **options):
        report = build(analysis, sheet, formats=["pdf"], title="Brief", name="brief", **options)
        assert report.ref.failures == ()
        return Pdf((report.folder / "brief.pdf").read_bytes()), report

    return run


@pytest.mark.parametrize(("locale", "language"), [("en", "en"), ("pl", "pl")])
def test_title_language_and_bookmarks(storm, made, locale, language):
    pdf, _ = made(*storm, locale=locale)
    assert pdf.reader.metadata.title.startswith("Brief: Storm stops New York: 50")
    assert pdf.reader.metadata.author == "Kimi reports"
    assert pdf.root["/Lang"] == language
    assert pdf.root["/ViewerPreferences"]["/DisplayDocTitle"]
    wanted = {
        "en": [
            "Key figures",
            "Summary",
            "Findings",
            "Worst",
            "Recommended actions",
            "Delay",
            "Carriers",
        ],
        "pl": ["Kluczowe liczby", "Podsumowanie", "Ustalenia", "Worst", "Zalecane działania"],
    }
    assert set(wanted[locale]) <= set(pdf.bookmarks())


def test_it_is_tagged_and_pictures_have_alternatives(storm, made):
    pdf, _ = made(*storm)
    assert pdf.root["/MarkInfo"]["/Marked"]
    assert b"pdfuaid:part" in pdf.root["/Metadata"].get_data()
    elements = list(pdf.elements())
    tags = {str(element["/S"]) for element in elements}
    assert {"/H1", "/H2", "/P", "/Table", "/TH", "/TD", "/Figure", "/L"} <= tags
    alternatives = [element.get("/Alt") for element in elements if element["/S"] == "/Figure"]
    assert alternatives == ["Bar chart: Delay"]


def test_it_holds_the_figures_of_the_html(storm, made):
    pdf, report = made(*storm)
    body = figures(report.seen.split("Generated")[0])
    assert {"930", "14.9", "+8.4", "50.8%", "38.1", "30.0", "\N{MINUS SIGN}2"} <= body
    assert body <= figures(pdf.text)
    before_the_sources = pdf.text.split("Where the figures come from")[0]
    page_numbers = {"1", "2", "3", "4"}
    assert figures(before_the_sources) - figures(report.seen) <= page_numbers


def test_no_glyph_is_missing_and_fonts_are_embedded(make, made):
    polish = "Zażółć gęślą jaźń ŁÓDŹ — „cytat” \N{MINUS SIGN}5 ▲ ▼ … €"
    sheet = make.sheet([make.fact("n", f"{polish} 😀 \u0378", "text", label="Name", kpi=True)])
    pdf, _ = made(make.analysis(headline=polish, summary="[[n]]"), sheet)
    assert polish in pdf.text
    assert "[u+0378]" in pdf.text  # not assigned, so that no machine has a font for it
    assert "in no font of this machine" in pdf.text
    fonts = list(pdf.fonts())
    assert fonts
    for font in fonts:
        assert "/ToUnicode" in font
        for descendant in font["/DescendantFonts"]:
            descriptor = descendant.get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor)
    assert "\ufffd" not in pdf.text


def test_what_has_no_space_is_broken_and_whole(make, made):
    word = "".join(chr(ord("a") + at % 26) for at in range(300))
    sheet = make.sheet([make.fact("n", word, "text", kpi=True)], [make.table("t", [(word, 5)])])
    pdf, _ = made(make.analysis(headline=word[:200], summary=f"[[n]] `{word}`"), sheet)
    lines = [line for page in pdf.reader.pages for line in page.extract_text().splitlines()]
    # What runs over the edge of the page would be one line.
    assert max(map(len, lines)) < 140
    assert re.sub("[\\s\u200b]", "", pdf.text).count(word) >= 3


def test_right_to_left(make, made):
    facts = [make.fact("a", -14.86, "minutes", label="متوسط التأخير", kpi=True)]
    analysis = make.analysis(headline="عاصفة", summary="التأخير [[a]].", language="ar")
    pdf, report = made(analysis, make.sheet(facts), locale="ar")
    assert pdf.root["/Lang"] == "ar"
    assert "\N{MINUS SIGN}14.9" in pdf.text
    assert 'dir="rtl"' in report.html


def test_too_many_characters_without_a_glyph_fail_the_file_alone(make, build):
    text = "".join(map(chr, range(0x13000, 0x13040)))  # hieroglyphs, which no common font has
    sheet = make.sheet([make.fact("n", text, "text", kpi=True)])
    report = build(make.analysis(), sheet, formats=["pdf"])
    assert report.ref.attachments == ()
    assert (
        "have no glyphs for more than 40 of its characters, such as U+13000; install fonts"
        in report.seen
    )


def test_text_is_never_read_as_markup(make, made):
    table = make.table("t", [(HOSTILE, 3)], label=HOSTILE)
    sheet = make.sheet([make.fact("n", HOSTILE, "text", label=HOSTILE, kpi=True)], [table])
    analysis = make.analysis(
        headline="[[n]]",
        summary="[[n]]",
        findings=(Finding(title="[[n]]", detail="[[n]]", severity="warning"),),
        actions=("[[n]]",),
        charts=(ChartRequest(title="[[n]]", kind="bar", table="t", x="carrier", y="avg_delay"),),
    )
    pdf, _ = made(analysis, sheet)
    assert pdf.text.count('#panic("x") #read("/etc/passwd")') >= 8
    assert "root:" not in pdf.text


def test_all_rows_are_there_with_their_heading_on_every_page(make, made):
    table = make.table("t", [(f"row-{i}", i) for i in range(300)], columns=("delay",))
    pdf, _ = made(make.analysis(), make.sheet((), [table]))
    assert len(pdf.reader.pages) > 3
    assert {f"row-{i}" for i in range(300)} <= set(re.findall(r"row-\d+", pdf.text))
    assert pdf.text.count("Carrier delay, min") >= len(pdf.reader.pages) - 1


def test_the_same_report_makes_the_same_file(storm, build):
    first = (build(*storm, formats=["pdf"], name="a").folder / "a.pdf").read_bytes()
    assert (build(*storm, formats=["pdf"], name="a").folder / "a.pdf").read_bytes() == first


def test_own_templates_stand_in_and_their_faults_are_told(storm, build, tmp_path):
    templates = Path(__file__).parents[2] / "templates" / "reports"
    own = '#let doc = json("report.json")\n#set document(title: doc.title)\n= Mine: #doc.headline'
    (tmp_path / "daily_brief.typ").write_text(own)
    report = build(*storm, formats=["pdf"], name="a", search_path=[tmp_path, templates])
    assert "Mine: Storm stops New York" in Pdf((report.folder / "a.pdf").read_bytes()).text
    (tmp_path / "daily_brief.typ").write_text(own + "\n#doc.nope")
    report = build(*storm, formats=["pdf"], name="b", search_path=[tmp_path, templates])
    assert "b.pdf could not be made: Template 'daily_brief.typ'" in report.ref.failures[0]


def test_a_template_sees_no_file_but_its_own(storm, build, tmp_path):
    templates = Path(__file__).parents[2] / "templates" / "reports"
    (tmp_path / "secret.txt").write_text("secret")
    for number, path in enumerate(("../secret.txt", str(tmp_path / "secret.txt"), "secret.txt")):
        (tmp_path / "daily_brief.typ").write_text(f'#set document(title: "x")\n#read("{path}")')
        report = build(*storm, formats=["pdf"], name=f"a{number}", search_path=[tmp_path, templates])
        assert len(report.ref.failures) == 1


def test_no_template_at_all_is_told(tmp_path):
    with pytest.raises(TemplateError, match=r"no template 'x\.typ' and no 'report\.typ'"):
        pdf(None, None, None, template="x", search_path=[tmp_path], now=None)
