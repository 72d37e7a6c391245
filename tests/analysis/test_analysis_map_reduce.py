"""Text beyond the window: cut between records, read once, counted by code, resumed after a kill."""

import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb  # noqa: TID253 — the independent count
import pytest

from kimi_provider.analysis.analyst import AnalysisOptions, analyze
from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.chunks import TextSource, spans
from kimi_provider.analysis.database import Database
from kimi_provider.analysis.journal import Journal
from kimi_provider.analysis.merging import merged
from kimi_provider.analysis.partial import (
    PartialFindings,
    PartResult,
    PartTheme,
    borne_out,
    check_parts,
    map_request,
    nameable,
)
from kimi_provider.analysis.tokens import estimate_tokens
from kimi_provider.analysis.trace import Trace
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.client.request import build_body
from kimi_provider.client.schema import to_kimi_schema
from kimi_provider.exceptions import (
    BudgetExceededError,
    ConfigurationError,
    ContentFilterError,
    NoDataError,
)
from kimi_provider.schemas import FactSheet
from kimi_provider.testing import Simulator
from kimi_provider.testing.tokens import count_prompt, count_tokens

ROOT = Path(__file__).parents[2]
CHAT = "chat/completions"
TOKENS = int(os.environ.get("TEXT_TOKENS", "300000"))
"""Size of the text that is read, killed and resumed; the figure to reach is 3,000,000."""

TEMPLATE = """\
---
system: You read what customers write.
strategy: map_reduce
text: {dataset: tickets, column: body, chunk_tokens: CHUNK, question: what customers complain of}
metrics:
  - {id: tickets, sql: "SELECT count(*) AS tickets FROM tickets", columns: {tickets: {unit: count}}}
charts:
  - {kind: bar, title: Themes, table: themes, x: theme, y: records}
---
Write what customers complain of.
"""
TICKETS = """
SELECT i AS ticket,
       CASE WHEN i % 11 = 5 THEN NULL ELSE
         'Customer ' || i || ' writes about ' ||
         ['delivery', 'parcels', 'invoices', 'passwords', 'refunds'][1 + i % 5] ||
         ' and asks for help. ' || repeat('Please look into it as soon as you can. ', 4 + i % 8)
       END AS body
FROM range({rows}) AS r(i)
"""


@pytest.fixture(scope="module")
def running():
    with Simulator() as simulator:
        yield simulator


@pytest.fixture
def simulator(running):
    running.reset()
    return running


@pytest.fixture
def reads(simulator, write_template, write_dataset, tmp_path):
    """Analyze tickets by reading them."""

    def run(rows=400, chunk=2_000, *, budget=None, folder="out", **options):
        lines = []

        async def main():
            config = ClientConfig.from_mapping(
                base_url=simulator.kimi_url, api_key="k", model="kimi-k3", extra={"host": "moonshot"}
            )
            async with KimiClient(config) as client:
                caller = Caller(
                    client,
                    budget=budget or Budget(),
                    trace=Trace(),
                    journal=Journal(tmp_path / folder / "journal"),
                    on_progress=lines.append,
                )
                return await analyze(
                    caller=caller,
                    template=write_template(TEMPLATE.replace("CHUNK", str(chunk))),
                    datasets={"tickets": write_dataset("tickets", TICKETS.format(rows=rows))},
                    params={},
                    folder=tmp_path / folder,
                    on_progress=lines.append,
                    options=AnalysisOptions(**options),
                )

        return asyncio.run(main()), lines

    return run


def sheet_of(folder):
    return FactSheet.model_validate_json((folder / "facts.json").read_text())


def trace_of(folder):
    return json.loads((folder / "trace.json").read_text())["entries"]


def chats(simulator):
    return simulator.calls.count(CHAT)


# --- chunks ----------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path):
    """Open a column of texts."""
    opened = []

    def make(texts):
        path = tmp_path / "texts.parquet"
        with duckdb.connect() as connection:
            connection.execute("CREATE TABLE t AS SELECT unnest($1::VARCHAR[]) AS body", [texts])
            connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")
        database = Database({"texts": path})
        opened.append(database)
        return TextSource(database.__enter__(), "texts", "body")

    yield make
    for database in opened:
        database.__exit__(None, None, None)


