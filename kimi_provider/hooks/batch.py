"""A batch that is submitted once, found again by every later try, and read when it has ended."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import uuid
from typing import TYPE_CHECKING, Any

from kimi_provider.exceptions import APIError, BadRequestError, JournalError
from kimi_provider.storage import read_text, remove, write_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kimi_provider.client import BatchInfo, ChatRequest, ChatResult, KimiClient
    from kimi_provider.storage import StoragePath

log = logging.getLogger(__name__)

_MARK = "airflow_batch"
# Looks that may fail in a row, beyond the client's own retries, before the task is told.
_PATIENCE = 10


class BatchJob:
    """One task's batch.

    What is known of it lies in ``batch.json``: written before the batch is submitted, with a mark that
    goes along and the id of its file, and again when its own id is known. A try that finds no id looks
    for the batch that carries the mark or has the file, so that a worker killed in between does not
    make it be paid twice.

    :param client: an open client of the account.
    :param folder: the task instance's folder, the same for each try.
    """

    def __init__(self, client: KimiClient, folder: StoragePath) -> None:
        self._client = client
        self._folder = folder
        self._file = folder / "batch.json"

    async def submit(self, requests: Mapping[str, ChatRequest], *, completion_window: str) -> str:
        """Return the id of the batch with these requests; submit it only if there is none yet.

        :param requests: what to ask, by the caller's own ids.
        :param completion_window: how long the host may take, ``12h`` to ``7d``.
        :raises ConfigurationError: if the requests cannot be one batch, or the host has none.
        :raises JournalError: if what an earlier try wrote down cannot be read.
        :raises APIError: if the host does not answer as it should.
        """
        content = self._client.batches.lines(requests)
        asked = hashlib.sha256(content + completion_window.encode()).hexdigest()
        known = await asyncio.to_thread(self._read)
        if known and known["asked"] == asked:
            batch_id = known["batch_id"] or await self._find(known["mark"], known.get("file_id"))
            if batch_id:
                log.info(
                    "Batch %s of an earlier try is there already; it is not submitted again", batch_id
                )
                await self._keep(known | {"batch_id": batch_id})
                return batch_id
        else:
            if known:
                log.warning(
                    "The requests are others than those of batch %s, which is left to itself",
                    known["batch_id"] or "without a known id",
                )
            known = {"asked": asked, "mark": uuid.uuid4().hex, "ids": list(requests), "batch_id": None}
            await self._keep(known)

        async def keep_file(file_id: str) -> None:
            await self._keep(known | {"file_id": file_id})

        batch = await self._client.batches.create(
            requests,
            completion_window=completion_window,
            metadata={_MARK: known["mark"]},
            on_upload=keep_file,
        )
        await self._keep(known | {"batch_id": batch.id})
        log.info("Batch %s with %d requests is submitted", batch.id, len(requests))
        return batch.id

    async def collect(self, batch: BatchInfo) -> dict[str, Any]:
        """Write the answers of a batch that has ended, and return where they are and what they cost.

        ``results.jsonl`` has an object a request, in order: ``id``, and either all of
        :meth:`ChatResult.as_dict` or ``error``.

        :returns: ``results_uri``, ``batch_id``, ``counts`` (``total``, ``answered``, ``truncated``,
            ``failed``), ``usage``.
        :raises APIError: if there is no answer at all; a retry then submits anew, where it can help.
        """
        outcomes = await self._client.batches.results(batch)
        known = await asyncio.to_thread(self._read)
        ids = known["ids"] if known else list(outcomes)
        if not any(not isinstance(outcome, APIError) for outcome in outcomes.values()):
            await asyncio.to_thread(remove, self._file)
            raise _failure(batch, outcomes)
        lines, results = [], []
        for custom_id in ids:
            outcome = outcomes.get(custom_id)
            if outcome is None or isinstance(outcome, APIError):
                said = (
                    f"{type(outcome).__name__}: {outcome}" if outcome else f"the batch is {batch.status}"
                )
                lines.append({"id": custom_id, "error": said})
            else:
                lines.append({"id": custom_id, **outcome.as_dict()})
                results.append(outcome)
        path = self._folder / "results.jsonl"
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        await asyncio.to_thread(write_text, path, text)
        return {
            "results_uri": path.as_uri(),
            "batch_id": batch.id,
            "counts": {
                "total": len(ids),
                "answered": len(results),
                "truncated": sum(result.truncated for result in results),
                "failed": len(ids) - len(results),
            },
            "usage": _usage(results),
        }

    async def _find(self, mark: str, file_id: str | None) -> str | None:
        for batch in await self._client.batches.list():
            # Not every host keeps the metadata.
            mine = (batch.metadata or {}).get(_MARK) == mark
            if mine or (file_id is not None and batch.input_file_id == file_id):
                return batch.id
        return None

    async def _keep(self, known: Mapping[str, Any]) -> None:
        await asyncio.to_thread(write_text, self._file, json.dumps(known))

    def _read(self) -> dict[str, Any] | None:
        try:
            known = json.loads(read_text(self._file))
        except FileNotFoundError:
            return None
        except ValueError:
            known = None
        if not isinstance(known, dict) or not {"asked", "mark", "ids", "batch_id"} <= known.keys():
            raise JournalError(
                f"{self._file} is damaged, so that it is not known whether a batch is under way. Look at"
                " the account's batches, then remove the file to submit anew."
            )
        return known


async def wait_for_end(
    client: KimiClient, batch_id: str, *, poll_interval: float, on_progress: Callable[[str], None]
) -> BatchInfo:
    """Look at a batch until it has ended; a host that is down for some looks does no harm.

    :param poll_interval: seconds between two looks.
    :param on_progress: gets a sentence whenever the batch's state has changed.
    :raises APIError: if the host refuses, or has failed too many looks in a row.
    """
    said, failed = "", 0
    while True:
        try:
            batch = await client.batches.get(batch_id)
        except APIError as error:
            failed += 1
            if not error.retryable or failed >= _PATIENCE:
                raise
            on_progress(f"Batch {batch_id} cannot be looked at ({type(error).__name__}); trying again")
        else:
            failed = 0
            if batch.ended:
                return batch
            counts = batch.request_counts or {}
            state = f"Batch {batch_id} is {batch.status}: {counts.get('completed', 0)} requests done"
            if state != said:
                on_progress(said := state)
        await asyncio.sleep(poll_interval)


def _usage(results: list[ChatResult]) -> dict[str, Any]:
    from kimi_provider.schemas import Usage

    return sum((result.usage for result in results), Usage()).model_dump(mode="json")


def _failure(batch: BatchInfo, outcomes: Mapping[str, ChatResult | APIError]) -> APIError:
    for outcome in outcomes.values():
        if isinstance(outcome, APIError):
            outcome.add_note(f"This was the first of {len(outcomes)} requests; none was answered.")
            return outcome
    if batch.status == "failed":
        return BadRequestError(
            f"The host refused batch {batch.id} as a whole; check that its model can be"
            " asked in batches.",
            status=400,
        )
    return APIError(f"Batch {batch.id} is {batch.status} and has no answer; a retry submits it anew.")
