"""How-tos in English: titles, steps in order, remarks between the steps, and who can help."""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns


def _lines(table: str) -> tuple[Pattern, ...]:
    return patterns("en", table)


# Title -> its steps; of each step one or two sentences are told.
HOW_TOS: dict[Pattern, tuple[tuple[Pattern, ...], ...]] = {
    Pattern("en", "How {who} plants a tree"): (
        _lines("""
            First choose a place with a lot of sun.
            Look for a wide place, such as the one near {place}.
            The best time to plant a tree is early spring.
        """),
        _lines("""
            Dig a large hole with a spade.
            Dig a hole twice as wide as the roots.
            Take out the stones and loosen the earth.
        """),
        _lines("""
            Spread the roots and set the tree upright.
            Put in the tree and cover it with earth.
            Cover the roots and press the earth with your feet.
        """),
        _lines("""
            Give the tree plenty of water.
            Water it well {time}.
            Water it every day for a week.
        """),
    ),
    Pattern("en", "How {who} makes a kite"): (
        _lines("""
            First get some thin paper and two sticks.
            Cut light paper into a square.
            Carve the wood until it is thin.
        """),
        _lines("""
            Glue the sticks to the paper.
            Tie the two sticks into a cross.
            Fold the edges of the paper and glue them.
        """),
        _lines("""
            Tie the string to the middle.
            Add a long tail.
            Wind the string evenly around a piece of wood.
        """),
        _lines("""
            A windy day is better than a calm one.
            Fly the kite in an open place such as the one near {place}.
            Turn your back to the wind, run, and let out the string.
        """),
    ),
    Pattern("en", "How {who} cooks rice"): (
        _lines("""
            Wash the rice several times in cold water.
            Wash the rice and let it soak for half an hour.
            First make the rice clean.
        """),
        _lines("""
            Add water until it covers your hand.
            Put rice and water in the pot.
            Measure the water with care.
        """),
        _lines("""
            Bring it to the boil over a high heat.
            When it boils, turn down the heat.
            Let it cook slowly over a low heat.
        """),
        _lines("""
            Turn off the heat and let it rest.
            Wait a little before you open the lid.
            Stir it gently and fill the bowls.
        """),
    ),
    Pattern("en", "How {who} writes a letter"): (
        _lines("""
            First decide to whom you want to write.
            Sit down in a quiet place with some paper.
            Choose a quiet time, perhaps {time}.
        """),
        _lines("""
            Write the name at the top.
            Begin with a greeting.
            First ask how your friend is.
        """),
        _lines("""
            Tell your news one by one.
            Write short and clear sentences.
            Think of the person who will read it.
        """),
        _lines("""
            Write your own name at the end.
            Put it into an envelope and close it.
            Read it once more and correct the mistakes.
        """),
    ),
    Pattern("en", "How {who} washes a dog"): (
        _lines("""
            First get some warm water.
            Fill a large tub with water.
            It is best to do it {time} on a {weather} day.
        """),
        _lines("""
            Begin with the feet.
            Stroke the dog gently so that it is not afraid.
            Pour water from the back to the tail.
        """),
        _lines("""
            Rub the soap into the hair.
            Keep the water out of the eyes and the ears.
            Do not forget the belly and the legs.
        """),
        _lines("""
            Dry the dog with a towel.
            Let the hair dry in a warm place.
            When all is done, give the dog a treat.
        """),
    ),
    Pattern("en", "How {who} makes tea"): (
        _lines("""
            Fill the kettle with clear water.
            First boil the water.
            Put clean water on the fire.
        """),
        _lines("""
            Take a spoonful of tea leaves.
            You may add some dried {fruit}.
            Warm the pot with hot water.
        """),
        _lines("""
            Pour in the water and wait a little.
            Cover the pot until the tea smells good.
            Take care not to wait too long.
        """),
        _lines("""
            Pour the tea into the cups.
            Serve your guests first.
            Sit down {place:at} and drink it slowly.
        """),
    ),
    Pattern("en", "How {who} mends a fence"): (
        _lines("""
            First look for the broken places.
            Take out all the rotten wood.
            Measure the length of the fence.
        """),
        _lines("""
            Cut new wood to the same length.
            Choose a few strong pieces of wood.
            Set the posts deep in the earth.
        """),
        _lines("""
            Fix the wood with nails.
            Put on the boards one by one.
            Push it with your hand to see that it is firm.
        """),
        _lines("""
            Paint the fence at the end.
            Wait a day until the paint is dry.
            Put the rest of the wood near {place}.
        """),
    ),
    Pattern("en", "How {who} sows seeds"): (
        _lines("""
            Break up the earth of the field.
            First take the stones and the grass out of the field.
            When spring comes, turn the earth.
        """),
        _lines("""
            Draw a line as deep as your finger.
            Let the seeds soak in water for a night.
            Make straight rows.
        """),
        _lines("""
            Leave some room between the seeds.
            Cover the seeds with a little earth.
            Put two or three seeds in each place.
        """),
        _lines("""
            Water them gently {time}.
            When they come up, take out the weak ones.
            Put up a net against the birds.
        """),
    ),
}  # fmt: skip
# Between the steps; NUMBER is put in as digits.
HOW_TO_REMARKS = _lines("""
    Up to this point it takes about NUMBER minutes.
    At this point {who} looks over to {place} and takes a rest.
    Usually {who} does this part on {today} {time}.
    {two} says that you should have {thing:a} at hand.
    With the help of {two} it takes only NUMBER minutes.
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
