"""The whole error tree of the provider.

::

    KimiProviderError
    ├── ConfigurationError (ValueError)
    ├── APIError
    │   ├── APIConnectionError
    │   │   └── APITimeoutError
    │   ├── APIStatusError
    │   │   ├── BadRequestError
    │   │   │   ├── ContextLengthError
    │   │   │   └── ContentFilterError
    │   │   ├── AuthenticationError
    │   │   ├── PermissionDeniedError
    │   │   ├── NotFoundError
    │   │   ├── RateLimitError
    │   │   │   ├── OverloadedError
    │   │   │   ├── DailyLimitError
    │   │   │   └── QuotaExceededError
    │   │   └── ServerError
    │   └── ResponseValidationError
    ├── ModelOutputError
    │   ├── EmptyAnswerError
    │   ├── TruncatedAnswerError
    │   ├── InvalidOutputError
    │   ├── UngroundedError
    │   └── ToolLoopLimitError
    ├── BudgetExceededError
    ├── SourceError
    │   ├── SourceUnavailableError
    │   └── NoDataError
    ├── JournalError
    ├── ReportError
    │   ├── TemplateError
    │   └── RenderError
    └── AlertError
        ├── RuleError
        └── DeliveryError

``retryable`` on each class says whether running the same task again, unchanged, can help. The
Airflow shell turns ``retryable = False`` into ``AirflowFailException``. No message in this tree
may contain a secret, a prompt, a model's reply or a recipient.
"""


class KimiProviderError(Exception):
    """Base of every error that this provider raises on purpose."""

    retryable = False


class ConfigurationError(KimiProviderError, ValueError):
    """A connection, setting, template or argument is wrong; found before anything was paid."""


class APIError(KimiProviderError):
    """A call to a model host failed.

    :param message: what happened and the way out.
    :param request_ids: ids by which the host's support can find the call.

    ``attempts`` says how often the call was tried.
    """

    retryable = True
    attempts = 1

    def __init__(self, message: str, *, request_ids: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.request_ids = request_ids


class APIConnectionError(APIError):
    """The host could not be reached, or the connection broke; a cut stream may have been billed."""


class APITimeoutError(APIConnectionError):
    """Nothing useful arrived within the idle time-out; the call may have been billed."""


class APIStatusError(APIError):
    """The host answered with an error.

    :param message: what happened and the way out.
    :param status: HTTP status of the answer (of the error inside it, where it came with a 200).
    :param error_type: the ``type`` that the host gave, where it gave one.
    :param retry_after: seconds to wait before another try, where the host told.
    :param request_ids: ids by which the host's support can find the call.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        error_type: str | None = None,
        retry_after: float | None = None,
        request_ids: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, request_ids=request_ids)
        self.status = status
        self.error_type = error_type
        self.retry_after = retry_after

    def __reduce__(self) -> tuple[object, ...]:
        """Let the error cross to another process; the usual way knows of no keyword arguments."""
        return _restored, (type(self), str(self), self.status), self.__dict__


def _restored(kind: type[APIStatusError], message: str, status: int) -> APIStatusError:
    return kind(message, status=status)


class BadRequestError(APIStatusError):
    """The host refused the request as malformed (400, 422); nothing was paid."""

    retryable = False


class ContextLengthError(BadRequestError):
    """Prompt and answer do not fit the model's window; shorten the prompt. Nothing was paid."""


class ContentFilterError(BadRequestError):
    """The host's content filter refused the prompt or the answer."""


class AuthenticationError(APIStatusError):
    """The key is missing, wrong, or belongs to another host (401); nothing was paid."""

    retryable = False


class PermissionDeniedError(APIStatusError):
    """The key may not use this model or endpoint (403); nothing was paid."""

    retryable = False


class NotFoundError(APIStatusError):
    """The host does not know the model or the path (404), or the model is retired."""

    retryable = False


class RateLimitError(APIStatusError):
    """Too many calls or tokens in a minute, or at once (429); not billed, a later try helps."""


class OverloadedError(RateLimitError):
    """The host's engine is overloaded (429, 503); not billed, can last for hours."""


class DailyLimitError(RateLimitError):
    """The day's tokens are used up (429, TPD); a try helps tomorrow, not today."""

    retryable = False


class QuotaExceededError(RateLimitError):
    """The account has no balance left (429); a person has to top it up."""

    retryable = False


class ServerError(APIStatusError):
    """The host failed (5xx); a later try helps."""


class ResponseValidationError(APIError):
    """The host's answer is not what its protocol promises (HTML, bad JSON, over the size bound)."""


class ModelOutputError(KimiProviderError):
    """The model answered, and was paid, but the answer cannot be used."""

    retryable = True


class EmptyAnswerError(ModelOutputError):
    """No text and no tool call; usually the thinking used up the whole token allowance."""


class TruncatedAnswerError(ModelOutputError):
    """The answer ended before it was finished (``length``, or no finish reason)."""


class InvalidOutputError(ModelOutputError):
    """The answer does not fit the asked-for schema, even after repair; the raw text is in the trace."""


class UngroundedError(ModelOutputError):
    """The answer holds figures or ids that do not come from the facts, even after repair."""


class ToolLoopLimitError(ModelOutputError):
    """The tool loop met a limit (steps, calls, repeats) and gave no final answer."""

    retryable = False


class BudgetExceededError(KimiProviderError):
    """A call would not fit the remaining budget or the window; it was not made."""


class SourceError(KimiProviderError):
    """The data could not be read as asked: wrong path, shape or type."""


class SourceUnavailableError(SourceError):
    """The source could not be reached or answered with a passing failure; a later try helps."""

    retryable = True


class NoDataError(SourceError):
    """The data was read and has nothing of what the analysis needs: there is nothing to write about."""


class JournalError(KimiProviderError):
    """The journal in object storage could not be read or written."""

    retryable = True


class InterruptedCallError(KimiProviderError):
    """A call was under way when its process was killed, and is not made again without being told."""


class ReportError(KimiProviderError):
    """The report could not be made from its analysis."""


class TemplateError(ReportError):
    """A template is missing, malformed, or asks for a name that does not exist."""


class RenderError(ReportError):
    """The output could not be drawn, or is larger than its bound."""


class AlertError(KimiProviderError):
    """Rules or delivery failed."""


class RuleError(AlertError):
    """An alert rule is malformed, or names a fact that the analysis does not have."""


class DeliveryError(AlertError):
    """At least one recipient's mail is not known to be queued.

    :param message: what happened and the way out, without addresses.
    :param receipts: one ``kimi_provider.schemas.DeliveryReceipt`` a recipient.
    :param retryable: whether it is known that nothing left, so that a retry is safe.
    """

    def __init__(
        self, message: str, *, receipts: tuple[object, ...] = (), retryable: bool = False
    ) -> None:
        super().__init__(message)
        self.receipts = receipts
        self.retryable = retryable
