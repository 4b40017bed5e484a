"""What the chat templates of well-known models do with tools, calls and results, in short."""

from __future__ import annotations

from typing import Any

from tokenizers import AddedToken

from api.answers.formats import CALL_FORMATS
from tests.actors.engine.text.tokenizers_in_small import byte_level_tokenizer

QWEN = r"""
{%- if tools %}
    {{- '<|im_start|>system\n' + (messages[0].content + '\n\n' if messages[0].role == 'system' else '') }}
    {{- '# Tools\n\n<tools>' }}
    {%- for tool in tools %}{{- '\n' + tool | tojson }}{%- endfor %}
    {{- '\n</tools>\n\nCall them within <tool_call></tool_call>:\n<tool_call>\n{"name": <function-name>' }}
    {{- ', "arguments": <args-json-object>}\n</tool_call><|im_end|>\n' }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\n' + messages[0].content + '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant' }}
        THINKING
        {%- if message.content %}{{- '\n' + message.content }}{%- endif %}
        {%- for call in message.tool_calls %}
            {%- set call = call.function if call.function else call %}
            {{- '\n<tool_call>\n{"name": "' + call.name + '", "arguments": ' + call.arguments | tojson }}
            {{- '}\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

THINKING = r"""{%- if message.reasoning_content %}
            {{- '\n<think>\n' + message.reasoning_content.strip('\n') + '\n</think>\n' }}
        {%- endif %}"""

POCKET_CALLS = r"""{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\n' + message.content -}}
{%- for call in message.tool_calls -%}
{{- '<tool_call>{"name": "' + call.function.name + '", "arguments": ' + call.function.arguments | tojson -}}
{{- '}</tool_call>' -}}
{%- endfor -%}{{- '<|im_end|>' -}}
{%- endfor -%}{%- if tools %}{% endif -%}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{% endif -%}"""

LLAMA = r"""
{%- set ns = namespace(first=true) %}
{%- for message in messages %}
    {%- if message.tool_calls %}
        {%- if message.tool_calls | length > 1 %}{{- raise_exception('single tool-calls at once!') }}{%- endif %}
        {%- set call = message.tool_calls[0].function %}
        {{- '<|im_start|>assistant\n' }}
        {{- '{"name": "' + call.name + '", ' }}{{- '"parameters": ' }}{{- call.arguments | tojson }}{{- '}<|im_end|>' }}
    {%- elif message.role == 'tool' or message.role == 'ipython' %}
        {{- '<|im_start|>ipython\n' + {'output': message.content} | tojson + '<|im_end|>' }}
    {%- else %}
        {{- '<|im_start|>' + message.role + '\n' }}
        {%- if message.role == 'user' and ns.first and tools %}
            {%- set ns.first = false %}
            {%- for tool in tools %}{{- tool | tojson(indent=4) + '\n\n' }}{%- endfor %}
        {%- endif %}
        {{- message.content | trim + '<|im_end|>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

MISTRAL = r"""
{{- bos_token }}
{%- set asked = messages | selectattr('role', 'equalto', 'user') | list %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {%- if tools and message == asked[-1] %}
            {{- '[AVAILABLE_TOOLS] ' + tools | tojson + '[/AVAILABLE_TOOLS]' }}
        {%- endif %}
        {{- '[INST] ' + message.content + '[/INST]' }}
    {%- elif message.tool_calls is defined %}
        {{- '[TOOL_CALLS] [' }}
        {%- for call in message.tool_calls %}
            {%- set out = call.function | tojson %}
            {{- out[:-1] }}
            {%- if call.id | length != 9 %}{{- raise_exception('Tool call IDs have length 9!') }}{%- endif %}
            {{- ', "id": "' + call.id + '"}' + (', ' if not loop.last else ']' + eos_token) }}
        {%- endfor %}
    {%- elif message.role == 'assistant' %}
        {{- ' ' + message.content | trim + eos_token }}
    {%- elif message.role == 'tool' %}
        {%- if message.tool_call_id | length != 9 %}{{- raise_exception('Tool call IDs have length 9!') }}{%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + message.content + ', "call_id": "' + message.tool_call_id }}
        {{- '"}[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}"""

MISTRAL_ARGS = r"""
{{- bos_token }}
{%- if tools %}{{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '[INST]' + message.content + '[/INST]' }}
    {%- elif message.role == 'assistant' %}
        {%- if message.reasoning_content %}{{- '[THINK]' + message.reasoning_content + '[/THINK]' }}{%- endif %}
        {{- message.content }}
        {%- for call in message.tool_calls or [] %}
            {{- '[TOOL_CALLS]' + call.function.name + '[ARGS]' + call.function.arguments | tojson }}
        {%- endfor %}
        {{- eos_token }}
    {%- elif message.role == 'tool' %}
        {{- '[TOOL_RESULTS]' + message.content + '[/TOOL_RESULTS]' }}
    {%- endif %}
{%- endfor %}"""

DEEPSEEK_V3 = r"""
{{- bos_token }}
{%- if tools %}{{- '# Tools\n<tools>' }}{%- for tool in tools %}{{- '\n' + tool | tojson }}{%- endfor %}
    {{- '\n</tools>' }}{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {{- message.content }}
    {%- elif message.role == 'user' %}
        {{- '<｜User｜>' + message.content + '<｜Assistant｜>' }}
    {%- elif message.role == 'assistant' and message.tool_calls is defined and message.tool_calls is not none %}
        {%- if message.content is not none %}{{- message.content }}{%- endif %}
        {{- '<｜tool▁calls▁begin｜>' }}
        {%- for tool in message.tool_calls %}
            {%- if not loop.first %}{{- '\n' }}{%- endif %}
            {{- '<｜tool▁call▁begin｜>' + tool.type + '<｜tool▁sep｜>' + tool.function.name + '\n```json\n' }}
            {{- ARGUMENTS + '\n```<｜tool▁call▁end｜>' }}
        {%- endfor %}
        {{- '<｜tool▁calls▁end｜>' + eos_token }}
    {%- elif message.role == 'assistant' and message.content is not none %}
        {{- message.content + eos_token }}
    {%- elif message.role == 'tool' %}
        {{- '<｜tool▁outputs▁begin｜><｜tool▁output▁begin｜>' + message.content + '<｜tool▁output▁end｜>' }}
        {{- '<｜tool▁outputs▁end｜>' }}
    {%- endif %}
{%- endfor %}"""

DEEPSEEK_V31 = r"""
{{- bos_token }}
{%- if tools %}{{- '## Tools\n' }}{%- for tool in tools %}
    {{- '\n### ' + tool.function.name + '\nDescription: ' + tool.function.description + '\n\nParameters: ' }}
    {{- tool.function.parameters | tojson + '\n' }}{%- endfor %}{%- endif %}
{%- set ns = namespace(is_last_user=false, is_tool=false) %}
{%- for message in messages %}
    {%- if message['role'] == 'system' %}
        {{- message['content'] }}
    {%- elif message['role'] == 'user' %}
        {%- set ns.is_last_user = true %}{%- set ns.is_tool = false %}
        {{- '<｜User｜>' + message['content'] }}
    {%- elif message['role'] == 'assistant' and message['tool_calls'] is defined %}
        {%- if ns.is_last_user %}{{- '<｜Assistant｜></think>' }}{%- endif %}
        {%- set ns.is_last_user = false %}{%- set ns.is_tool = false %}
        {%- for tool in message['tool_calls'] %}
            {%- if loop.first %}
                {%- if message['content'] is not none %}{{- message['content'] }}{%- endif %}
                {{- '<｜tool▁calls▁begin｜>' }}
            {%- endif %}
            {{- '<｜tool▁call▁begin｜>' + tool['function']['name'] + '<｜tool▁sep｜>' }}
            {{- tool['function']['arguments'] + '<｜tool▁call▁end｜>' }}
        {%- endfor %}
        {{- '<｜tool▁calls▁end｜>' + eos_token }}
    {%- elif message['role'] == 'assistant' %}
        {%- if ns.is_last_user %}{{- '<｜Assistant｜></think>' }}{%- endif %}
        {%- set ns.is_last_user = false %}{%- set ns.is_tool = false %}
        {{- message['content'] + eos_token }}
    {%- elif message['role'] == 'tool' %}
        {%- set ns.is_last_user = false %}{%- set ns.is_tool = true %}
        {{- '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt and ns.is_last_user and not ns.is_tool %}{{- '<｜Assistant｜></think>' }}{%- endif %}"""

QWEN_CODER = r"""
{%- if messages[0].role == 'system' or tools %}
    {{- '<|im_start|>system\n' + (messages[0].content if messages[0].role == 'system' else 'You are Qwen.') }}
    {%- if tools %}{{- '\n\n# Tools\n\n<tools>' }}
        {%- for tool in tools %}{{- '\n' + tool | tojson }}{%- endfor %}{{- '\n</tools>' }}{%- endif %}
    {{- '<|im_end|>\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
    {%- elif message.role == 'assistant' %}
        {{- '<|im_start|>assistant\n' + message.content }}
        {%- for tool_call in message.tool_calls %}
            {%- set tool_call = tool_call.function %}
            {%- if not loop.first or message.content | trim %}{{- '\n' }}{%- endif %}
            {{- '<tool_call>\n<function=' + tool_call.name + '>\n' }}
            {%- for args_name, args_value in tool_call.arguments | items %}
                {{- '<parameter=' + args_name + '>\n' }}
                {{- args_value if args_value is string else args_value | tojson }}
                {{- '\n</parameter>\n' }}
            {%- endfor %}
            {{- '</function>\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.previtem and loop.previtem.role != 'tool' %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\n<tool_response>\n' + message.content + '\n</tool_response>' }}
        {%- if loop.last or loop.nextitem.role != 'tool' %}{{- '<|im_end|>\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

GLM45 = r"""
{%- if tools %}<|system|>
# Tools
{% for tool in tools %}
{{ tool | tojson }}
{% endfor %}
{%- endif -%}
{% for m in messages %}
{%- if m.role == 'user' -%}<|user|>
{{ m.content }}
{%- elif m.role == 'assistant' -%}
<|assistant|>
{%- if m.content.strip() -%}
{{ '\n' + m.content.strip() }}
{%- endif -%}
{% if m.tool_calls %}
{% for tc in m.tool_calls %}
{%- if tc.function %}
    {%- set tc = tc.function %}
{%- endif %}
{{ '\n<tool_call>' + tc.name }}
{% set _args = tc.arguments or {} %}
{% for k, v in _args.items() %}
<arg_key>{{ k }}</arg_key>
<arg_value>{{ v | tojson if v is not string else v }}</arg_value>
{% endfor %}
</tool_call>{% endfor %}
{% endif %}
{{- eos_token }}
{%- elif m.role == 'tool' -%}
{%- if loop.first or (messages[loop.index0 - 1].role != 'tool') %}{{- '<|observation|>' }}{%- endif %}
{{- '\n<tool_response>\n' + m.content + '\n</tool_response>' }}
{%- elif m.role == 'system' -%}
<|system|>
{{ m.content }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|assistant|>{%- endif -%}"""

GLM47 = GLM45.replace(
    GLM45[GLM45.index("{{ '\\n<tool_call>'") : GLM45.index("{% endif %}\n{{- eos_token")],
    "{{- '<tool_call>' + tc.name -}}\n{% set _args = tc.arguments %}{% for k, v in _args.items() %}<arg_key>{{ k }}"
    "</arg_key><arg_value>{{ v | tojson if v is not string else v }}</arg_value>{% endfor %}</tool_call>{% endfor %}\n",
)

MINIMAX = r"""
{{- ']~!b[]~b]system\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content }}{%- endif %}
{%- if tools %}{{- '\n\n# Tools\n' }}
    {%- for tool in tools %}{{- '<tool>' + tool.function | tojson + '</tool>\n' }}{%- endfor %}
{%- endif %}
{{- '[e~[\n' }}
{%- for message in messages %}
    {%- if message.role == 'assistant' %}
        {{- ']~b]ai\n' + message.content }}
        {%- if message.tool_calls %}
            {{- '\n<minimax:tool_call>\n' }}
            {%- for tool_call in message.tool_calls -%}
                {%- set tool_call = tool_call.function %}
                {{- '<invoke name="' + tool_call.name + '">\n' }}
                {%- for k, v in tool_call.arguments | items %}
                {{- '<parameter name="' + k + '">' }}
                {{- v | tojson | string if v is not string else v }}
                {{- '</parameter>\n' }}
                {%- endfor %}
                {{- '</invoke>' ~ '\n' }}
            {%- endfor -%}
            {{- '</minimax:tool_call>' }}
        {%- endif %}
        {{- eos_token + '\n' }}
    {%- elif message.role == 'tool' %}
        {%- if not messages[loop.index0 - 1].tool_calls and messages[loop.index0 - 1].role != 'tool' %}
            {{- raise_exception('Message has tool role, but there was no previous message with a tool call!') }}
        {%- endif %}
        {{- ']~b]tool\n<response>' + message.content + '</response>[e~[\n' }}
    {%- elif message.role == 'user' %}
        {{- ']~b]user\n' + message.content + '[e~[\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- ']~b]ai\n' }}{%- endif %}"""

KIMI = r"""
{%- if tools -%}<|im_system|>tool_declare<|im_middle|>{{ tools | tojson }}<|im_end|>{%- endif -%}
{%- for message in messages -%}
  {%- set name = message.get('name') or message['role'] -%}
  {{- '<|im_' + (message['role'] if message['role'] in ['user', 'assistant'] else 'system') + '|>' -}}
  {{- name + '<|im_middle|>' -}}
  {%- if message['role'] == 'assistant' and message.get('tool_calls') -%}
    {{- message['content'] or '' -}}
    {{- '<|tool_calls_section_begin|>' -}}
    {%- for tool_call in message['tool_calls'] -%}
      {{- '<|tool_call_begin|>' + tool_call['id'] + '<|tool_call_argument_begin|>' -}}
      {%- if tool_call['function']['arguments'] is string -%}{{- tool_call['function']['arguments'] -}}
      {%- else -%}{{- tool_call['function']['arguments'] | tojson -}}{%- endif -%}
      {{- '<|tool_call_end|>' -}}
    {%- endfor -%}
    {{- '<|tool_calls_section_end|>' -}}
  {%- elif message['role'] == 'tool' -%}
    {{- '## Return of ' + message.tool_call_id + '\n' + message['content'] -}}
  {%- else -%}
    {{- message['content'] -}}
  {%- endif -%}
  {{- '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_assistant|>assistant<|im_middle|>' -}}{%- endif -%}"""

HARMONY = r"""
{{- '<|start|>system<|message|>Channels: analysis, commentary, final.<|end|>' }}
{%- set said = namespace(called=none) %}
{%- if tools or messages[0].role == 'system' %}
    {{- '<|start|>developer<|message|>' + (messages[0].content if messages[0].role == 'system' else '') }}
    {{- (tools | tojson if tools else '') + '<|end|>' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'user' %}
        {{- '<|start|>user<|message|>' + message.content + '<|end|>' }}
    {%- elif message.role == 'tool' %}
        {%- if said.called is none %}{{- raise_exception('no call before this result') }}{%- endif %}
        {{- '<|start|>functions.' + said.called + ' to=assistant<|channel|>commentary<|message|>' }}
        {{- message.content | tojson + '<|end|>' }}
    {%- elif message.role == 'assistant' and message.tool_calls %}
        {%- set call, thought = message.tool_calls[0].function, message.content or message.thinking %}
        {%- if message.content and message.thinking %}{{- raise_exception('one of them') }}{%- endif %}
        {%- if thought %}{{- '<|start|>assistant<|channel|>analysis<|message|>' + thought + '<|end|>' }}{%- endif %}
        {{- '<|start|>assistant to=functions.' + call.name + '<|channel|>commentary json<|message|>' }}
        {{- call.arguments | tojson + eos_token }}
        {%- set said.called = call.name %}
    {%- elif message.role == 'assistant' %}
        {%- if loop.last and not add_generation_prompt %}
            {%- if message.thinking %}
                {{- '<|start|>assistant<|channel|>analysis<|message|>' + message.thinking + '<|end|>' }}
            {%- endif %}
            {{- '<|start|>assistant<|channel|>final<|message|>' + message.content + eos_token }}
        {%- else %}
            {{- '<|start|>assistant<|channel|>final<|message|>' + message.content + '<|end|>' }}
        {%- endif %}
        {%- set said.called = none %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}"""

KEYWORDS = r"""
{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' }}
    {%- if loop.first and tools %}{{- '<functions>' + tools | tojson + '</functions>\n' }}{%- endif %}
    {{- message.content }}
    {%- if message.tool_calls %}{{- 'OPEN' }}
        {%- for call in message.tool_calls %}
            {{- call.function.name + '(' }}
            {%- for k, v in call.function.arguments | items %}
                {{- k + '=' + v | tojson }}{%- if not loop.last %}{{- ', ' }}{%- endif %}
            {%- endfor %}
            {{- ')' }}{%- if not loop.last %}{{- 'BETWEEN' }}{%- endif %}
        {%- endfor %}
        {{- 'CLOSE' }}
    {%- endif %}
    {{- '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"""

_TAGS = ("<tool_call>", "</tool_call>")
_GLM = ("<|user|>", "<|assistant|>", "<|observation|>", *CALL_FORMATS["glm4"].marks)
_MINIMAX = ("]~b]", "[e~[", *CALL_FORMATS["minimax_m2"].marks)
_DEEPSEEK = tuple(f"<｜{mark}｜>" for mark in ("User", "Assistant")) + CALL_FORMATS["deepseek_v3"].marks
_THINK = ("<think>", "</think>")
_LFM = CALL_FORMATS["lfm2"].marks
_BRACKETS = ("[TOOL_CALLS]", "[ARGS]", "[THINK]", "[/THINK]")


def _keywords(opening: str, between: str, closing: str) -> str:
    return KEYWORDS.replace("OPEN", opening).replace("BETWEEN", between).replace("CLOSE", closing)


_BARE_KEYWORDS = _keywords("[", ", ", "]").replace(
    "{{- message.content }}", "{{- message.content if not message.tool_calls }}"
)

TEMPLATES: dict[str, tuple[str, str, tuple[str, ...], bool]] = {
    "qwen2.5": ("hermes", QWEN.replace("THINKING", ""), _TAGS, False),
    "qwen3": ("hermes", QWEN.replace("THINKING", THINKING), (*_TAGS, *_THINK), False),
    "hermes without tokens": ("hermes", QWEN.replace("THINKING", THINKING), (), False),
    "pocket": ("pocket", POCKET_CALLS, _TAGS, False),
    "pocket without tokens": ("pocket", POCKET_CALLS, (), False),
    "llama3": ("llama3", LLAMA, ("<|python_tag|>",), True),
    "mistral": ("mistral", MISTRAL, ("[TOOL_CALLS]",), True),
    "mistral_args": ("mistral_args", MISTRAL_ARGS, _BRACKETS, True),
    "qwen3 coder": ("qwen3_coder", QWEN_CODER, _TAGS, False),
    "glm 4.5": ("glm4", GLM45, _GLM, False),
    "glm 4.7": ("glm47", GLM47, _GLM, False),
    "minimax m2": ("minimax_m2", MINIMAX, _MINIMAX, True),
    "deepseek v3": (
        "deepseek_v3",
        DEEPSEEK_V3.replace("ARGUMENTS", "tool.function.arguments | tojson"),
        _DEEPSEEK,
        False,
    ),
    "deepseek v3 of text": (
        "deepseek_v3",
        DEEPSEEK_V3.replace("ARGUMENTS", "tool.function.arguments"),
        _DEEPSEEK,
        False,
    ),
    "kimi k2": ("kimi_k2", KIMI, CALL_FORMATS["kimi_k2"].marks, False),
    "gpt-oss": ("harmony", HARMONY, CALL_FORMATS["harmony"].marks, True),
    "olmo3": ("olmo3", _keywords("<function_calls>", r"\n", "</function_calls>"), (), False),
    "lfm2": ("lfm2", _keywords("<|tool_call_start|>[", ", ", "]<|tool_call_end|>"), _LFM, True),
    "llama4 pythonic": ("pythonic", _BARE_KEYWORDS, ("<|python_start|>", "<|python_end|>"), True),
    "deepseek v3.1": ("deepseek_v31", DEEPSEEK_V31, _DEEPSEEK, False),
}
"""By a name: the format that it is, the template, the marks that are tokens, and whether these are special."""

OF_TEXT = ("deepseek v3 of text", "deepseek v3.1")
"""Those that want arguments as JSON text."""


def tokenizer_with_tools(name: str) -> Any:
    """A small tokenizer with such a template and such marks."""
    _, template, marks, are_special = TEMPLATES[name]
    tokenizer = byte_level_tokenizer()
    tokenizer.add_tokens([AddedToken(mark, special=are_special, normalized=False) for mark in marks])
    tokenizer.chat_template = template
    return tokenizer