def test_no_record_is_cut_and_none_is_lost(source):
    texts = [f"Record {i}. " + "word " * (i % 60) for i in range(3_000)]
    texts[7] = texts[1_500] = None
    texts[8] = " \u200b "
    column = source(texts)
    chunks = column.plan(900)
    read = {row: text for chunk in chunks for row, text in column.read(chunk).items()}
    assert len(chunks) > 20
    assert all(chunk.span is None and chunk.tokens <= 900 for chunk in chunks)
    assert read == {i: " ".join(t.split()) for i, t in enumerate(texts) if i not in {7, 8, 1_500}}
    assert sum(len(column.read(chunk)) for chunk in chunks) == len(read), "no record is read twice"
    assert [chunk.number for chunk in chunks] == list(range(1, len(chunks) + 1))
    assert {chunk.of for chunk in chunks} == {len(chunks)}


def test_a_record_larger_than_a_chunk_is_cut_between_sentences(source):
    long = " ".join(f"This is the sentence of the {'very ' * (i % 9)}long letter." for i in range(300))
    column = source(["short", long, "also short"])
    chunks = column.plan(400)
    pieces = [column.read(chunk)[1] for chunk in chunks if chunk.span]
    assert len(pieces) > 5
    assert " ".join(pieces) == long
    assert all(piece.endswith("letter.") for piece in pieces)
    assert [chunk.start for chunk in chunks if chunk.span is None] == [0, 2]


@pytest.mark.parametrize(
    "text", ["x" * 5_000, "字" * 3_000, "a. " * 2_000, "word " * 2_000 + "x" * 3_000]
)
def test_pieces_are_the_text_and_within_the_limit(text):
    pieces = spans(text, 100)
    assert "".join(text[begin:end] for begin, end in pieces) == text
    assert all(estimate_tokens(text[begin:end]) <= 101 for begin, end in pieces)


def test_a_column_without_text_is_no_data(source):
    with pytest.raises(NoDataError, match="nothing to read"):
        source([None, " "]).plan(500)


# --- what the model may say ------------------------------------------------------------------------


def test_only_what_the_records_bear_out_is_kept():
    texts = {40: "The parcel came late.", 41: "All is well.", 45: "It never came."}
    answer = {
        "themes": [
            {
                "label": "12 late parcels",
                "records": [1, 3, 3, 9, 0, -1],
                "quotes": [
                    {"record": 1, "text": "parcel  CAME late"},
                    {"record": 3, "text": "I want 500 dollars"},
                    {"record": 2, "text": "All is well."},
                ],
            },
            {"label": "Nothing", "records": [77]},
        ]
    }
    themes, refused = borne_out(PartialFindings.model_validate(answer), texts)
    assert [(theme.label, theme.rows) for theme in themes] == [("late parcels", (40, 45))]
    assert themes[0].quotes == ((40, "parcel CAME late"),)
    assert refused == 3 + 2 + 1


@pytest.mark.parametrize("label", ["42 complaints", "[[tickets]]", "½ broken", "<b>bold</b>", "٣ late"])
def test_a_label_brings_no_figure_and_no_reference_into_the_report(label):
    cleaned = nameable(label)
    assert cleaned
    assert not any(c.isnumeric() or c in "[]<>" for c in cleaned)


# --- the whole -------------------------------------------------------------------------------------


def test_counts_are_those_of_the_labels(reads, simulator, tmp_path):
    analysis, lines = reads()
    sheet = sheet_of(tmp_path / "out")
    values = {fact.id: fact.value for fact in sheet.facts}
    with duckdb.connect() as connection:
        folder = tmp_path / "out"
        counted = connection.execute(
            f"SELECT theme, count(DISTINCT row) FROM '{folder}/labels.parquet' GROUP BY theme"
        ).fetchall()
        real = connection.execute(
            f"SELECT count(*) FROM '{tmp_path}/tickets.parquet' WHERE body LIKE '%deliver%'"
        ).fetchone()[0]
    table = next(table for table in sheet.tables if table.id == "themes")
    assert {row[0]: values[row[1]] for row in table.rows} == dict(counted)
    assert {row[0]: values[row[1]] for row in table.rows}["Delivery"] == real
    assert values["texts.records"] == 400 - len([i for i in range(400) if i % 11 == 5])
    assert values["tickets"] == 400
    assert analysis.strategy == "map_reduce"
    assert analysis.simulated
    assert analysis.charts[0].table == "themes"
    assert any(line.startswith("Reading body in") for line in lines)
    assert any(line.startswith("Read part 1 of") for line in lines)
    theme = next(fact for fact in sheet.facts if fact.id.startswith("themes."))
    assert set(theme.lineage.datasets) == {"labels", "texts_read", "tickets"}
    assert "FROM labels" in theme.lineage.sql
    assert simulator.calls.repeated(CHAT) == 0


