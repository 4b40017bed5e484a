"""The tokenizer and the chat template in a GGUF file, as ``transformers`` understands them."""

from __future__ import annotations

from typing import Any

from tokenizers.processors import TemplateProcessing

from actors.engine.checkpoints.gguf_header import GgufHeader
from actors.engine.text.plain_tokenizer import PlainTokenizer


def read_gguf_tokenizer(header: GgufHeader) -> PlainTokenizer:
    """The tokenizer of a file. Whether a text begins with a token of its own is what the file says, if it does."""
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    architecture, vocabulary, named = get_gguf_tokenizer(str(header.path))
    backend, _ = convert_gguf_tokenizer(architecture, vocabulary)
    template: Any = named.pop("chat_template", None)
    tokenizer = PlainTokenizer(backend, named, template)
    begins = header.metadata.get("tokenizer.ggml.add_bos_token")
    if begins is not None:
        bos, bos_id = named.get("bos_token"), tokenizer.bos_token_id
        has_bos = bool(begins) and bos_id is not None
        single = f"{bos} $A" if has_bos else "$A"
        backend.post_processor = TemplateProcessing(single=single, special_tokens=[(bos, bos_id)] if has_bos else [])
    return tokenizer
