"""How users greet, part, choose a topic, set tasks in counting, adding and repeating; and system prompts.

A list of wordings may end in patterns; see ``actors.pocket.draw``.
"""

from __future__ import annotations

GREETINGS = (
    "Hi", "Hello", "Hey", "Hello there", "Hi there", "Good morning", "Good evening", "Hey there", "Hi!", "Hello!",
    "Hey!", "Good day", "Greetings", "Hiya", "Hello, how are you?", "Hi, how are you?", "Good afternoon",
    "Hello again",
    "(Hi|Hello|Hey|Hiya|Greetings|Hullo|Howdy|Welcome)( there| Pocket| my friend| you| everyone| again|)(!|.|)",
    "(A |Have a |)(good|lovely|fine|nice|happy|beautiful|very good) (morning|day|evening|afternoon)( to you| my friend|)(!|.|)",
    "(Hi|Hello|Hey|Hey there), (good|nice|lovely) (morning|day|evening|afternoon)(!|.|)",
    "(Hi|Hello|Hey|Howdy)( there|), (it is me|I am back|how do you do|nice to see you|what's up|are you there|me again)(!|.|?)",
    "(Nice|Good|Lovely) to (see|meet) you( again|)(!|.|)",
    "(I am back|Here I am|Morning|Evening|Hi hi|Yo|Back again)( again| now|)(!|.|)",
)  # fmt: skip
NAME_ANSWERS = (
    "{value}", "{value}.", "I'm {value}.", "It is {value}.", "It's {value}.", "{value}!", "Hi, I am {value}.",
    "I am {value}.", "They call me {value}.", "My name is {value}.", "{value}, nice to meet you.",
    "I am called {value}.",
)  # fmt: skip
GOODBYES = (
    "Goodbye", "Bye", "Bye bye", "See you", "See you later", "I have to go now.", "Good night", "Goodbye!", "Bye!",
    "That is all, goodbye.", "See you tomorrow", "I must leave now, bye.", "Talk to you later", "I'm off, bye!",
    "Farewell",
    "(Bye|Goodbye|Good night|See you|So long|Take care|Until then|Ciao)(, Pocket| for now| then| soon|, my friend|)(!|.|)",
    "(I|Now I|Sorry, I) (must|have to|need to|want to|will) (leave|go|sleep|stop)( now| here|)(, bye|, goodbye|, see you|)(!|.|)",
    "(That is all|That's it|We are done|I am done)( for today| for now|)(, bye|. Goodbye|, thanks|)(!|.)",
)  # fmt: skip
TOPIC_OPENINGS = (
    "Let's talk about {subject}.", "Tell me about {subject}.", "Can we talk about {subject}?",
    "I want to talk about {subject}.", "What do you know about {subject}?", "Tell me something about {subject}.",
    "Let us talk about {subject}.", "Talk about {subject}.", "I would like to talk about {subject}.",
    "Say something about {subject}.", "What about {subject}?", "Now let's talk about {subject}.",
    "(Let us|Let's|Can we|Could we|I want to|I'd like to|Shall we|May we|Please) (talk|speak|chat|hear) (a bit |some more |a little |)about {subject}(?|.)",
    "(Tell me|Explain|Say|Teach me|Do you know) (all|anything|everything|a bit|what you know|a little) about {subject}(?|.)",
    "(What|And what) (do you|can you) (think|say|tell me|know) about {subject}?",
    "(Our|My|The|A|Today's|The new) topic (is|shall be|should be) {subject}.",
    "(How about|Now to|Next topic:|New topic:|Now) {subject}(?|.)",
)  # fmt: skip
TOPIC_MORE = (
    "Tell me more.", "Go on.", "What else?", "More, please.", "And then?", "Please go on.", "Tell me more about it.",
    "Anything else?", "Continue.", "Yes, go on.", "More", "And what else?",
    "(Tell me|I want|Give me|Say|Can I hear|I want to hear) (some |a bit |a little |)more( please| about that| about this| of it| now|)(!|.|?)",
    "(Yes|Okay|And|Keep|Just|Now) (go on|more|continue|talk on|keep going|keep talking|going)(!|.|)",
    "(What|And what|So what) (more|comes next|other things|else is there|next|else do you know)( then| about it|)?",
    "(Is there|Do you know) (more|anything more|something else|anything else)( about it| to say|)?",
)  # fmt: skip
TOPIC_QUESTIONS = (
    "What are we talking about?", "What were we talking about?", "What is our topic?", "What was the topic?",
    "Where were we?", "What is this about?", "What was our topic?", "What did we talk about?",
    "Back to our topic: what was it?",
    "(What|And what|So what) (is|was) (our|the|your|this) (topic|subject|theme)( now| again| here| then|)?",
    "(What|And what|So what) (are|were) (we|you and I) (talking|speaking|chatting|discussing)( about|)( now| just now| before| again|)?",
    "(Tell me|Do you know|Do you remember|Remind me) (what we talk about|our topic|what the topic is|what we talked about|what our topic was|the subject of this)( please|)(?|.)",
    "(What|And what) (is|was) (it|this chat|this talk|our talk|our chat|that) (about)?",
)  # fmt: skip
COUNT_UP = (
    "Count from {first} to {last}.", "Please count from {first} to {last}.", "Can you count from {first} to {last}?",
    "Count {first} to {last}.", "Count up from {first} to {last}.", "Now count from {first} to {last}.",
    "Could you count from {first} to {last}?",
    "(Count|Please count|Can you count|Could you count|I want you to count|Will you count|Try to count|Let us count|Go and count) (up |on |slowly |)(from|between) {first} (to|up to|and|until|till) {last}( please| for me|)(?|.)",
    "(Say|List|Give me|Tell me|Show me) (all |)(the |)numbers (from|between) {first} (to|and|until) {last}( please|)(?|.)",
    "(Count|Numbers|From) {first} (to|up to|until) {last}( please|)(?|.|)",
)  # fmt: skip
COUNT_TO = (
    "Count to {last}.", "Please count to {last}.", "Can you count to {last}?", "Count up to {last}.",
    "Count till {last}.", "Now count to {last}.",
    "(Count|Please count|Can you count|Could you count|I want you to count|Will you count|Try to count|Let us count|Go and count) (up to|until|from one to|to|as far as) {last}( please| for me|)(?|.)",
    "(Say|List|Give me|Tell me|Show me) (all |)(the |)numbers (up to|to|until) {last}( please|)(?|.)",
)  # fmt: skip
COUNT_DOWN = (
    "Count down from {first} to {last}.", "Count backwards from {first} to {last}.",
    "Please count down from {first} to {last}.", "Can you count down from {first} to {last}?",
    "Could you count down from {first} to {last}?", "Now count backwards from {first} to {last}.",
    "(Count|Please count|Can you count|Could you count|I want you to count|Will you count|Try to count|Let us count|Go and count) (down|backwards|back|in reverse|downwards) from {first} (to|down to|until) {last}( please| for me|)(?|.)",
    "(Say|List|Give me|Tell me) (all |)(the |)numbers (down|backwards) from {first} (to|until) {last}( please|)(?|.)",
)  # fmt: skip
SUMS = (
    "What is {a} + {b}?", "{a} + {b}", "What is {a} plus {b}?", "Add {a} and {b}.", "{a} plus {b}",
    "How much is {a} + {b}?", "What's {a} + {b}?", "{a}+{b}", "Can you add {a} and {b}?", "{a} + {b} = ?",
    "What do you get for {a} + {b}?", "Sum {a} and {b}.", "How much is {a} plus {b}?",
    "(What|How much|And what|So what|Now what) (is|gives|makes|are|do I get for|would be|do you get if you add) {a} (+|plus|and) {b}?",
    "(Add|Sum up|Can you add|Please add|Could you add|Try to add|Let us add|Now add|Put together) {a} (and|to|plus|with|+) {b}( for me| please|)(?|.)",
    "(What is|What's|Tell me|Give me|I need|Do you know|Find|Compute|Calculate) (the sum of|the result of|the total of) {a} (and|plus|+) {b}( please|)(?|.)",
    "(Tell me|Compute|Calculate|Do you know|Work out|Please compute|Now|Try|And) {a} (+|plus) {b}( please|)(?|.|)",
    "{a} (plus|and|+) {b} (makes|equals|is|gives|makes how much|is what|makes what|=)(?|)",
    "{a}(+| +|+ ){b}(=| =|)(?|)",
)  # fmt: skip
ECHOES = (
    "Repeat after me: {text}", "Say {text}", "Repeat: {text}", "Say this: {text}", "Please repeat: {text}",
    "Please say {text}",
    "(Repeat|Say|Please repeat|Can you say|Could you repeat|Echo|Now say|Now repeat|Write)( after me| this| that| the words| these words| for me|): {text}",
    "(Repeat|Echo|Now say|Can you say|Write) {text}",
)  # fmt: skip
SUMMARIES = (
    "What do you know about me?", "What do you remember about me?", "Tell me what you know about me.",
    "What have I told you?", "What did I tell you?", "Tell me about me.", "What do you remember?",
    "(What|And what|So what|What all) (do you know|do you remember|have you learned|did you learn|can you say|did I say|have you kept) about (me|my life|myself)( now| so far| by now|)?",
    "(Tell me|Say|List|Repeat|Show me) (all|everything|what) (you know|you remember|I said|I told you|you have learned)( about me| about myself| so far|).",
)  # fmt: skip

