"""The names that programs, callers and clients import: they stay, and new ones are added here on purpose."""

from __future__ import annotations

import importlib
import inspect

import pytest

NAMES = {
    "api.agents": """
        Agent CallContext CallFailed ClientTool File FunctionTool Prompt agent ask call client_tool context emit
        handoff http_tool mcp memory status tool
    """,
    "api.callers.agent_ref": "AgentRef AgentTask AgentThread PromptResponse",
    "api.client": """
        Answer ChatHistory Client ClientAgent ClientBlock ClientInstance ClientSession ClientSubscription ClientTask
        ClientThread RunFailed StreamingResponse Tag
    """,
    "api.inferlet": """
        Args Candidates Child ChildFailed Choice Context Generation Grammar Item JsonSchema Lagged LanguageModel
        NewEpoch Regex Retention Sampler StopCondition Tool ToolCall ToolChoice TopicReader broadcast continue_as_new
        ends_with ends_with_any get_all_models get_auto_model get_model inferlet instance_id launch matches max_len now
        pull push random recv send store_delete store_get store_list store_put subscribe
    """,
    "api.errors": """
        AgentNotFound AlreadyAnswered AskNotFound BlockNotFound CapacityExhausted Closed Conflict ContextLost
        EndOfEvents Fenced Forbidden GenerationUnread GreenroomError IdTaken IdempotencyConflict InUse InferletEnded
        InferletNotFound InvalidRequest LengthExceeded Misdirected ModelLost ModelNotFound Moved NameTaken Named
        NotFound NotLast ProgramNotFound QueueNotFound RecordsMissing RunEnded RunNotFound SessionNotFound ThreadBusy
        ThreadDeleted ThreadNotFound TooBusy TooLarge TopicNotFound TurnNotFound TurnRunning Unauthorized Unavailable
        UnknownAdapter Unsupported UnsupportedContent WorkerLost reason_of sentence_of
    """,
    "actors.cluster.greenroom": "Greenroom",
    "deployments.app": "application",
    "deployments.ray_connection": "connect_here",
}
"""What each module offers. ``api.client`` and ``api.inferlet`` say it themselves; of a module that is all ours, all."""

CALLS = {
    "api.callers.agent_ref.AgentRef": "async_prompt thread",
    "api.callers.agent_ref.AgentTask": "answer cancel id refresh run state steer wait",
    "api.callers.agent_ref.AgentThread": "blocks delete describe fork id stream",
    "api.client.Client": """
        agent agents task thread threads upload_agents
        attach_instance close delete_queue delete_topic launch_instance list_instances list_programs models open_session
        program_exists publish queues session sessions subscribe terminate_instance topics upload_program
    """,
}


@pytest.mark.parametrize("module", NAMES)
def test_a_module_offers_what_it_did(module: str) -> None:
    found = importlib.import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("module", ["api.agents", "api.client", "api.inferlet"])
def test_a_package_exports_nothing_else(module: str) -> None:
    exported = importlib.import_module(module).__all__
    assert exported == sorted(NAMES[module].split())


def test_the_tree_of_errors_has_no_others() -> None:
    found = importlib.import_module("api.errors")
    own = {name for name, value in vars(found).items() if getattr(value, "__module__", "") == found.__name__}
    assert own == set(NAMES["api.errors"].split())


@pytest.mark.parametrize("path", CALLS)
def test_a_class_has_the_calls_that_it_had(path: str) -> None:
    module, _, name = path.rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    assert {one for one, _ in inspect.getmembers(kind) if not one.startswith("_")} >= set(CALLS[path].split())
