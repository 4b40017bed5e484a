"""The chat template of ``pocket``.

A tool is a line of the system text: its mark, its name and parameters, and the words of its name and description; the
mark follows each. A model this small finds a tool by a word that recurs in the request, and what comes after that
word is the mark. It writes the mark before the first call of an answer, and then copies the rest from the line.
"""

from __future__ import annotations

CALL_BEGIN, CALL_END = "<tool_call>", "</tool_call>"
TOOL_MARKS = "&%$@~^|;"
"""One token each; more tools than these share them."""
MAX_DESCRIPTION = 120
"""Characters of a tool's description that are read."""
SIGNS = "_-./:,!?()[]<>{}'\"`" + TOOL_MARKS
"""Between words."""
LEFT_OUT = tuple(
    """a an the of for in to by with and or at on from is this that it its as given what which who where how you
    me""".split()
)
"""Words that would recur in any request."""


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


CHAT_TEMPLATE = (
    "{{- bos_token -}}"
    f"{{%- set marks = {_quoted(TOOL_MARKS)} -%}}"
    "{%- set called = namespace(names=[]) -%}"
    "{%- set system = messages[0]['content'] if messages and messages[0]['role'] == 'system' else '' -%}"
    "{%- if tools -%}"
    "{{- '<|system|>' + (system + '\n' if system else '') + 'Tools:' -}}"
    "{%- for tool in tools -%}"
    "{%- set function = tool['function'] if 'function' in tool else tool -%}"
    "{%- set properties = (function['parameters'] or {})['properties'] or {} -%}"
    "{%- set mark = marks[loop.index0 % (marks | length)] -%}"
    "{%- set called.names = called.names + [function['name']] -%}"
    "{{- '\n' + mark + function['name'] + mark + '(' + properties.keys() | join(', ') + '):' -}}"
    f"{{%- set said = namespace(text=function['name'] + ' ' + (function['description'] or '')[:{MAX_DESCRIPTION}]) -%}}"
    "{%- set said.text = said.text | lower -%}"
    f"{{%- for sign in {_quoted(SIGNS)} -%}}{{%- set said.text = said.text | replace(sign, ' ') -%}}{{%- endfor -%}}"
    f"{{%- for word in said.text.split() | unique | reject('in', {list(LEFT_OUT)}) -%}}"
    "{{- ' ' + word + mark -}}"
    "{%- endfor -%}"
    "{%- endfor -%}"
    "{{- eos_token -}}"
    "{%- endif -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ['system', 'user', 'assistant', 'tool'] -%}"
    "{{- raise_exception('pocket knows the roles system, user, assistant and tool') -}}"
    "{%- endif -%}"
    "{%- if not (tools and loop.first and message['role'] == 'system') -%}"
    "{{- '<|' + message['role'] + '|>' + (message['content'] or '') -}}"
    "{%- for call in message['tool_calls'] or [] -%}"
    "{%- set function = call['function'] if 'function' in call else call -%}"
    "{%- set arguments = function['arguments'] -%}"
    "{{- '<tool_call>' -}}"
    "{%- if loop.first and function['name'] in called.names -%}"
    "{{- marks[called.names.index(function['name']) % (marks | length)] -}}"
    "{%- endif -%}"
    "{{- '{\"name\": ' + function['name'] | tojson + ', \"arguments\": ' -}}"
    "{{- (arguments if arguments is string else arguments | tojson) + '}</tool_call>' -}}"
    "{%- endfor -%}"
    "{{- eos_token -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
