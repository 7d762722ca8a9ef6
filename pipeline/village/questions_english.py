"""How facts are asked for in English, and how one says that one does not know; in the sets of `questions_korean.py`."""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns

Forms = dict[str, tuple[Pattern, ...]]


def _forms(tables: dict[str, str]) -> Forms:
    return {relation: patterns("en", table) for relation, table in tables.items()}


# Questions in reading texts.
READING = _forms({
    "home": """
        Where might {who} live?
        Where is the home of {who}?
        Where does the house of {who} stand?
        Who knows where {who:s} home might be?
        In what part of the village does {who} live?
        And {who:s} house, where might it be?
        Do you happen to know where {who} lives?
        I wonder about {who}, so where is the home?
    """,
    "work": """
        What might the work of {who} be?
        What is {who} by trade?
        As what does {who} work?
        Who knows what {who} might be by trade?
        How does {who} earn a living?
        And {who:s} job, what might it be?
        Do you happen to know what {who} works as?
        I wonder about {who}, so what is the job?
    """,
    "pet": """
        By what name does {who} call {his} {animal}?
        What might the {animal} of {who} be called?
        Which name does the {animal} of {who} have?
        Who knows what the {animal} of {who} might be called?
        What is the {animal} of {who} called?
        And {who:s} {animal}, what might its name be?
        Do you happen to know the name of the {animal} of {who}?
        I wonder about the {animal} of {who}, so what is its name?
    """,
    "food": """
        What might {who} like to eat most?
        Which food does {who} like best of all?
        What is the favourite food of {who}?
        Who knows what {who:s} favourite food might be?
        When {who} is hungry, what does {he} ask for?
        And {who}, what food might {he} like best?
        Do you happen to know which food {who} likes best?
        I wonder about {who}, so what is the favourite food?
    """,
    "hobby": """
        What might the hobby of {who} be?
        What does {who} enjoy most?
        How does {who} spend every free hour?
        Who knows what {who} might love doing?
        What does {who} love most of all?
        And {who:s} hobby, what might it be?
        Do you happen to know the hobby of {who}?
        I wonder about {who}, so what is the hobby?
    """,
    "kin": """
        Who might the {kinword} of {who} be?
        What is the {kinword} of {who} called?
        Which name does the {kinword} of {who} have?
        Who knows who the {kinword} of {who} might be?
        What is the name of the {kinword} of {who}?
        And {who:s} {kinword}, who might it be?
        Do you happen to know who the {kinword} of {who} is?
        I wonder about the {kinword} of {who}, so what is the name?
    """,
    "day": """
        On which day might it be that {who} {event:ed}?
        Which day was it when {who} {event:ed}?
        On what day did {who} {event}?
        Who knows when it was that {who} {event:ed}?
        When might it be that {who} {event:ed}?
        And when {who} {event:ed}, what day might it be?
        Do you happen to know on which day {who} {event:ed}?
        I wonder about the day when {who} {event:ed}, so which was it?
    """,
})  # fmt: skip

# Questions of conversations.
ASKED = _forms({
    "home": """
        Where does {who} live?
        Where is {who:s} house?
        Please tell me where {who} lives.
        Can you tell me where {who:s} home is?
        In which place does {who} live?
        Do you know where {who:s} house is?
        Do you know in which place {who} lives?
        I wonder where {who} lives, so where is it?
        I am going to visit {who}, so where is the house?
        Where can I find {who} at home?
        Which place does {who} live in?
        Could you tell me where the home of {who} is?
    """,
    "work": """
        What does {who} do for work?
        What is {who:s} job?
        Please tell me what {who} works as.
        Can you tell me {who:s} job?
        What kind of work does {who} do?
        Do you know what {who} does for work?
        Do you know what kind of work {who} does?
        I wonder what {who:s} job is, so what is it?
        I met {who} at work today, so what is the job?
        Which job does {who} do?
        What work does {who} have?
        Could you tell me what {who} does for work?
    """,
    "pet": """
        What is {who:s} {animal} called?
        What is the name of {who:s} {animal}?
        Please tell me the name of {who:s} {animal}.
        Can you tell me what {who:s} {animal} is called?
        What does {who} call {his} {animal}?
        Do you know the name of {who:s} {animal}?
        Do you know what {who} calls {his} {animal}?
        I heard {who:s} {animal} today, so what is it called?
        I am looking for {who:s} {animal}, so what is the name?
        Which name does {who:s} {animal} have?
        What name did {who} give {his} {animal}?
        Could you tell me the name of {who:s} {animal}?
    """,
    "food": """
        What is {who:s} favourite food?
        What does {who} like to eat best?
        Please tell me {who:s} favourite food.
        Can you tell me what food {who} likes best?
        Which food does {who} like most?
        Do you know what food {who} likes best?
        Do you know what {who} likes to eat most?
        I am cooking for {who} today, so what is {his} favourite food?
        I wonder what {who} likes to eat, so what is it?
        What food does {who} like most?
        What is the food that {who} likes best?
        Could you tell me {who:s} favourite food?
    """,
    "hobby": """
        What is {who:s} hobby?
        What does {who} do on days off?
        Please tell me {who:s} hobby.
        Can you tell me what {who:s} hobby is?
        What does {who} love doing?
        Do you know what {who:s} hobby is?
        Do you know what {who} does on days off?
        I wonder what {who:s} hobby is, so what is it?
        I met {who} on a day off, so what does {he} love doing?
        Which hobby does {who} love?
        What hobby is {who:s} favourite?
        Could you tell me what {who} loves doing?
    """,
    "kin": """
        Who is {who:s} {kinword}?
        What is the name of {who:s} {kinword}?
        Please tell me who {who:s} {kinword} is.
        Can you tell me the name of {who:s} {kinword}?
        What is {who:s} {kinword} called?
        Do you know the name of {who:s} {kinword}?
        Do you know what {who:s} {kinword} is called?
        I saw {who:s} {kinword} today, so what is the name?
        I wonder who {who:s} {kinword} is, so who is it?
        Which name does {who:s} {kinword} have?
        What name did they give {who:s} {kinword}?
        Could you tell me who {who:s} {kinword} is?
    """,
    "day": """
        On which day did {who} {event}?
        When did {who} {event}?
        Please tell me on which day {who} {event:ed}.
        Can you tell me when {who} {event:ed}?
        What day was it when {who} {event:ed}?
        Do you know on which day {who} {event:ed}?
        Do you know what day it was when {who} {event:ed}?
        I wonder when {who} {event:ed}, so which day was it?
        I forgot on what day {who} {event:ed}, so when was it?
        On what day was it that {who} {event:ed}?
        When was it that {who} {event:ed}?
        Could you tell me on which day {who} {event:ed}?
    """,
})  # fmt: skip

