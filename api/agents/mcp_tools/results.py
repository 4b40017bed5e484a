"""What a tool of an MCP server has returned, as the values that a tool of an agent returns."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterator
from typing import Any

import mcp_types as types

from api.agents.results import File


class ToolError(Exception):
    """The tool itself says that it has failed."""


def values_of(result: types.CallToolResult) -> Iterator[Any]:
    """Its parts: texts, files, JSON. What it says as a text and as JSON is one of them.

    Raises:
        ToolError
    """
    texts = [part.text for part in result.content if isinstance(part, types.TextContent)]
    if result.is_error:
        raise ToolError("\n".join(texts) or "the tool has failed")
    structured = result.structured_content
    wrapped = structured["result"] if isinstance(structured, dict) and structured.keys() == {"result"} else None
    for part in result.content:
        if not (isinstance(part, types.TextContent) and structured is not None and _says(part.text, structured)):
            yield _value(part)
    if structured is not None and not any(_says(text, wrapped) for text in texts if wrapped is not None):
        yield structured


def _value(part: types.ContentBlock) -> Any:
    match part:
        case types.TextContent(text=text):
            return text
        case types.ImageContent(data=data, mime_type=kind) | types.AudioContent(data=data, mime_type=kind):
            return File(b64decode(data), kind)
        case types.EmbeddedResource(resource=types.TextResourceContents(text=text)):
            return text
        case types.EmbeddedResource(resource=types.BlobResourceContents(blob=data, mime_type=kind, uri=uri)):
            return File(b64decode(data), kind or "application/octet-stream", str(uri))
    return part.model_dump(mode="json", by_alias=True, exclude_none=True)  # a link


def _says(text: str, value: Any) -> bool:
    """Whether a text says this value and nothing else."""
    if text == value:
        return True
    try:
        return bool(json.loads(text) == value)
    except (ValueError, RecursionError):
        return False
