"""Tools in a conversation, as the text of its turns: the form of Hermes and of Qwen 2.5 in ChatML.

Tools are described at the end of the system's turn, a call is a line of JSON in the assistant's turn between
`<tool_call>` tags, and what a tool returned is a turn of the user between `<tool_response>` tags. So a conversation
with tools has the roles and the markers of any other, and only what the assistant says, its calls among it, is learned.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

TOOL_ROLES = ("tool", "function", "ipython", "observation")
HEAD = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TAIL = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within"
    " <tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)


def with_tools(turns: Sequence[Mapping[str, Any]], tools: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """The turns as plain ones: tools, calls and what tools returned are in their `content`.

    turns: with `role` (or `from`) and `content` (or `value`), an assistant's with `tool_calls` as OpenAI writes them.
    Results that follow one another are one turn. A turn without tools is returned as it is. Raises ValueError for a
    call without a name.
    """
    found: list[dict[str, Any]] = []
    for turn in turns:
        role = str(turn.get("role") or turn.get("from")).lower()
        said = turn["content"] if turn.get("content") is not None else turn.get("value")
        if role in TOOL_ROLES:
            result = f"<tool_response>\n{said if isinstance(said, str) else _line(said)}\n</tool_response>"
            if found and found[-1].get("returned"):
                found[-1]["content"] += f"\n{result}"
            else:
                found.append({"role": "user", "content": result, "returned": True})
        elif turn.get("tool_calls"):
            calls = "\n".join(f"<tool_call>\n{_call(call)}\n</tool_call>" for call in turn["tool_calls"])
            found.append({"role": role, "content": f"{said}\n{calls}" if said else calls})
        else:
            found.append(dict(turn))
    if tools:
        described = HEAD + "".join(f"\n{_line(tool)}" for tool in tools) + TAIL
        if found and str(found[0].get("role") or found[0].get("from")).lower() == "system":
            first = found[0].get("content") or found[0].get("value")
            found[0] = {"role": "system", "content": f"{first}\n\n{described}"}
        else:
            found.insert(0, {"role": "system", "content": described})
    return [{name: value for name, value in turn.items() if name != "returned"} for turn in found]


def _call(call: Mapping[str, Any]) -> str:
    """A call as JSON; its arguments may be JSON in a string, as OpenAI's are."""
    function = call.get("function") or call
    if not isinstance(function.get("name"), str):
        raise ValueError("a tool call has no name.")
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            raise ValueError("the arguments of a tool call are no JSON.") from None
    return _line({"name": function["name"], "arguments": arguments if arguments is not None else {}})


def _line(content: Any) -> str:
    return json.dumps(content, ensure_ascii=False)
