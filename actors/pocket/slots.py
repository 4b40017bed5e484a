"""What a user can tell about themselves, how they put it, and what the model answers; see ``possessions`` too."""

from __future__ import annotations

from dataclasses import dataclass

from actors.pocket import words
from actors.pocket.draw import Kind


@dataclass(frozen=True, slots=True)
class Slot:
    """One thing that can be told, asked and corrected; ``{value}`` stands for it in every phrase.

    Attributes:
        label: names the slot; equal labels are the same fact.
        known: real values to choose from; invented ones are mixed in.
        told, recalled, unknown: the model's answers when it is told, asked, and asked without having been told.
    """

    label: str
    kind: Kind
    known: tuple[str, ...]
    tellings: tuple[str, ...]
    corrections: tuple[str, ...]
    questions: tuple[str, ...]
    told: str
    recalled: str
    unknown: str


AFTERTHOUGHTS = (
    "Sorry, I meant {value}.", "No, {value}.", "I mean {value}.", "Oops, {value}.", "Wait, it is {value}.",
    "Correction: {value}.", "Sorry, {value}, not that.", "I should have said {value}.",
    "(No|Sorry|Oh|Wait|Ah no|Oh no|Oops|Stop), (I meant|it is|I mean|it's|make that|that is|I wanted to say|it should be) {value}(!|.|)",
)  # fmt: skip
"""Corrections that make sense only right behind the telling."""

NAME = Slot(
    label="name",
    kind="person",
    known=(),
    tellings=(
        "My name is {value}.", "I'm {value}.", "I am {value}.", "Call me {value}.", "Hi, I'm {value}.",
        "You can call me {value}.", "Hello, my name is {value}!", "{value} is my name.", "My name's {value}.",
        "Hey there, {value} here.", "People call me {value}.", "Hello, I am {value}.", "Hi! My name is {value}.",
        "The name is {value}.", "I am called {value}.", "Let me introduce myself: I am {value}.", "This is {value}.",
        "Hi, {value} here.", "Please call me {value}.", "Hey, my name is {value}, nice to meet you.",
        "(Hi|Hello|Hey|Good evening|Hi there|Okay)(,|!|.|) (my name is|my name's|I'm called|you are talking to|this is|call me|the name is|I go by|they call me) {value}(, and you?|, hello|, glad to meet you|.|!|)",
        "(I am|I'm|My name is|Call me|I am called|It is|This is|People say|Everybody calls me|Friends call me|You may call me|You should call me|Just call me|I go by|My first name is|They named me) {value}( by the way|, remember that|, how are you?|, okay?|.|!|)",
        "{value} (is what they call me|is my first name|is who I am|speaking|is how I am called|here, hello|is my name, remember it)(.|!|)",
        "(Do you know that|Remember that|You should know that|Note that|I want you to know that|I told you that|As you know,) (my name is|I am|I am called|I'm) {value}(.|!|)",
    ),
    corrections=(
        "Actually, my name is {value}.", "Sorry, my name is {value}.", "No, call me {value}.",
        "Please call me {value} now.", "My name is really {value}.", "Actually, call me {value}.",
        "I changed my name to {value}.", "No, my name is {value}.", "From now on my name is {value}.",
        "I lied, I am {value}.", "Correction: my name is {value}.", "Actually I'm {value}.",
        "(Sorry|No|Wait|Oh no|In fact|Now|From today|Oops)(,|:|) (I am|my name is|they call me|my real name is|the name is|it is) {value}( now| really|)(.|!|)",
        "(I have|We have|I) changed my name(. I am| to|, it is now|. Now I am) {value}(.|)",
    ),
    questions=(
        "What is my name?", "What's my name?", "Do you remember my name?", "Who am I?", "Tell me my name.",
        "Do you know my name?", "What am I called?", "Say my name.", "Do you still know my name?",
        "And what is my name?", "Remind me: what is my name?", "What was my name again?", "Can you tell me my name?",
        "Do you know who I am?", "What did I say my name was?", "Please tell me my name.", "So what is my name?",
        "Do you remember who I am?",
        "(Do you know|Do you remember|Do you still know|Do you recall|Can you tell me|Can you say|Tell me|Please tell me|Remind me|Say|I forgot|Have you forgotten|Could you tell me|Could you say|You know|Do you still remember) (my name|what my name is|who I am|what I am called|what my name was|how I am called|my own name)( please| again| now|)(?|.)",
        "(What|So what|And what|What exactly|Now what) (is|was|did I say is) my (own |first |)name( again| then| now| please|)?",
        "(Who|And who|So who) (am I|was I|is it you talk to|are you talking to|is talking to you|did I say I was)( again| then| now|)?",
        "(What|How) (do you call me|am I named|did I call myself|am I called again|should you call me)?",
        "(My name|And my name|My name again), (what is it|please|do you know it|what was it)?",
    ),
    told="Nice to meet you, {value}!",
    recalled="Your name is {value}.",
    unknown="You have not told me your name yet.",
)  # fmt: skip

