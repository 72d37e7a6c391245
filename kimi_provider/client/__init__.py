"""The Kimi wire protocol: from a request to an answer, for every host and model family.

Names are resolved at first use, so that a DAG file that needs one of them does not pay for all.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kimi_provider.client.batches import BatchInfo
    from kimi_provider.client.client import KimiClient
    from kimi_provider.client.config import ClientConfig
    from kimi_provider.client.endpoints import Balance, FileInfo, ModelInfo
    from kimi_provider.client.formulas import FormulaResult
    from kimi_provider.client.hosts import HOSTS, Host
    from kimi_provider.client.messages import (
        ChatRequest,
        ChatResult,
        Finished,
        Message,
        ReasoningDelta,
        ResponseSchema,
        Restarted,
        StreamEvent,
        TextDelta,
        ToolCall,
        ToolCallDelta,
        ToolSpec,
    )
    from kimi_provider.client.models import PROFILES, ModelProfile, Price
    from kimi_provider.client.schema import to_kimi_schema
    from kimi_provider.client.typed_answer import Structured, structured

_HOME = {
    "batches": ("BatchInfo",),
    "client": ("KimiClient",),
    "config": ("ClientConfig",),
    "endpoints": ("Balance", "FileInfo", "ModelInfo"),
    "formulas": ("FormulaResult",),
    "hosts": ("HOSTS", "Host"),
    "messages": (
        "ChatRequest",
        "ChatResult",
        "Finished",
        "Message",
        "ReasoningDelta",
        "ResponseSchema",
        "Restarted",
        "StreamEvent",
        "TextDelta",
        "ToolCall",
        "ToolCallDelta",
        "ToolSpec",
    ),
    "models": ("PROFILES", "ModelProfile", "Price"),
    "schema": ("to_kimi_schema",),
    "typed_answer": ("Structured", "structured"),
}
_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "HOSTS",
    "PROFILES",
    "Balance",
    "BatchInfo",
    "ChatRequest",
    "ChatResult",
    "ClientConfig",
    "FileInfo",
    "Finished",
    "FormulaResult",
    "Host",
    "KimiClient",
    "Message",
    "ModelInfo",
    "ModelProfile",
    "Price",
    "ReasoningDelta",
    "ResponseSchema",
    "Restarted",
    "StreamEvent",
    "Structured",
    "TextDelta",
    "ToolCall",
    "ToolCallDelta",
    "ToolSpec",
    "structured",
    "to_kimi_schema",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
