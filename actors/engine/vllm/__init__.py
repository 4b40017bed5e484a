"""The engine that operators run: ``vllm.v1``'s ``AsyncLLM`` under ``actors.engine.contract``."""
