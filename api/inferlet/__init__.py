"""The SDK of inferlets: what a program imports."""

from api.cluster import Retention
from api.constraints import Choice, Grammar, JsonSchema, Regex
from api.inferlet.arguments import Args
from api.inferlet.children import Child, ChildFailed, launch
from api.inferlet.context import Context
from api.inferlet.continuing import continue_as_new
from api.inferlet.generation import Generation
from api.inferlet.messaging import Item, TopicReader, broadcast, pull, push, recv, send, subscribe
from api.inferlet.model import LanguageModel, get_all_models, get_auto_model, get_model
from api.inferlet.program import inferlet
from api.inferlet.sampling import Candidates, Sampler
from api.inferlet.stopping import StopCondition, ends_with, ends_with_any, matches, max_len
from api.inferlet.store import store_delete, store_get, store_list, store_put
from api.inferlet.surroundings import instance_id, now, random
from api.tools import Tool, ToolCall, ToolChoice
from api.topics import Lagged, NewEpoch

__all__ = [
    "Args",
    "Candidates",
    "Child",
    "ChildFailed",
    "Choice",
    "Context",
    "Generation",
    "Grammar",
    "Item",
    "JsonSchema",
    "Lagged",
    "LanguageModel",
    "NewEpoch",
    "Regex",
    "Retention",
    "Sampler",
    "StopCondition",
    "Tool",
    "ToolCall",
    "ToolChoice",
    "TopicReader",
    "broadcast",
    "continue_as_new",
    "ends_with",
    "ends_with_any",
    "get_all_models",
    "get_auto_model",
    "get_model",
    "inferlet",
    "instance_id",
    "launch",
    "matches",
    "max_len",
    "now",
    "pull",
    "push",
    "random",
    "recv",
    "send",
    "store_delete",
    "store_get",
    "store_list",
    "store_put",
    "subscribe",
]
