"""What letters, diaries, dialogues, news, how-tos and sums are made of in English, besides facts."""

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
    Yesterday I picked a basket of {fruit} near {place}.
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
    "home": _lines("Where do you live now?\n Where does your house stand?"),
    "work": _lines("What do you work as?\n What are you by trade?"),
    "pet": _lines("What do you call your {animal}?\n And your {animal}, what is its name?"),
    "food": _lines("What do you like to eat most?\n Which food do you like best?"),
    "hobby": _lines("What do you do on days off?\n What do you enjoy most?"),
    "kin": _lines("What is your {kinword} called?\n And your {kinword}, what was the name?"),
    "day": _lines("On which day was it that you {event:ed}?\n Do you remember when you {event:ed}?"),
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
    Not long ago {who} was seen together with {two} {place:at}.
    Even on {weather} days, {who} walks to {place} {time}.
""")
ENTRY_CLOSINGS = _lines("""
    This is all that is known about {who}.
    This entry was written by {two} from the village.
    For more, you can ask {two}.
    The entry on {two} is worth reading as well.
""")

# -- how-tos: a title and steps in order -------------------------------------------------------------------------------

HOW_TOS: dict[Pattern, tuple[tuple[Pattern, ...], ...]] = {
    Pattern("en", "How {who} plants a tree"): (
        _lines("First choose a place with a lot of sun.\n Look for a wide place, such as the one near {place}.\n"
               "The best time to plant a tree is {season}."),
        _lines("Dig a large hole with a spade.\n Dig a hole twice as wide as the roots.\n"
               "Take out the stones and loosen the earth."),
        _lines("Spread the roots and set the tree upright.\n Put in the tree and cover it with earth.\n"
               "Cover the roots and press the earth with your feet."),
        _lines("Give the tree plenty of water.\n Water it well {time}.\n Water it every day for a week."),
    ),
    Pattern("en", "How {who} makes a kite"): (
        _lines("First get some thin paper and two sticks.\n Cut light paper into a square.\n Carve the wood until it is thin."),
        _lines("Glue the sticks to the paper.\n Tie the two sticks into a cross.\n Fold the edges of the paper and glue them."),
        _lines("Tie the string to the middle.\n Add a long tail.\n Wind the string evenly around a piece of wood."),
        _lines("A windy day is better than a {weather} one.\n Fly the kite in an open place such as the one near {place}.\n"
               "Turn your back to the wind, run, and let out the string."),
    ),
    Pattern("en", "How {who} cooks rice"): (
        _lines("Wash the rice several times in cold water.\n Wash the rice and let it soak for half an hour.\n"
               "First make the rice clean."),
        _lines("Add water until it covers your hand.\n Put rice and water in the pot.\n Measure the water with care."),
        _lines("Bring it to the boil over a high heat.\n When it boils, turn down the heat.\n"
               "Let it cook slowly over a low heat."),
        _lines("Turn off the heat and let it rest.\n Wait a little before you open the lid.\n"
               "Stir it gently and fill the bowls."),
    ),
    Pattern("en", "How {who} writes a letter"): (
        _lines("First decide to whom you want to write.\n Sit down in a quiet place with some paper.\n"
               "Choose a quiet time, perhaps {time}."),
        _lines("Write the name at the top.\n Begin with a greeting.\n First ask how your friend is."),
        _lines("Tell your news one by one.\n Write short and clear sentences.\n Think of the person who will read it."),
        _lines("Write your own name at the end.\n Put it into an envelope and close it.\n"
               "Read it once more and correct the mistakes."),
    ),
    Pattern("en", "How {who} washes a dog"): (
        _lines("First get some warm water.\n Fill a large tub with water.\n It is best to do it {time} on a {weather} day."),
        _lines("Begin with the feet.\n Stroke the dog gently so that it is not afraid.\n Pour water from the back to the tail."),
        _lines("Rub the soap into the hair.\n Keep the water out of the eyes and the ears.\n"
               "Do not forget the belly and the legs."),
        _lines("Dry the dog with a towel.\n Let the hair dry in a warm place.\n When all is done, give the dog a treat."),
    ),
    Pattern("en", "How {who} makes tea"): (
        _lines("Fill the kettle with clear water.\n First boil the water.\n Put clean water on the fire."),
        _lines("Take a spoonful of tea leaves.\n You may add some dried {fruit}.\n Warm the pot with hot water."),
        _lines("Pour in the water and wait a little.\n Cover the pot until the tea smells good.\n"
               "Take care not to wait too long."),
        _lines("Pour the tea into the cups.\n Serve your guests first.\n Sit down {place:at} and drink it slowly."),
    ),
    Pattern("en", "How {who} mends a fence"): (
        _lines("First look for the broken places.\n Take out all the rotten wood.\n Measure the length of the fence."),
        _lines("Cut new wood to the same length.\n Choose a few strong pieces of wood.\n Set the posts deep in the earth."),
        _lines("Fix the wood with nails.\n Put on the boards one by one.\n Push it with your hand to see that it is firm."),
        _lines("Paint the fence at the end.\n Wait a day until the paint is dry.\n Put the rest of the wood near {place}."),
    ),
    Pattern("en", "How {who} sows seeds"): (
        _lines("Break up the earth of the field.\n First take the stones and the grass out of the field.\n"
               "When {season} comes, turn the earth."),
        _lines("Draw a line as deep as your finger.\n Let the seeds soak in water for a night.\n Make straight rows."),
        _lines("Leave some room between the seeds.\n Cover the seeds with a little earth.\n Put two or three seeds in each place."),
        _lines("Water them gently {time}.\n When they come up, take out the weak ones.\n Put up a net against the birds."),
    ),
}  # fmt: skip
# Between the steps; NUMBER is put in as digits.
HOW_TO_REMARKS = _lines("""
    Up to here it takes NUMBER minutes.
    At this point {who} looks over to {place} and takes a rest.
    Usually {who} does this part {time} on {today}.
    {two} says that you should have {thing:a} at hand.
    Together with {two} it takes only NUMBER minutes.
    In {season} it is better to do this {time}.
    {who} has done this NUMBER times.
    If you are hungry, have some {fruit} now.
""")
HOW_TO_HELP = _lines("""
    If you are not sure, ask {who}.
    It was {who} who told us how to do this.
    {who} knows all about it.
    At first it is good to have the help of {who}.
""")

# -- sums and lists ----------------------------------------------------------------------------------------------------

SUM_TITLES = _lines("Sums for {who}\n Sums that we do {place:at}\n Sums about some {fruit}")
# The story of a sum by its sign; A, B and C are put in as digits.
SUMS = {
    "+": _lines("""
        {who} had A {fruit} and got B more from {two}, which makes C {fruit}.
        There are A {fruit} in the basket and B on the table, so there are C.
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
