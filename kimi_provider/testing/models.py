"""The models that the simulator lists, and what each family accepts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Model:
    """What the API accepts for a model.

    :param context: window in tokens, prompt and answer together.
    :param default_max_tokens: answer's bound where the request names none.
    :param free_sampling: whether sampling parameters may be chosen; otherwise they are fixed.
    :param thinking: accepted values of the ``thinking`` object's ``type``; empty: do not send it.
    :param keep: accepted values of ``thinking.keep`` besides absence.
    :param keep_required: whether ``thinking`` has to carry ``keep``.
    :param efforts: accepted values of ``reasoning_effort``; empty: do not send it.
    :param tool_choice_required: whether ``tool_choice`` may be ``required``.
    :param batch: whether the batch API takes the model.
    """

    id: str
    context: int = 262_144
    default_max_tokens: int = 32_768
    free_sampling: bool = False
    thinking: tuple[str, ...] = ()
    keep: tuple[str | None, ...] = ()
    keep_required: bool = False
    efforts: tuple[str, ...] = ()
    tool_choice_required: bool = False
    batch: bool = False

    def thinks(self, body: dict[str, Any]) -> bool:
        """Tell whether the model thinks in this request; all do unless switched off."""
        thinking = body.get("thinking")
        return not (isinstance(thinking, dict) and thinking.get("type") == "disabled")

    def fixed_temperature(self, body: dict[str, Any]) -> float:
        """Return the one temperature that is accepted, where it is fixed."""
        return 1.0 if self.thinks(body) else 0.6


_K2_THINKING = {
    "default_max_tokens": 64_000,
    "free_sampling": True,
    "thinking": ("enabled",),
}

LIVE = {
    model.id: model
    for model in (
        # Gone from Moonshot since 2026-05-25, but other hosts still route to them.
        Model("kimi-k2-thinking", **_K2_THINKING),  # type: ignore[arg-type]
        Model("kimi-k2-thinking-turbo", **_K2_THINKING),  # type: ignore[arg-type]
        Model("kimi-k2.6", thinking=("enabled", "disabled"), keep=(None, "all"), batch=True),
        Model("kimi-k2.7-code", thinking=("enabled",), keep=("all",), keep_required=True, batch=True),
        Model(
            "kimi-k3",
            context=1_048_576,
            default_max_tokens=131_072,
            efforts=("low", "high", "max"),
            tool_choice_required=True,
        ),
    )
}

RETIRED = ("kimi-k2.5", "moonshot-v1-8k")


def listing() -> dict[str, Any]:
    """Return the body of ``GET /v1/models``."""
    return {
        "object": "list",
        "data": [
            {
                "id": model.id,
                "object": "model",
                "created": 1_762_387_200,
                "owned_by": "moonshot",
                "context_length": model.context,
                "supports_image_in": not model.id.startswith("kimi-k2-thinking"),
                "supports_video_in": False,
                "supports_reasoning": True,
            }
            for model in LIVE.values()
        ],
    }
