"""The grammar of English stories: an opening, what happens in one of eight plots, a closing."""

from __future__ import annotations

from pipeline.village.patterns import Pattern, patterns

Plot = tuple[tuple[Pattern, ...], ...]  # what happens, step by step; of each step one sentence is told


def _plot(*steps: str) -> Plot:
    return tuple(patterns("en", step) for step in steps)


TITLE = Pattern("en", "A story about {who}")
OPENINGS = patterns(
    "en",
    """
    One day {who} woke up early, for it was a {weather} day in {season}.
    One day {who} left the house, for it was a {weather} day in {season}.
    One day {who} looked out of the window and saw that it was a {weather} day in {season}.
    One day {who} had nothing to do {time}, and it was a {weather} day in {season}.
    One day {who} went for a walk, for it was a {weather} day in {season}.
    One day {who} swept the yard {time}, and it was a {weather} day in {season}.
""",
)
CLOSINGS = patterns(
    "en",
    """
    {who} never forgot that day.
    That night {who} fell asleep with a smile.
    {who} looked up at the night sky and thought that it had been a good day.
    And so the day of {who} came to an end.
    {who} went home, had some {food}, the best food of all, and took a rest.
    {who} and {two} became even better friends.
    {who} told {his} {kinword} {kin} all about it.
""",
)

