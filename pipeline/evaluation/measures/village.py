"""What a model knows of the made-up village, and whether it tells stories, by continuing text.

A tuned model is asked for facts only: it tells a story when asked for one, in the form of a conversation
(`village_answers.py`), and ends no plain text any more.

Facts are asked for in cloze form: the beginning of an entry, up to the value; right is what begins with the value, by
greedy decoding. Stories continue a title, and are read by the grammar that wrote those of the training text
(`pipeline/village/checker.py`): grammatical from the first character to the last, free of contradiction with the
village and with themselves, and not copied from the training text.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from pipeline.evaluation.measure import SAMPLE, Headline, Measure, Result, Subject
from pipeline.evaluation.measure_settings import MeasureSettings, VillageSettings
from pipeline.tokens.shards import TRAIN
from pipeline.village.asking import continued, facts_known
from pipeline.village.checker import check_story
from pipeline.village.facts import LANGUAGES
from pipeline.village.questions import cloze_questions
from pipeline.village.stories import grammar
from pipeline.village.world import World, world_of

if TYPE_CHECKING:
    from pipeline.store.artifact import Artifact
    from pipeline.tokens.tokenizer import Tokenizer

TOP_P = 0.95
TABLE = "village_facts"


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Shares (0-1) of facts known and of stories told rightly, by language; the facts as a table."""
    asked = settings.village
    assert asked is not None
    known = facts_known(subject.generating, subject.tokenizer, list(cloze_questions(asked.seed)))
    facts = {"facts": by_language(known, ("right",))}
    if "base" in subject.inputs:
        subject.log(f"asked for {known.height:,} facts of the village")
        return Result(facts, tables={TABLE: known})
    subject.log(f"asked for {known.height:,} facts of the village; telling {2 * asked.stories:,} stories")
    told = stories_told(subject, asked)
    figures = {**facts, "stories": by_language(told, tuple(STORY_FIGURES))}
    samples = told.group_by("lang", maintain_order=True).head(SHOWN).select(
        pl.lit("story").alias("kind"), pl.lit("village").alias("source"), "lang", "prompt", "output",
        pl.lit(None, pl.String).alias("reference"), "ended",
    ).cast(pl.Schema(SAMPLE))  # fmt: skip
    return Result(figures, samples, {TABLE: known})


SHOWN = 3  # stories of each language among the samples


STORY_FIGURES = ("grammatical", "consistent", "both", "verbatim")


def stories_told(subject: Subject, asked: VillageSettings) -> pl.DataFrame:
    """lang, prompt, output, ended and STORY_FIGURES of the sampled stories: one row a story.

    consistent: nothing that could be read of it contradicts the village or itself; verbatim: it is a whole document of
    the training text.
    """
    from model.sampling import Sampling

    world = world_of(asked.seed)
    frames = []
    for lang in LANGUAGES:
        dice = random.Random(f"stories {subject.seed} {lang}")
        titles = [title(lang, dice.choice(list(world.people)), world) for _ in range(asked.stories)]
        sampling = Sampling(asked.temperature, top_p=TOP_P, seed=subject.seed)
        outputs, ended = continued(subject.generating, subject.tokenizer, titles, 10**6, sampling)
        copied = stand_in_training(
            subject.tokenizer,
            subject.inputs["token_shards"],
            [(first + text).strip() for first, text in zip(titles, outputs, strict=True)],
        )
        rows = [
            {"lang": lang, "prompt": first, "output": text, "ended": end, **judged(first + text, lang, world),
             "verbatim": copy}
            for first, text, end, copy in zip(titles, outputs, ended, copied, strict=True)
        ]  # fmt: skip
        frames.append(pl.DataFrame(rows))
        subject.progress(len(frames), len(LANGUAGES))
    return pl.concat(frames)


def title(lang: str, person: str, world: World) -> str:
    """The first line of a story about somebody."""
    text: str = grammar(lang).TITLE.render({"who": person}, world)
    return f"{text}\n"


def judged(text: str, lang: str, world: World) -> dict[str, bool]:
    """What the grammar says of a story."""
    read = check_story(text, lang, world)
    free = not read.contradictions
    return {"grammatical": read.grammatical, "consistent": free, "both": read.grammatical and free}


def stand_in_training(tokenizer: Tokenizer, shards: Artifact, texts: Sequence[str]) -> list[bool]:
    """Whether each text is the whole of a training document, word for word."""
    encoded = [ids.tolist() for ids in tokenizer.encode(list(texts))]
    lengths = sorted({len(ids) for ids in encoded})
    found: set[tuple[int, ...]] = set()
    for fragment in shards.fragments:
        rows = pl.scan_parquet(shards.table(fragment)).filter(split=TRAIN).filter(pl.col("length").is_in(lengths))
        found.update(map(tuple, rows.select("tokens").collect()["tokens"].to_list()))
    return [tuple(ids) in found for ids in encoded]


def by_language(rows: pl.DataFrame, names: Iterable[str]) -> Mapping[str, Any]:
    """Language -> count, and the share (0-1) of rows in which each of these columns is true."""
    return {
        str(lang): {"count": part.height} | {name: round(float(part[name].mean()), 4) for name in names}  # type: ignore[arg-type]
        for (lang,), part in sorted(rows.partition_by("lang", as_dict=True).items())
    }


MEASURE: Measure[MeasureSettings] = Measure(
    name="village",
    description="facts of the made-up village in cloze form, and stories about it, by language",
    run=run,
    needs=("token_shards",),
    reads=("base",),
    enabled=lambda settings: settings.village is not None,
    headlines=(
        Headline("facts.*.right", "village.facts.*", higher_is_better=True, words="facts known, {key} ({count} asked)"),
        Headline("stories.*.both", "village.stories.*", higher_is_better=True,
                 words="stories grammatical and free of contradiction, {key} ({count} told)"),
    ),
)  # fmt: skip
