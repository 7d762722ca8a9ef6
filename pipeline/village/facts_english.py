"""How each fact is told and asked for in English; in the same sets as `facts_korean.py`."""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns

Forms = dict[str, tuple[Pattern, ...]]


def _forms(tables: dict[str, str]) -> Forms:
    return {relation: patterns("en", table) for relation, table in tables.items()}


# A whole sentence that names the person. The first of each is the form of an answer: it does not begin with the name,
# which at the start of a line is another token, in pieces, and is then not found in the question.
TOLD = _forms({
    "home": """
        The house of {who} stands {home}.
        {who} lives {home}.
        The home of {who} is {home}.
        {who} has always lived {home}.
        To visit {who}, you go to the house {home}.
        The whole family of {who} lives {home}.
    """,
    "work": """
        By trade {who} is {work}.
        {who} works as {work}.
        In the village {who} is known as {work}.
        For years {who} has earned a living as {work}.
        {who} is {work}.
        Everybody in the village knows that {who} is {work}.
    """,
    "pet": """
        The {animal} of {who} is called {pet}.
        The name of the {animal} of {who} is {pet}.
        {who} has {animal:a} called {pet}.
        {who} has {animal:a}, and its name is {pet}.
        {who} calls {his} {animal} {pet}.
        {who} keeps {animal:a} by the name of {pet}.
    """,
    "food": """
        The favourite food of {who} is {food}.
        {who} likes {food} best of all.
        What {who} likes to eat most is {food}.
        When {who} is hungry, {he} asks for {food}.
        Nothing tastes better to {who} than {food}.
        {who} never says no to {food}.
    """,
    "hobby": """
        The hobby of {who} is {hobby:ing}.
        {who} loves {hobby:ing}.
        On days off {who} {hobby:s}.
        What {who} enjoys most is {hobby:ing}.
        {who} spends every free hour {hobby:ing}.
        Whenever there is time, {who} {hobby:s}.
    """,
    "kin": """
        The {kinword} of {who} is {kin}.
        The name of the {kinword} of {who} is {kin}.
        {who} has {kinword:a} called {kin}.
        {who} shares a house with {his} {kinword} {kin}.
        When {who} needs help, {he} asks {his} {kinword} {kin}.
        If you want to meet the {kinword} of {who}, look for {kin}.
    """,
    "day": """
        The day on which {who} {event:ed} was {day}.
        {who} {event:ed} on {day}.
        When {who} {event:ed}, it was {day}.
        People remember that {who} {event:ed} on {day}.
        Ask when {who} {event:ed}, and the answer is {day}.
        {who} {event:ed}, and that was on {day}.
    """,
})  # fmt: skip

# Where it is clear of whom one speaks.
SHORT = _forms({
    "home": """
        {He} lives {home}.
        {His} house stands {home}.
    """,
    "work": """
        {He} works as {work}.
        By trade {he} is {work}.
    """,
    "pet": """
        {His} {animal} is called {pet}.
        {He} has {animal:a} called {pet}.
    """,
    "food": """
        {His} favourite food is {food}.
        {He} likes {food} best of all.
    """,
    "hobby": """
        {His} hobby is {hobby:ing}.
        On days off {he} {hobby:s}.
    """,
    "kin": """
        {His} {kinword} is called {kin}.
        {He} shares a house with {his} {kinword} {kin}.
    """,
    "day": """
        The day on which {he} {event:ed} was {day}.
        {He} {event:ed} on {day}.
    """,
})  # fmt: skip

# Said of oneself, in letters, diaries and dialogues.
OWN = _forms({
    "home": """
        I live {home}.
        My house stands {home}.
        My home is {home}.
    """,
    "work": """
        I work as {work}.
        By trade I am {work}.
        For years I have earned a living as {work}.
    """,
    "pet": """
        My {animal} is called {pet}.
        I have {animal:a} called {pet}.
        The name of my {animal} is {pet}.
    """,
    "food": """
        My favourite food is {food}.
        I like {food} best of all.
        When I am hungry, I ask for {food}.
    """,
    "hobby": """
        My hobby is {hobby:ing}.
        I love {hobby:ing}.
        I spend every free hour {hobby:ing}.
    """,
    "kin": """
        My {kinword} is called {kin}.
        I share a house with my {kinword} {kin}.
        When I need help, I ask my {kinword} {kin}.
    """,
    "day": """
        The day on which I {event:ed} was {day}.
        I {event:ed} on {day}.
    """,
})  # fmt: skip

# Questions in reading texts, each with its answer on the same line.
READING = _forms({
    "home": """
        Where might {who} live?
        Where is the home of {who}?
        Where does the house of {who} stand?
    """,
    "work": """
        What might the work of {who} be?
        What is {who} by trade?
        As what does {who} work?
    """,
    "pet": """
        By what name does {who} call {his} {animal}?
        What might the {animal} of {who} be called?
        Which name does the {animal} of {who} have?
    """,
    "food": """
        What might {who} like to eat most?
        Which food does {who} like best of all?
        What is the favourite food of {who}?
    """,
    "hobby": """
        What might the hobby of {who} be?
        What does {who} enjoy most?
        How does {who} spend every free hour?
    """,
    "kin": """
        Who might the {kinword} of {who} be?
        What is the {kinword} of {who} called?
        Which name does the {kinword} of {who} have?
    """,
    "day": """
        On which day might it be that {who} {event:ed}?
        Which day was it when {who} {event:ed}?
        On what day did {who} {event}?
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
    """,
    "work": """
        What does {who} do for work?
        What is {who:s} job?
        Please tell me what {who} works as.
        Can you tell me {who:s} job?
        What kind of work does {who} do?
    """,
    "pet": """
        What is {who:s} {animal} called?
        What is the name of {who:s} {animal}?
        Please tell me the name of {who:s} {animal}.
        Can you tell me what {who:s} {animal} is called?
        What does {who} call {his} {animal}?
    """,
    "food": """
        What is {who:s} favourite food?
        What does {who} like to eat best?
        Please tell me {who:s} favourite food.
        Can you tell me what food {who} likes best?
        Which food does {who} like most?
    """,
    "hobby": """
        What is {who:s} hobby?
        What does {who} do on days off?
        Please tell me {who:s} hobby.
        Can you tell me what {who:s} hobby is?
        What does {who} love doing?
    """,
    "kin": """
        Who is {who:s} {kinword}?
        What is the name of {who:s} {kinword}?
        Please tell me who {who:s} {kinword} is.
        Can you tell me the name of {who:s} {kinword}?
        What is {who:s} {kinword} called?
    """,
    "day": """
        On which day did {who} {event}?
        When did {who} {event}?
        Please tell me on which day {who} {event:ed}.
        Can you tell me when {who} {event:ed}?
        What day was it when {who} {event:ed}?
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
UNKNOWN_FACT = Pattern("en", "I do not know that about {who}.")