PLOTS: dict[str, Plot] = {
    "lost": _plot(
        """
        But {his} favourite {thing} was missing.
        {who} looked for {his} {thing}, but it was nowhere.
        Soon {he} noticed that {his} {thing} was gone.
        {who} lost {his} {thing} on the way.
        """,
        """
        {who} asked {his} friend {two} about it.
        Just then {his} friend {two} came by and asked what was wrong.
        {His} friend {two} offered to help with the search.
        {His} friend {two} heard about it and came running.
        """,
        """
        The two of them looked around {place} first.
        Together they went to {place} and searched every corner.
        They followed the footprints as far as {place}.
        """,
        """
        It was lying behind a stone.
        At last {his} friend {two} found it under some leaves.
        And there it was, in the grass.
        """,
        """
        {who} thanked {two} with {his2} favourite food, {food2}.
        {His} friend {two} laughed and said that it was nothing.
        {who} took {two:s} hand and said thank you.
        """,
    ),
    "storm": _plot(
        """
        Suddenly the sky grew dark and rain poured down.
        Near {place}, heavy drops began to fall.
        On the way {who} was caught in a shower.
        """,
        """
        {who} thought of {his} friend {two}, who lives {home2}, and ran there.
        The house of {his} friend {two} stands {home2}, so {who} hurried to it.
        {who} ran to {his} friend {two:s} house {home2} and knocked at the door.
        """,
        """
        {His} friend {two} brought a dry towel and hot tea.
        {His} friend {two} opened the door wide and let {him} in.
        {His} friend {two} put a blanket around {who:s} shoulders.
        """,
        """
        They sat by the stove and talked for a long time.
        They looked out at the rain and shared some {fruit}.
        Until the rain stopped, they told each other old tales.
        """,
        """
        After a while the clouds went away and a rainbow appeared.
        When the rain was over, {who} said thank you and went home.
        When the sun came out again, {who} set off with a light heart.
        """,
    ),
    "gift": _plot(
        """
        Soon it would be {his} friend {two:s} birthday.
        {who} wanted to give {his} friend {two} a present.
        {who} remembered that the birthday of {his} friend {two} was the next day.
        """,
        """
        {who} wondered what {his} friend {two} would like.
        {who} thought about a present for a long time.
        {who} asked {his} {kinword} {kin} for a good idea.
        """,
        """
        {who} went to the market and chose {thing:a}.
        So {who} found a pretty {thing}.
        {who} bought {thing:a} with the money from the jar.
        """,
        """
        {His} friend {two} got the present and smiled from ear to ear.
        {His} friend {two} opened the box and could hardly believe it.
        {His} friend {two} had always wanted one and was very happy.
        """,
        """
        {His} friend {two} shared {his2} favourite food, {food2}, with {who}.
        They talked until late at night.
        It made {who} happy, too.
        """,
    ),
    "pet": _plot(
        """
        But {who:s} {animal} {pet} had disappeared.
        {who:s} {animal} {pet} had slipped out through the door.
        {who} called {his} {animal} {pet}, but nothing moved.
        """,
        """
        {who} walked all over the village with {his} friend {two}.
        {His} friend {two} was worried, too, and began to search.
        Together with {his} friend {two}, {who} began to search.
        """,
        """
        There was a small noise {place:at}.
        After a long time {his} friend {two} discovered small footprints {place:at}.
        Something small was hiding {place:at}.
        """,
        """
        And there it was, and it came closer at once.
        {who} quickly took it in {his} arms.
        It looked at {who} as if nothing had happened.
        """,
        """
        From then on {who} always closed the door.
        {who} thanked {two} with all {his} heart.
        Back home, it soon fell asleep.
        """,
    ),
    "market": _plot(
        """
        {who} walked past {place} to the market.
        It was market day, and there were many people about.
        {who} took a basket and went to the market.
        """,
        """
        {who} bought a bag of {fruit}.
        At the fruit stand {who} picked some ripe {fruit}.
        {who} saw some fine {fruit} and stopped.
        """,
        """
        On the way back {who} met {his} friend {two}.
        Across the street {his} friend {two} waved a hand.
        In front of the market {his} friend {two} said hello to {who}.
        """,
        """
        {who} gave {his} friend {two} some of them.
        {His} friend {two} tried one and said that it was sweet.
        They shared them and walked on together.
        """,
        """
        They sat down on a bench, took a rest and laughed.
        {His} friend {two}, who works as {work2}, was busy but stayed for a while.
        The bags were heavy, but their steps were light.
        """,
    ),
    "traveller": _plot(
        """
        On the road a stranger asked {who} the way.
        A stranger was standing {place:at}.
        A stranger from far away came to the village.
        """,
        """
        The stranger was looking for {his} friend {two}.
        The stranger was carrying {thing:a} for {his} friend {two}.
        "Where can I find your friend {two}?" asked the stranger.
        """,
        """
        {who} explained that {his} friend {two} lives {home2}.
        {who} answered that the house of {his} friend {two} stands {home2}.
        "My friend {two} lives {home2}," said {who}.
        """,
        """
        {who} walked with the stranger to the house.
        The stranger thanked {who} and gave {him} some {fruit}.
        The two of them walked slowly and talked.
        """,
        """
        {His} friend {two} was delighted to see the stranger.
        {His} friend {two} gave the stranger a warm welcome.
        It turned out that {his} friend {two} had been waiting for the stranger.
        """,
    ),
    "festival": _plot(
        """
        As it happened, the village had a feast.
        It was the day of the village feast.
        A feast was being prepared {place:at}.
        """,
        """
        {who} helped as only {work} can, together with {his} friend {two}.
        {who} hung up the lamps together with {his} friend {two}.
        {who} and {his} friend {two} set the table side by side.
        """,
        """
        {His} friend {two} ate plenty of {his2} favourite food, {food2}.
        The table was full of {fruit} and rice cakes.
        People shared some {fruit} and were merry.
        """,
        """
        {who} sang a song in front of everybody.
        They all held hands and danced in a circle.
        {His} friend {two} beat the drum, and {who} danced.
        """,
        """
        The feast lasted until deep in the night.
        The singing went on until the moon rose.
        Even on the way home everybody was laughing.
        """,
    ),
    "illness": _plot(
        """
        Word came that {his} friend {two} had caught a cold.
        {who} heard that {his} friend {two} was ill.
        But nobody had seen {his} friend {two} for days.
        """,
        """
        {who} prepared {his} friend {two:s} favourite food, {food2}.
        {who} remembered that {his} friend {two} likes {food2} best of all.
        For {his} friend {two}, {who} carefully packed some {food2}.
        """,
        """
        {who} carried the food to {two}, who lives {home2}.
        {who} walked past {place} to the house of {his} friend {two}.
        {who} knocked softly at the door.
        """,
        """
        {His} friend {two} took a bite and felt much better.
        {His} friend {two} was so thankful that there were tears in {his2} eyes.
        {who} sat down beside {two} and read from a book.
        """,
        """
        After a few days {two} was well again.
        {His} friend {two} soon got back on {his2} feet.
        The next day {two} came to {who} with {thing:a} as a present.
        """,
    ),
}  # fmt: skip
