"""What letters, diaries, dialogues, news, and sums are made of in English, besides facts."""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns


def _lines(table: str) -> tuple[Pattern, ...]:
    return patterns("en", table)


# -- letters: `who` writes to `two` ------------------------------------------------------------------------------------

LETTER_TO = {"intimate": "Hello {two},", "polite": "Dear {two},", "formal": "My dear friend {two},"}
LETTER_FROM = {"intimate": "See you soon, {who}", "polite": "Yours, {who}", "formal": "With kind regards, {who}"}
LETTER_OPENINGS = _lines("""
    It has been a while since my last letter.
    I am sorry that my answer is late.
    Thank you for your letter.
    We have had {weather} days here for a week.
    It is {season} already.
    I hope that all is well with you.
    I was drinking tea {time} when I thought of you.
""")
LETTER_NEWS = _lines("""
    Yesterday I was given a basket of {fruit} {place:at}.
    A few days ago I lost {thing:a} and found it again.
    These days I walk as far as {place} {time}.
    I bought a new {thing} at the market.
    The children play near {place} every day.
    Last {today} we all cleaned up around {place}.
    This year the {fruit} are very good.
    There is a new bench near {place}.
    On {today} night the wind was very strong.
    I met an old friend {place:at} {time}.
""")
LETTER_CLOSINGS = _lines("""
    I am waiting for your answer.
    I hope that you stay in good health.
    It would be nice if you came to visit.
    When we meet again, let us have some {dish} together.
    I would like to see you before {season} is over.
    There is more to tell, but this is all for today.
""")
GOSSIP = _lines("""
    There is also some news of {who}.
    Not long ago I met {who}.
    {who} is doing very well these days.
    Let me also tell you about {who}.
    I saw {who} {place:at} for the first time in months.
""")

# -- diaries: `who` writes, `two` is met -------------------------------------------------------------------------------

DIARY_TITLES = _lines("""
    Diary of {who}, {today}
    What {who} wrote on {today}
    From the {season} diary of {who}, {today}
""")
DIARY_OPENINGS = _lines("""
    Today was a {weather} {season} day.
    The day went by quickly again.
    It was late when my work was done.
    When I opened the window, it was {weather} outside.
    I got up early today and swept the yard.
""")
DIARY_EVENTS = _lines("""
    I went out to {place} {time} and met {two}.
    I shared some {fruit} with {two}.
    {two} wanted to borrow my {thing}, so I lent it.
    I talked with {two} {place:at} for a long time.
    I helped {two} to clean up around {place}.
    I found an old {thing} near {place}.
    I went to the market and bought some {fruit}.
    I sat quietly {time} and drank some tea.
""")
DIARY_CLOSINGS = _lines("""
    Tomorrow I want to go to {place}.
    I am sleepy, so I will stop here.
    It was a good day after all.
    I hope that tomorrow will be {weather}, too.
    Now the light is out and my mind is calm.
""")

# -- dialogues: `two` asks, `who` answers ------------------------------------------------------------------------------

TALK_OPENINGS = _lines("""
    We have not met for a long time.
    How nice to see you here.
    The weather is so nice today.
    It is {season}, and there are many people around {place}.
    I was just thinking of you.
""")
TALK_REPLIES = _lines("""
    I am glad to see you, too.
    I have been a little busy.
    Yesterday I found {thing:a} near {place}.
    I came out for a little while.
    I am on my way to buy some {fruit}.
""")
QUESTIONS_TO_ONE = {
    "home": _lines("""
        Where do you live now?
        Where does your house stand?
    """),
    "work": _lines("""
        What do you work as?
        What are you by trade?
    """),
    "pet": _lines("""
        What do you call your {animal}?
        And your {animal}, what is its name?
    """),
    "food": _lines("""
        What do you like to eat most?
        Which food do you like best?
    """),
    "hobby": _lines("""
        What do you do on days off?
        What do you enjoy most?
    """),
    "kin": _lines("""
        What is your {kinword} called?
        And your {kinword}, what was the name?
    """),
    "day": _lines("""
        On which day was it that you {event:ed}?
        Do you remember when you {event:ed}?
    """),
}
REACTIONS = _lines("""
    Now I see.
    I have never heard that before.
    That is very interesting.
    That is a nice story.
    I will remember that.
    I will tell the others.
""")
ABOUT_OTHERS = _lines("""
    Tell me about {who} as well.
    I wonder how {who} is doing.
    Is there any news of {who}?
""")
TALK_CLOSINGS = _lines("""
    Now I have to go home.
    Let us talk again soon.
    I hope to see you again on {today}.
    Thank you, that was really nice.
""")

