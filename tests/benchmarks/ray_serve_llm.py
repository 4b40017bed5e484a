"""``ray.serve.llm`` with one model, as a command: ``--model DIR --port N``."""

from __future__ import annotations

import argparse
import time

from ray import serve
from ray.serve.llm import LLMConfig, build_openai_app

from tests.benchmarks.contenders import ARGUMENTS
from tests.cluster.own_ray import start_ray


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--port", type=int)
    asked = parser.parse_args()
    start_ray(num_cpus=8)
    serve.start(http_options={"host": "127.0.0.1", "port": asked.port})
    config = LLMConfig(
        model_loading_config={"model_id": asked.model, "model_source": asked.model},
        engine_kwargs=ARGUMENTS,
        accelerator_config={"kind": "cpu"},
        deployment_config={"num_replicas": 1, "ray_actor_options": {"num_cpus": 1}},
        experimental_configs={"stream_batching_interval_ms": 0},
    )
    serve.run(build_openai_app({"llm_configs": [config]}))
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main()