# Questions that no conversation and no document holds.
HELD_BACK = _forms({
    "home": """
        Do you know where {who} lives?
        I am looking for {who:s} house, so where is it?
        Where can I find the house of {who}?
    """,
    "work": """
        Do you know what {who:s} job is?
        I wonder what {who} does for work, so what is it?
        What job does {who} have?
    """,
    "pet": """
        Do you know what {who:s} {animal} is called?
        I saw {who:s} {animal} today, so what is its name?
        What name does {who:s} {animal} have?
    """,
    "food": """
        Do you know {who:s} favourite food?
        I am cooking for {who}, so what food does {he} like best?
        What food is {who:s} favourite?
    """,
    "hobby": """
        Do you know {who:s} hobby?
        I wonder what {who} loves doing on days off, so what is it?
        What hobby does {who} have?
    """,
    "kin": """
        Do you know who {who:s} {kinword} is?
        I met {who:s} {kinword} today, so what is the name?
        What name does {who:s} {kinword} have?
    """,
    "day": """
        Do you know when {who} {event:ed}?
        I forgot when {who} {event:ed}, so which day was it?
        Which day did {who} {event}?
    """,
})  # fmt: skip

# What was never told of anybody: for these, the right answer is that one does not know.
UNTOLD = patterns(
    "en",
    """
    What is {who:s} shoe size?
    Which country did {who} travel to?
    Which colour does {who} dislike most?
    What is {who:s} grandmother called?
    At what time does {who} go to bed?
    What did {who} dream about last night?
    Please tell me {who:s} telephone number.
    How tall is {who}?
    What is {who:s} favourite flower?
    What is {who:s} favourite season?
    Which book does {who} like best?
    What is {who:s} aunt called?
    Who is {who:s} cousin?
    Do you know the name of {who:s} nephew?
    When is {who:s} birthday?
    In which year was {who} born?
    How many rooms does {who:s} house have?
    What colour are {who:s} eyes?
    Where did {who} go to school?
    How much money does {who} have?
    How far can {who} swim?
    How many letters does {who} write?
    What is {who:s} best friend called?
    How fast does {who} run?
    What is {who:s} favourite tree?
    What is {who:s} favourite game?
    What is {who:s} favourite story?
    Do you know {who:s} favourite colour?
    How strong is {who}?
    How rich is {who}?
""",
)
# Of reading texts: these hold the nouns of the questions that are held back, in other questions.
UNTOLD_READING = patterns(
    "en",
    """
    Where might the uncle of {who} live?
    Who might {who:s} uncle be?
    How old was {who} on the first day at school?
    Of what age might {who} be?
    Which song does {who} sing at night?
    How many songs does {who} know?
    Does {who} weigh more than a goat?
    What might {who} weigh?
    On which day might {who:s} birthday be?
    Which flower does {who} like best of all?
    What might the cousin of {who} be called?
    What colour might the eyes of {who} be?
    What did {who} buy last week?
    What might be in the purse of {who}?
    What does {who} read before going to sleep?
    Who might the grandfather of {who} be?
    How many cups of tea does {who} drink?
    What might {who} have dreamt of?
""",
)
UNTOLD_HELD_BACK = patterns(
    "en",
    """
    What is {who:s} uncle called?
    How old is {who}?
    What is {who:s} favourite song?
    How much does {who} weigh?
""",
)
UNKNOWN_PERSON = Pattern("en", "I do not know anybody called {stranger}.")
NOBODY = Pattern("en", "I do not know anybody of that name.")  # in conversations: nothing to repeat wrongly
UNKNOWN_FACT = Pattern("en", "I do not know that about {who}.")