# -- news of the village -----------------------------------------------------------------------------------------------

NEWS_TITLES = _lines("""
    Village news, {today}
    News of the village in {season}, {today}
    The village news that we bring you on {today}
""")
NEWS_OPENINGS = _lines("""
    Here is the news of the village.
    This is the news on a {weather} {season} day.
    This is the news of the week.
""")
NEWS_ITEMS = _lines("""
    On {today} there is a meeting {place:at}.
    The road to {place} is being repaired.
    This {season} the price of {fruit} has gone up a little.
    {thing:aUp} without an owner was found near {place}.
    There will be a small concert {place:at} {time}.
    Whoever has lost {thing:a} may come to {place}.
    For {season} we will all clean up around {place}.
    On {today} the bell rings three times {time}.
    The {fruit} have grown well, and everybody is happy.
    Some more trees were planted near {place}.
""")
NEWS_ABOUT = _lines("""
    This week we would like you to meet {who}.
    There is also some news about {who}.
    Many people have asked about {who}.
    The next story is about {who}.
""")
NEWS_CLOSINGS = _lines("""
    This is the end of the village news.
    The next news will come on {today}.
    We wish everybody a peaceful {season}.
""")

# -- encyclopedia ------------------------------------------------------------------------------------------------------

ENTRY_OPENINGS = _lines("""
    {who} is one of the people of this village.
    {who} is one of the forty people who live here.
    {who} was born and raised in the village.
    {who} is somebody whom everybody in the village knows.
""")
ENTRY_ASIDES = _lines("""
    Last {today} many people saw {who} {place:at} and had a chat.
    When {season} comes, {who} shares some {fruit} with the neighbours.
    Not long ago {who} was seen eating some {fruit} {place:at}.
    Even on {weather} days, {who} walks to {place} {time}.
""")
ENTRY_CLOSINGS = _lines("""
    This is all that is known about {who}.
    So much for {who}.
    For more, you can ask {who}.
    Everybody who knows {who} will say the same.
""")

# -- sums and lists ----------------------------------------------------------------------------------------------------

SUM_TITLES = _lines("""
    Sums for {who}
    Sums that we do {place:at}
    Sums about some {fruit}
""")
# The story of a sum by its sign; A, B and C are put in as digits.
SUMS = {
    "+": _lines("""
        {who} had A {fruit} and got B more from {two}, which makes C {fruit}.
        There are A {fruit} in the basket and B on the table, so there are C in all.
        {who} bought A {fruit} and {two} bought B, so together they bought C.
        {place:atUp}, {who} found A {fruit} and {two} found B, and that makes C.
    """),
    "-": _lines("""
        {who} had A {fruit} and gave B to {two}, so C were left.
        There were A {fruit} in the basket, and B were eaten, so now there are C.
        Of the A {fruit} that {who} bought, B were bad, so C were good.
        {place:atUp}, there were A {fruit}, and {who} took B, so C were left.
    """),
}
SUM_LINES = ("A SIGN B = C.", "A SIGN B is C.", "We can write it as A SIGN B = C.")
LIST_OPENINGS = _lines("""
    On {today} {who} wants to buy these things at the market.
    This is the shopping list of {who}.
    For the feast in {season}, {who} has to get these things.
""")
COUNT = "N {fruit}"