def test_a_retry_pays_for_nothing(reads, simulator):
    first, _ = reads()
    paid = chats(simulator)
    second, _ = reads()
    assert chats(simulator) == paid
    assert second.findings == first.findings
    assert second.usage == first.usage


def test_what_does_not_fit_the_budget_is_refused_before_the_first_call(reads, simulator):
    with pytest.raises(BudgetExceededError, match=r"max_cost_usd=0\.05: \d+ calls, .* USD"):
        reads(budget=Budget(max_cost_usd="0.05"))
    assert chats(simulator) == 0


def test_calls_at_the_same_time_share_a_budget_that_holds_them_one_by_one(reads, simulator):
    analysis, _ = reads(budget=Budget(max_cost_usd="2.5"))
    assert analysis.usage.cost_usd < 2.5
    assert analysis.usage.calls == chats(simulator)


def test_a_failed_part_lets_the_others_finish_and_a_retry_asks_for_it_alone(reads, simulator, tmp_path):
    simulator.faults.add("/v1/chat", "content_filter")
    with pytest.raises(ContentFilterError):
        reads()
    kept = len(list((tmp_path / "out" / "journal").glob("call-*.entry")))
    assert kept >= 2
    assert not list((tmp_path / "out" / "journal").glob("*.begun")), "calls under way were let finish"
    before = chats(simulator)
    analysis, _ = reads()
    assert analysis.usage.calls == kept + chats(simulator) - before


def test_a_theme_that_the_model_forgets_to_merge_is_kept(reads, simulator, tmp_path):
    forgetful = [{"content": json.dumps({"themes": []})}]
    simulator.script("answers", match="Make at most", answers=forgetful)
    reads()
    sheet = sheet_of(tmp_path / "out")
    values = {fact.id: fact.value for fact in sheet.facts}
    assert values["texts.themes"] > 0
    assert values["texts.with_theme"] + values["texts.without_theme"] == values["texts.records"]
    assert any(entry["kind"] == "unmerged" for entry in trace_of(tmp_path / "out"))


# --- parts from elsewhere --------------------------------------------------------------------------


def part(number, of=2, source="0" * 64):
    return PartResult(number=number, of=of, source=source, read=(number,), themes=(), model="m")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([part(1)], "missing: 2"),
        ([part(1), part(1)], "missing: 2"),
        ([part(1), part(2, of=3)], "each once"),
        ([part(1, source="1" * 64), part(2, source="1" * 64)], "other data"),
        ([part(1), part(2, source="1" * 64)], "other data"),
    ],
)
def test_parts_that_are_not_one_whole_text_are_refused(parts, said, write_dataset):
    ref, _ = write_dataset("tickets", TICKETS.format(rows=3))
    with pytest.raises(ConfigurationError, match=said):
        check_parts(parts, {"tickets": ref})


# --- size and kill ---------------------------------------------------------------------------------

WORKER = """
import asyncio, json, pathlib, sys

from kimi_provider.analysis.analyst import analyze
from kimi_provider.analysis.budget import Budget
from kimi_provider.analysis.caller import Caller
from kimi_provider.analysis.journal import Journal
from kimi_provider.analysis.prompts import PromptTemplate
from kimi_provider.analysis.trace import Trace
from kimi_provider.client.client import KimiClient
from kimi_provider.client.config import ClientConfig
from kimi_provider.schemas import DatasetRef

url, folder, text = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])

async def main():
    config = ClientConfig.from_mapping(
        base_url=url, api_key="k", model="kimi-k3", extra={"host": "moonshot", "max_concurrency": 4}
    )
    ref = DatasetRef(uri=text.as_uri(), rows=int(sys.argv[4]), bytes=1, sha256="0" * 64, source="test",
                     columns=())
    async with KimiClient(config) as client:
        caller = Caller(client, budget=Budget(), trace=Trace(), journal=Journal(folder / "journal"))
        analysis = await analyze(
            caller=caller, template=PromptTemplate.load("mine", [folder.parent / "prompts"]),
            datasets={"tickets": (ref, text)}, params={}, folder=folder)
    (folder / "answer").write_text(analysis.model_dump_json())

asyncio.run(main())
"""


