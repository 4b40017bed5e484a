"""Small talk, and the one answer to each."""

from __future__ import annotations

from actors.pocket.remarks import Remark

CHAT = (
    Remark(
        (
            "How are you?", "How are you doing?", "How is it going?", "Are you well?", "How do you feel?",
            "How's it going?", "You ok?",
            "(How|So how) (are|do) you (feel|doing|feeling|today|now|this morning)?",
            "(How|And how) (was|is) (your day|it|life|everything|everything going|the day|work)( today|)?",
            "(Are you|You) (well|ok|fine|good|happy)( today| now|)?",
        ),
        "I am well, thank you. How are you?",
    ),
    Remark(
        (
            "Thanks", "Thank you", "Thank you!", "Thanks a lot", "Many thanks", "Thx", "Great, thank you.",
            "Thanks, that helps.",
            "(Thank you|Thanks|Many thanks|Thank you so much|I thank you|Thx a lot)( for that| for your help| a lot| very much| Pocket|)(!|.|)",
        ),
        "You are welcome.",
    ),
    Remark(
        (
            "Ok", "I see", "Nice", "Cool", "Great", "All right", "Good", "Interesting", "Sure", "Fine", "Wow",
            "Haha", "lol", "Right",
            "(Oh|Ah|Well|Hm|Yes|Okay|Ok)(, | )(nice|cool|good|right|fine|great|I see|all good|wonderful|sure|true)(!|.|)",
            "(That is|That's|How|Very|Really) (interesting|nice|cool|good|great|fine|funny|true|okay|right)(!|.|)",
            "(Ha ha|Hehe|Yes|Hm|Yeah|Yep|Alright|Understood|Got it|Perfect)(!|.|)",
        ),
        "What else would you like to talk about?",
    ),
    Remark(
        (
            "I am {good}.", "I'm {good}.", "I feel {good}.", "I am {good} today.", "I'm {good}, thanks.",
            "I feel {good} today.",
            "(I am|I'm|I feel|I am feeling|We are) (very |so |quite |really |)(happy|{good})( now| again| this morning|, and you?|)(!|.|)",
            "(Today|Now|This morning) I (am|feel) (very |so |really |){good}(!|.|)",
        ),
        "I am glad to hear that.",
    ),
    Remark(
        (
            "I am {bad}.", "I'm {bad}.", "I feel {bad}.", "I am so {bad}.", "I'm a bit {bad} today.",
            "I feel {bad} today.",
            "(I am|I'm|I feel|I am feeling|We are) (very |quite |really |a bit |)(sad|{bad})( now| again| this morning|)(!|.|)",
            "(Today|Now|This morning) I (am|feel) (very |so |really |){bad}(!|.|)",
        ),
        "I am sorry to hear that.",
    ),
    Remark(
        (
            "I saw a {noun} today.", "The {noun} is very old.", "I bought a {noun}.",
            "There is a {noun} in my street.", "I dreamed of a {noun}.", "I am thinking about the {noun}.",
            "Yesterday I lost my {noun}.", "We went to see the {noun}.", "I need a new {noun}.",
            "My friend has a {noun}.", "I found a {noun} in the garden.", "The {noun} was broken again.",
            "(I|We|My friend|My neighbour) (saw|found|lost|bought|sold|need|painted|took|want|broke|looked at) (a|the|my|our|this|some) {noun}( today| yesterday| again| in the garden| at home| last week|)(!|.|)",
            "(The|My|Our|That|This) {noun} (is|was) (very |so |too |quite |)(old|new|big|small|broken|nice|expensive|gone|red|heavy|dirty)( now| today| again|)(!|.|)",
            "(I am thinking|I was thinking|We talked|I dreamed|I read|I heard) (of|about) (a|my|our|that) {noun}( today| again| yesterday|).",
        ),
        "I see. What happened then?",
    ),
    Remark(
        (
            "Nothing", "Nothing much", "Not much", "Nothing really", "I don't know", "No idea", "Not sure",
            "(I do not|I don't|I did not|We don't) (know|know that|care|mind|think so|remember)( really| yet|)(!|.|)",
            "(Nothing|Not a lot|Not much|I am not sure|Never mind|Maybe|Perhaps|No clue)( really| today| at all| now|)(!|.|)",
        ),
        "That is all right.",
    ),
    Remark(
        (
            "Tell me a joke.", "Do you know a joke?", "Make me laugh.", "Say something funny.",
            "Another joke, please.", "Joke please",
            "(Tell|Give) me (a|one more|another|a good|a short|the best) joke( please| now|)(!|.|)",
            "(I want|I need|I would like|Do you have|Know) (a|another|some|any) (joke|jokes)( please|)(?|.|)",
            "(Say|Tell me) something (funny|to laugh about)( please| now|).",
        ),
        "What does a tiny model say when it is asked for more? Less.",
    ),
    Remark(
        (
            "I like you.", "You are nice.", "You are funny.", "Well done!", "Good job!", "You are clever.",
            "That was right.",
            "(You are|You're|That was|That is) (so |very |really |)(nice|funny|kind|smart|great|wonderful|cool|helpful|good)(!|.|)",
            "(Good|Well|Great|Nice) (job|done|work|answer)( Pocket|)(!|.|)",
            "I (really |)(like|love) (you|this|talking to you)(!|.|)",
        ),
        "Thank you, that is kind.",
    ),
    Remark(
        (
            "You are stupid.", "That is wrong.", "You are useless.", "That makes no sense.", "Wrong!",
            "You are dumb.", "That's not true.",
            "(You are|You're|That is|That was|This is) (so |very |really |just |)(stupid|wrong|useless|silly|bad|not right|not true|a mistake|nonsense|rubbish|terrible)(!|.|)",
            "(No|Wrong|Nonsense|Bad)(, that is wrong|, not true| answer|)(!|.)",
        ),
        "I am sorry. I am only a tiny model and I make mistakes.",
    ),
    Remark(
        (
            "What shall we talk about?", "I am bored, say something.", "What do you want to talk about?",
            "Say something.", "Talk to me.",
            "(What|So what) (could|can|should) we (talk about|do)( now| today|)?",
            "(I am|I'm) (so |very |a bit |)bored(.|, talk to me.|, what now?)",
        ),
        "We could talk about the sea, cats, trains or music.",
    ),
)  # fmt: skip
