"""How each fact is told in English; in the same sets as `facts_korean.py`."""

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