def start(simulator, folder, text, rows):
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, simulator.kimi_url, str(folder), str(text), str(rows)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def tokens_of(request, output_type, name):
    """Count what a request takes, as the simulator counts."""
    config = ClientConfig.from_mapping(
        base_url="http://127.0.0.1:9/v1", api_key="k", model="kimi-k3", extra={"host": "moonshot"}
    )
    body = build_body(request, config)
    schema = {"name": name, "schema": to_kimi_schema(output_type, root_object=True)}
    body["response_format"] = {"type": "json_schema", "json_schema": schema}
    return count_prompt(body)


def test_a_killed_reading_resumes_and_pays_for_no_part_twice(
    simulator, write_template, write_dataset, tmp_path
):
    rows = TOKENS // 74
    chunk = max(TOKENS // 30, 4_000)
    template = write_template(TEMPLATE.replace("CHUNK", str(min(chunk, 60_000))))
    _, path = write_dataset("tickets", TICKETS.format(rows=rows))
    with Database({"tickets": path}) as database:
        column = TextSource(database, "tickets", "body")
        chunks = column.plan(template.front.text.chunk_tokens)
        shown = [column.read(one) for one in chunks]
    text = sum(count_tokens(body) for texts in shown for body in texts.values())
    prompts = sum(
        tokens_of(
            map_request(template, one, {}, question=template.front.text.question, model=None),
            PartialFindings,
            "partial_findings",
        )
        for one in chunks
    )
    folder = tmp_path / "out"
    folder.mkdir()
    worker = start(simulator, folder, path, rows)
    while simulator.calls.count(CHAT) < len(chunks) // 2 and worker.poll() is None:
        time.sleep(0.01)
    assert worker.poll() is None, "it was over before it could be killed"
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    finished = len(list((folder / "journal").glob("call-*.entry")))
    under_way = len(list((folder / "journal").glob("call-*.begun")))
    began = time.monotonic()
    assert start(simulator, folder, path, rows).wait(timeout=900) == 0
    seconds = time.monotonic() - began
    answer = json.loads((folder / "answer").read_text())
    calls = answer["usage"]["calls"]
    repeated = simulator.calls.repeated(CHAT)
    entries = [json.loads(file.read_bytes().partition(b"\n")[2]) for file in
               (folder / "journal").glob("call-*.entry")]  # fmt: skip
    sent = sum(entry["usage"]["input_tokens"] for entry in entries)
    maps = sorted((entry["usage"]["input_tokens"] for entry in entries), reverse=True)[: len(chunks)]
    print(  # noqa: T201 — the figures that the bar is about
        f"estimated {sum(one.tokens for one in chunks):,} tokens in {len(chunks)} parts; text {text:,}, "
        f"prompts {prompts:,}, sent in parts {sum(maps):,}, sent in all {sent:,}; calls {calls}, "
        f"repeated {repeated}, finished at the kill {finished}, under way {under_way}, "
        f"resumed in {seconds:.1f} s"
    )
    assert 0 < finished < len(chunks)
    # A call that was under way at the kill is made again; one that had finished never is.
    assert repeated <= under_way <= 4
    assert len(entries) == calls == len(chunks) + 2
    assert sum(maps) <= 1.05 * (text + prompts)
    assert answer["strategy"] == "map_reduce"


def test_many_themes_are_merged_in_a_tree(simulator, write_template, monkeypatch):
    monkeypatch.setattr("kimi_provider.analysis.merging.FAN_IN", 10)
    names = ["".join(letters) for letters in itertools.product("abcde", "fghij", "kl")]
    themes = tuple(
        PartTheme(label=f"{name[0] * 6} {name}", description="", rows=(i, i + 1))
        for i, name in enumerate(names)
    )
    parts = [part(1).model_copy(update={"themes": themes[:25]})]
    parts += [part(2).model_copy(update={"themes": themes[25:]})]

    async def main():
        config = ClientConfig.from_mapping(
            base_url=simulator.kimi_url, api_key="k", model="kimi-k3", extra={"host": "moonshot"}
        )
        async with KimiClient(config) as client:
            caller = Caller(client, budget=Budget(), trace=Trace())
            template = write_template(TEMPLATE.replace("CHUNK", "500"))
            return await merged(caller, template, parts, max_themes=5)

    result = asyncio.run(main())
    assert len(result) == 5
    assert set().union(*(theme.rows for theme in result)) == set(range(51))
    assert chats(simulator) == 5 + 1, "five groups of ten, and what they gave"
