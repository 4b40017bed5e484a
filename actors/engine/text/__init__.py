"""Text to tokens and back: tokenizers, chat templates, output as it streams."""
