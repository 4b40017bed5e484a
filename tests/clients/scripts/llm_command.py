# /// script
# dependencies = ["llm==0.36"]
# ///
"""The command ``llm``: a prompt, a schema, and a function that the model might call."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from checks import MODEL, URL, check, run

MODELS = f"""
- model_id: {MODEL}
  model_name: {MODEL}
  api_base: "{URL}"
  supports_tools: true
  supports_schema: true
"""


NAME, SIZE = {"type": "string", "maxLength": 20}, {"type": "integer", "minimum": 1, "maximum": 9}
SCHEMA = {"type": "object", "properties": {"name": NAME, "size": SIZE}, "required": ["name", "size"]}


def llm(*arguments):
    """What the command prints."""
    with tempfile.TemporaryDirectory() as home:
        (Path(home) / "extra-openai-models.yaml").write_text(MODELS)
        command = [str(Path(sys.executable).with_name("llm")), "-m", MODEL, *arguments]
        environment = {**os.environ, "LLM_USER_PATH": home, "OPENAI_API_KEY": "any"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@check
def a_prompt():
    assert llm("Hello!").strip()


@check
def a_prompt_with_a_schema():
    assert set(json.loads(llm("--schema", json.dumps(SCHEMA), "A city?"))) == {"name", "size"}


@check
def a_prompt_with_a_function():
    llm("--functions", "def weather(city: str) -> str: return 'sunny'", "What is the weather in Rome?", "--td")


run()
