"""The engine that operators run: ``vllm.v1``'s ``AsyncLLM`` behind ``actors.engine.contract``."""