HOME = Slot(
    label="home",
    kind="place",
    known=(),
    tellings=(
        "I live in {value}.", "I am living in {value}.", "My home is in {value}.", "I live in {value} now.",
        "We live in {value}.", "I'm living in {value} these days.", "Right now I live in {value}.",
        "I have a flat in {value}.", "My house is in {value}.", "I am in {value}.", "I'm based in {value}.",
        "I live near {value}.",
        "(I|We) (live|are living|stay|have lived|have a house|have a home|have a flat|own a house|moved and live|rent a flat|settled) (in|at|close to|around) {value}( now| at the moment| with my family| for years|, you know|, by the way|)(.|!|)",
        "(My|Our) (home|house|flat|apartment|place|home town) is (in|near|close to) {value}( now| these days|)(.|!|)",
        "(At the moment|These days|Now|Today|For years|Currently|By the way|You know,) (I live|I am living|I'm living|we live|my home is|I have my home|I am) in {value}(.|!|)",
        "{value} is (where I live|my home|where my home is|where we live|the place I live in|my home now)(.|!|)",
        "(Remember that|You should know that|Note that|Did you know that) (I live|we live|my home is) in {value}(.|?)",
    ),
    corrections=(
        "Actually, I live in {value}.", "I moved to {value}.", "No, I live in {value}.", "Sorry, I live in {value}.",
        "I live in {value} now.", "Correction: I live in {value}.", "I have just moved to {value}.",
        "We moved to {value}.",
        "(Sorry|No|Wait|In fact|Oops|Now|Oh no)(,|:|) (I live in|I moved to|my home is in|we live in|it is|I am now in) {value}( now|)(.|!|)",
        "(I|We) (just |have |have now |)moved (house |home |)(to|and live in|over to) {value}( today| last week|)(.|!|)",
    ),
    questions=(
        "Where do I live?", "Do you remember where I live?", "Where is my home?", "What city do I live in?",
        "Which place do I live in?", "Do you know where I live?", "Tell me where I live.", "Where did I say I live?",
        "Where am I living?", "And where do I live?", "Can you tell me where I live?", "Where was my home again?",
        "So where do I live?", "Which city do I live in?", "In what place do I live?", "Remind me where I live.",
        "(Do you know|Do you remember|Do you still know|Do you recall|Can you tell me|Can you say|Tell me|Please tell me|Remind me|Say|I forgot|Have you forgotten|Could you tell me|Could you say|You know|Do you still remember) (where I live|my home|where my home is|which city I live in|the place I live in|where my house is|where we live|what place I live in)( please| again| now|)(?|.)",
        "(Where|And where|So where|Where exactly|Where again) (do I live|is my home|is my house|am I living|is my flat|did I say my home is|am I at home|do we live|was it that I live)( again| now| then| please|)?",
        "(What|Which|In which|And what) (city|town|place|country|village) (do I live in|is my home|am I living in|is my home in|did I say I live in|do I call home)( again| now|)?",
    ),
    told="{value} is a good place to live.",
    recalled="You live in {value}.",
    unknown="You have not told me where you live yet.",
)  # fmt: skip

ORIGIN = Slot(
    label="origin",
    kind="place",
    known=(),
    tellings=(
        "I come from {value}.", "I'm from {value}.", "I am from {value}.", "I was born in {value}.",
        "I grew up in {value}.", "I come from {value} originally.", "My family comes from {value}.",
        "Originally I'm from {value}.",
        "(I|We|My parents|My family) (come|came|are|moved here) from {value}( you know| by the way|)(.|!|)",
        "(I was born|I grew up|I went to school|My parents live|I spent my youth) in {value}( you know| long ago|)(.|!|)",
        "{value} is (where I come from|where I was born|where I grew up|where I am from)(.|!|)",
    ),
    corrections=(
        "Actually, I come from {value}.", "No, I am from {value}.", "Sorry, I was born in {value}.",
        "Actually I'm from {value}.",
    ),
    questions=(
        "Where do I come from?", "Where am I from?", "Do you remember where I come from?", "Where was I born?",
        "Tell me where I am from.", "Do you know where I come from?", "Where did I grow up?", "And where am I from?",
        "(Do you know|Do you remember|Do you still know|Do you recall|Can you tell me|Can you say|Tell me|Please tell me|Remind me|Say|I forgot|Have you forgotten|Could you tell me|Could you say|You know|Do you still remember) (where I come from|where I am from|where I was born|where I grew up|my origin)( please| again|)(?|.)",
        "(From where|Where|So where|And where) (do I come from|was I born|did I grow up|am I from|was it that I come from)( again| then| originally|)?",
    ),
    told="I would like to see {value} one day.",
    recalled="You come from {value}.",
    unknown="You have not told me where you come from yet.",
)  # fmt: skip

