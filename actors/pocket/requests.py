"""How users ask for what a tool does: ``{noun}`` and ``{verb}`` are its words, ``{a}`` and ``{b}`` its arguments.

A list of wordings may end in patterns; see ``actors.pocket.draw``.
"""

from __future__ import annotations

QUESTIONS = (
    "What is the {noun} of {a}?", "What is the {noun} in {a}?", "What's the {noun} for {a}?",
    "Tell me the {noun} of {a}.", "Give me the {noun} for {a}.", "Could you look up the {noun} of {a}?",
    "Find the {noun} of {a}.", "Show me the {noun} in {a}.", "Look up the {noun} of {a}.", "How is the {noun} in {a}?",
    "I need the {noun} of {a}.", "Please find out the {noun} for {a}.", "Check the {noun} of {a}.",
    "Do you know the {noun} of {a}?", "{noun} of {a}?", "Which {noun} does {a} have?",
    "I would like to know the {noun} of {a}.", "What {noun} is there in {a}?",
    "(Tell me|Give me|Show me|Find|Check|Look up|Get|I need|Fetch|Read|Search|Get me) (the|a|today's|the current|this|the latest|any) {noun} (of|for|in|at|from|on) {a}( please| now| today|)(.|)",
    "(What|What exactly|And what|So what) (is|was|will be|'s) (the|the current|the latest|today's|its) {noun} (of|for|in|at|from|on) {a}( now| today|)?",
    "(Can you|Could you|Please|Will you) (get|find|tell me|check|search|show me|give me|say) (the|a|any) {noun} (of|for|in|at) {a}( please|)(?|.)",
    "(Do you know|Can you tell me|I want to know|I wonder about|I am looking for) the {noun} (of|for|in|at) {a}(?|.)",
    "How (is|was|much is|high is|big is|good is|old is) the {noun} (of|for|in|at) {a}?",
    "(What about|How about|And|Now) the {noun} (of|for|in) {a}(?|)",
    "(Is there|Has {a} got|Do you have) (a|any|the) {noun} (of|for|in) {a}?",
)  # fmt: skip
QUESTIONS_ALONE = (
    "What is the {noun}?", "What's the {noun}?", "Tell me the {noun}.", "Show me the {noun}.", "Give me the {noun}.",
    "Could you look up the {noun}?", "I need the {noun}.", "Check the {noun}.", "How is the {noun}?",
    "Is there any {noun}?", "Get the {noun}.", "What {noun} is there now?",
    "(Tell me|Give me|Show me|Find|Check|Look up|Get|I need|Fetch|Read) (the|a|today's|the current|the latest) {noun}( please| now| today|)(.|)",
    "(What|What exactly|And what|So what) (is|was|will be|'s) (the|the current|the latest|today's) {noun}( now| today|)?",
    "(Can you|Could you|Please|Will you) (get|find|tell me|check|show me) (the|a|any) {noun}( please|)(?|.)",
)  # fmt: skip
QUESTIONS_ON_TWO = (
    "What is the {noun} from {a} to {b}?", "What is the {noun} of {a} and {b}?", "Find the {noun} from {a} to {b}.",
    "Tell me the {noun} of {a} for {b}.", "What's the {noun} between {a} and {b}?",
    "Please look up the {noun} from {a} to {b}.", "I need the {noun} of {a} in {b}.", "Show the {noun} of {a} at {b}.",
    "Check the {noun} for {a} and {b}.", "How is the {noun} between {a} and {b}?",
    "Give me the {noun} of {a} on {b}.", "Could you find the {noun} for {a} in {b}?",
    "(Tell me|Give me|Show me|Find|Check|Look up|Get|I need|Search) (the|a|any) {noun} (of|for|in|from) {a} (to|and|in|on|for|with) {b}( please| now|)(.|)",
    "(What|And what|So what) (is|was|will be|'s) (the|the current) {noun} (of|for|in|from|between) {a} (and|to|on|in) {b}?",
    "(Can you|Could you|Please|Will you) (get|find|tell me|check) (the|a) {noun} (of|for|from) {a} (to|and|on|in) {b}(?|.)",
)  # fmt: skip
ACTIONS = (
    "{Verb} the {noun} of {a}.", "{Verb} a {noun} for {a}.", "Please {verb} the {noun} {a}.", "{Verb} the {noun} to {a}.",
    "Can you {verb} the {noun} for {a}?", "I want you to {verb} the {noun} {a}.", "{Verb} {noun} {a}.",
    "Please {verb} a {noun} for {a}.", "I would like to {verb} a {noun} for {a}.", "Will you {verb} the {noun} of {a}?",
    "{Verb} my {noun} for {a}, please.", "Could you {verb} a {noun} to {a}?",
    "(Please|Now|Can you|Could you|Will you|I want to|I need to|You should|Kindly|Let us) {verb}( the| a| my| this| that| one|) {noun}( of| for| to| at| with| in|) {a}( please| now|)(?|.|)",
    "{Verb}( the| a| my| this| that| one|) {noun}( of| for| to| at| with| in|) {a}( please| now|)(!|.|)",
)  # fmt: skip
ACTIONS_ON_TWO = (
    "{Verb} the {noun} of {a} to {b}.", "{Verb} a {noun} for {a} on {b}.", "Please {verb} the {noun} {a} for {b}.",
    "Can you {verb} the {noun} from {a} to {b}?", "{Verb} {noun} {a} with {b}.", "I want to {verb} a {noun} from {a} to {b}.",
    "Please {verb} a {noun} for {a} in {b}.", "{Verb} my {noun} from {a} to {b}.", "Will you {verb} the {noun} of {a} at {b}?",
    "I need to {verb} a {noun} for {a} and {b}.", "{Verb} the {noun} for {a} with {b}, please.",
    "Could you {verb} a {noun} from {a} for {b}?",
    "(Please|Now|Can you|Could you|Will you|I want to|I need to|Kindly) {verb} (the|a|my|this|that|one) {noun} (of|for|from|to) {a} (to|for|with|in|on|and) {b}( please| now|)(?|.|)",
    "{Verb} (the|a|my|this|that|one) {noun} (of|for|from|to) {a} (to|for|with|in|on|and) {b}( please| now|)(!|.|)",
)  # fmt: skip