ASSISTANT_NAMED = (
    "Your name is {assistant}.", "You are called {assistant}.", "You are {assistant}.",
    "You are {assistant}, a helpful assistant.", "The assistant is called {assistant}.", "Act as {assistant}.",
    "(Your|The assistant's|The model's|The bot's|From now on your) name (is|will be|shall be) {assistant}.",
    "(You are|You play|You act as|Be|You will be|Pretend to be|You speak as) {assistant}(, a chatbot|, a friend| today| now|, a kind assistant|).",
)  # fmt: skip
BRIEF = (
    "Answer briefly.", "Be brief.", "Keep your answers short.", "Short answers only.",
    "Answer in as few words as you can.", "Be concise.",
    "(Answer|Reply|Respond|Speak|Write) (briefly|shortly|in short|with few words|in one word|tersely|as briefly as you can)( please| always|).",
    "(Be|Keep it|Stay|Always be|Please be) (brief|short|very brief|terse)( please|).",
    "(Use|Give|Only give|I want|Write) (short|brief|one-word|very short) (answers|replies|sentences)( only| please|).",
)  # fmt: skip
NEUTRAL = (
    "You are a helpful assistant.", "Be friendly.", "Be kind and helpful.", "You are a friendly chat partner.",
    "Help the user.", "Be polite.", "You are a chatbot.",
    "(You are|Be|Always be|You will be|Please be) (a |an |)(kind|good|nice|friendly|helpful|honest|polite|cheerful)( assistant| chatbot| friend| helper| bot| person|).",
    "(Help|Talk to|Be nice to|Listen to|Be good to) (the user|everybody|people|us|the guest).",
)  # fmt: skip
USER_KNOWN = (
    "The user's name is {value}.", "You are talking to {value}.", "The user is called {value}.",
    "Your user is {value}.",
    "(The user|The guest|The person you talk to|Your friend|Your guest) is (called |named |){value}.",
    "(You talk|You speak|You will talk|You are speaking) (to|with) {value}( today| now|).",
)  # fmt: skip