JOB = Slot(
    label="job",
    kind="thing",
    known=words.JOBS,
    tellings=(
        "I work as a {value}.", "My job is {value}.", "I am a {value}.", "I'm a {value}.",
        "I work as a {value} these days.", "By trade I am a {value}.", "I am a {value} by profession.",
        "I earn my money as a {value}.",
        "(I am|I'm|I work as|I have a job as|I became|My job is to be) a {value}( by trade| you know| now| in a big firm|)(.|!|)",
        "(By profession|For a living|In my job|At work) I (am|work as) a {value}(.|!|)",
    ),
    corrections=(
        "Actually, I work as a {value}.", "No, I am a {value}.", "I have a new job: {value}.",
        "I work as a {value} now.",
    ),
    questions=(
        "What is my job?", "What do I do for a living?", "Do you remember my job?", "What do I work as?",
        "What's my job?", "Where do I earn my money?", "What was my job again?", "Do you know what my job is?",
        "(Do you know|Do you remember|Do you still know|Do you recall|Can you tell me|Can you say|Tell me|Please tell me|Remind me|Say|I forgot|Have you forgotten|Could you tell me|Could you say|You know|Do you still remember) (my job|what I work as|my profession|what my job is|what I do for a living|my trade)( please| again|)(?|.)",
        "(What|So what|And what) (is|was) my (job|profession|trade|work)( again| then|)?",
        "(How|With what|As what) do I (earn money|work|make my living|earn my living)?",
    ),
    told="A {value}! That must be interesting.",
    recalled="You work as a {value}.",
    unknown="You have not told me your job yet.",
)  # fmt: skip

HOBBY = Slot(
    label="hobby",
    kind="thing",
    known=words.HOBBIES,
    tellings=(
        "My hobby is {value}.", "I enjoy {value}.", "In my free time I like {value}.", "My hobby's {value}.",
        "For fun I do {value}.", "I spend my weekends on {value}.", "I really enjoy {value}.",
        "As a hobby I do {value}.",
        "(I|I really|I also|On Sundays I|In the evening I) (like|love|enjoy|do|am fond of) {value}( a lot| very much| you know|)(.|!|)",
        "(My|A) (hobby|pastime|passion|free time fun) (of mine |)is {value}(.|!|)", "{value} is (my hobby|what I like to do|my passion|fun)(.|!|)",
    ),
    corrections=(
        "Actually, my hobby is {value}.", "No, my hobby is {value}.", "Now my hobby is {value}.",
        "These days I enjoy {value}.",
    ),
    questions=(
        "What is my hobby?", "What's my hobby?", "What do I enjoy?", "Do you remember my hobby?",
        "What do I do for fun?", "What do I like to do?", "Tell me my hobby.", "What was my hobby again?",
        "(Do you know|Do you remember|Do you still know|Do you recall|Can you tell me|Can you say|Tell me|Please tell me|Remind me|Say|I forgot|Have you forgotten|Could you tell me|Could you say|You know|Do you still remember) (my hobby|what I enjoy|what my hobby is|what I do for fun|my pastime)( please| again|)(?|.)",
        "(What|So what|And what) (is|was) my (hobby|pastime|passion)( again| then|)?",
        "(What|And what) do I (love|do in my free time|enjoy doing|do on Sundays|do for a hobby)?",
    ),
    told="{value} sounds like fun.",
    recalled="Your hobby is {value}.",
    unknown="You have not told me your hobby yet.",
)  # fmt: skip

AGE = Slot(
    label="age",
    kind="number",
    known=(),
    tellings=(
        "I am {value} years old.", "I'm {value} years old.", "I'm {value}.", "My age is {value}.",
        "I turned {value} today.", "I am {value}.", "I just turned {value}.",
        "(I am|I'm|I was|I will be|I have turned|I turn|Yesterday I turned|I am already|I am now) {value} (years old|years of age|years)( now| today|)(.|!|)",
        "(My age is|I am aged|At my age of) {value}(.|!|)",
    ),
    corrections=(
        "Actually, I am {value} years old.", "No, I am {value} years old.", "Sorry, I am {value}.",
        "Actually I'm {value}.",
    ),
    questions=(
        "How old am I?", "What is my age?", "Do you remember how old I am?", "Tell me my age.", "What's my age?",
        "Do you know my age?", "How old did I say I am?", "And how old am I?",
        "(Do you know|Do you remember|Do you still know|Do you recall|Can you tell me|Can you say|Tell me|Please tell me|Remind me|Say|I forgot|Have you forgotten|Could you tell me|Could you say|You know|Do you still remember) (my age|how old I am|how many years I have|what my age is)( please| again|)(?|.)",
        "(How old|So how old|And how old) (am I|was I|did I say I was)( again| now| then|)?",
        "(What|So what) (is|was) my age( again| then|)?",
    ),
    told="{value} is a fine age.",
    recalled="You are {value} years old.",
    unknown="You have not told me your age yet.",
)  # fmt: skip

PERSONAL = (NAME, HOME, ORIGIN, JOB, HOBBY, AGE)
