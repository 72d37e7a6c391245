from dataclasses import dataclass

import pytest

from kimi_provider.exceptions import RenderError, TemplateError
from kimi_provider.reports.environment import environment, render


@dataclass(frozen=True)
class Thing:
    title: str = "a <b>"
    size: int = 3


@pytest.fixture
def rendered(tmp_path):
    def run(source, name="t.html.j2", **options):
        (tmp_path / name).write_text(source)
        return render(environment([tmp_path]), name, {"thing": Thing(), "rows": {"a": 1}}, **options)

    return run


def test_html_is_escaped_and_text_is_not(rendered):
    assert rendered("{{ thing.title }}") == "a &lt;b&gt;"
    assert rendered("{{ thing.title }}", "t.txt.j2") == "a <b>"


def test_a_wrong_field_is_named_with_template_line_and_what_there_is(rendered):
    with pytest.raises(TemplateError) as error:
        rendered("ok\n{{ thing.titel }}")
    assert str(error.value) == (
        "Template 't.html.j2', line 2, wants the field 'titel' of a Thing; "
        "fields available: title, size. Names at the top: rows, thing."
    )


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n\n{{ thin }}", "line 3, wants the name 'thin'.*Names at the top: rows, thing"),
        ("{% if nope %}{% endif %}", "'nope'"),
        ("{{ rows.b }}", "'b' of a dict; fields available: a"),
        ("\n{% for %}", "'t.html.j2', line 2"),
        ("{{ thing.size / 0 }}", "line 1, division by zero"),
        ("{% include 'none.j2' %}", "no template 'none.j2'.*t.html.j2"),
        ("{{ thing.__class__ }}", "unsafe"),
        ("{{ lipsum() }}", "'lipsum'"),
        ("{{ 'a' * 1000000000 }}", "only numbers multiply"),
        ("{{ 9 ** 99999999 }}", "only numbers multiply"),
        ("{{ [1]|batch(400000000, 0)|list }}", "may not batch by 400000000; 1000 at most"),
        ("{{ [[1]]|tojson(indent=900000000) }}", "line 1: No filter named 'tojson' here: .*gigabytes"),
        ("{% if rows.a %}{{ rows|tojson }}{% endif %}", "line 1, No filter named 'tojson' here: "),
        ("\n{{ 'a'|indent }}", "line 2: No filter named 'indent' here: .*'wrapped"),
        ("{{ 'a'|sparkle }}", "No filter named 'sparkle'. Filters there are: abs, .*wrapped"),
        ("{% extends 't.html.j2' %}", "'t.html.j2' extends, includes or calls itself without end"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "calls itself without end"),
        ("{{ '%1000000000d' % 1 }}", "only numbers multiply"),
        ("{{ '%1000000000d'|format(1) }}", "format"),
        ("{{ '{:1000000000}'.format(1) }}", "unsafe"),
        ("{{ 'a'.ljust(1000000000) }}", "unsafe"),
        ("{{ rows.update({}) }}", "unsafe"),
        ("{% for i in range(10000000) %}{% endfor %}", "100000"),
    ],
)
def test_what_a_template_may_not_do_is_one_clear_error(rendered, source, message):
    with pytest.raises(TemplateError, match=message):
        rendered(source)


def test_numbers_may_be_calculated_with(rendered):
    assert rendered("{{ thing.size * 2 }} {{ thing.size % 2 }}") == "6 1"


def test_output_is_bounded(rendered):
    with pytest.raises(RenderError, match="more than 1,000 characters"):
        rendered("{% for i in range(2000) %}x{% endfor %}", limit=1000)


def test_the_first_folder_with_the_name_wins(tmp_path):
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.html.j2").write_text(folder)
    env = environment([tmp_path / "mine", tmp_path / "theirs"])
    assert render(env, "t.html.j2", {}) == "mine"
    with pytest.raises(TemplateError, match=r"Templates there are: t\.html\.j2"):
        render(env, "other.html.j2", {})


def test_a_unit_stays_with_its_number_and_nothing_becomes_markup(rendered):
    text = "Feb 8, 2013: \N{MINUS SIGN}2.5 min. <b>1 x</b> &#39; 7 a"
    done = rendered("{{ '" + text + "'|together }}")
    assert '<span class="together">\N{MINUS SIGN}2.5 min</span>.' in done
    assert "8, 2013" in done
    assert "&lt;b&gt;" in done
    assert "&amp;#39;" in done


def test_a_template_extends_the_one_that_it_stands_in_for(tmp_path):
    files = {
        "mine/t.html.j2": '{% extends "t.html.j2" %}{% block a %}mine {{ super() }}{% endblock %}',
        "theirs/t.html.j2": '{% extends "t.html.j2" %}{% block b %}theirs{% endblock %}',
        "bundled/t.html.j2": "{% block a %}<b>{% endblock %}{% block b %}{{ word }}{% endblock %}",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(text)
    # A folder that is named twice must not be extended by itself.
    env = environment([tmp_path / name for name in ("mine", "theirs", "mine", "bundled")])
    assert render(env, "t.html.j2", {}) == "mine <b>theirs"
    (tmp_path / "theirs" / "t.html.j2").unlink()
    env = environment([tmp_path / name for name in ("mine", "theirs", "mine", "bundled")])
    assert render(env, "t.html.j2", {"word": "<"}) == "mine <b>&lt;"
    (tmp_path / "bundled" / "t.html.j2").write_text("{% for %}")
    with pytest.raises(TemplateError, match=r"^Template 't\.html\.j2', line 1"):
        render(environment([tmp_path / "mine", tmp_path / "bundled"]), "t.html.j2", {})


def test_a_part_may_include_itself(tmp_path):
    (tmp_path / "t.html.j2").write_text(
        "{{ n }}{% if n %}{% with n = n - 1 %}{% include 't.html.j2' %}{% endwith %}{% endif %}"
    )
    assert render(environment([tmp_path]), "t.html.j2", {"n": 3}) == "3210"
