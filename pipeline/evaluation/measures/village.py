"""What a model knows of the made-up village, and whether it tells stories: for every model, by continuing text.

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
from pipeline.village.checker import check_story
from pipeline.village.facts import LANGUAGES
from pipeline.village.questions import Cloze, cloze_questions
from pipeline.village.stories import grammar
from pipeline.village.world import World, world_of

if TYPE_CHECKING:
    from model.sampling import Sampling
    from model.transformer import Transformer
    from pipeline.store.artifact import Artifact
    from pipeline.tokens.tokenizer import Tokenizer

VALUE_TOKENS = 16  # the longest value has some ten tokens in a vocabulary of 2,048
TOP_P = 0.95
TABLE = "village_facts"


def run(subject: Subject, settings: MeasureSettings) -> Result:
    """Shares (0-1) of facts known and of stories told rightly, by language; the facts as a table."""
    asked = settings.village
    assert asked is not None
    known = facts_known(subject.generating, subject.tokenizer, list(cloze_questions(asked.seed)))
    subject.log(f"asked for {known.height:,} facts of the village; telling {2 * asked.stories:,} stories")
    told = stories_told(subject, asked)
    figures = {"facts": by_language(known, ("right",)), "stories": by_language(told, tuple(STORY_FIGURES))}
    samples = told.select(
        pl.lit("story").alias("kind"), pl.lit("village").alias("source"), "lang", "prompt", "output",
        pl.lit(None, pl.String).alias("reference"), "ended",
    ).cast(dict(SAMPLE))  # fmt: skip
    return Result(figures, samples.group_by("lang", maintain_order=True).head(SHOWN), {TABLE: known})


SHOWN = 3  # stories of each language among the samples


def facts_known(model: Transformer, tokenizer: Tokenizer, questions: Sequence[Cloze]) -> pl.DataFrame:
    """lang, person, relation, prompt, value, output, right: one row a question."""
    outputs, _ = continued(model, tokenizer, [one.prompt for one in questions], VALUE_TOKENS)
    rows = [
        {
            "lang": one.lang, "person": one.person, "relation": one.relation, "prompt": one.prompt,
            "value": one.value, "output": output.strip(), "right": output.strip().startswith(one.value),
        }
        for one, output in zip(questions, outputs, strict=True)
    ]  # fmt: skip
    return pl.DataFrame(rows)


STORY_FIGURES = ("grammatical", "consistent", "both", "verbatim")


def stories_told(subject: Subject, asked: VillageSettings) -> pl.DataFrame:
    """lang, prompt, output, ended and STORY_FIGURES of the sampled stories: one row a story.

    consistent: nothing that could be read of it contradicts the village or itself; verbatim: stands in the training text
    as a whole.
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


def continued(
    model: Transformer, tokenizer: Tokenizer, prompts: Sequence[str], most_new: int, sampling: Sampling | None = None
) -> tuple[list[str], list[bool]]:
    """(text, whether the model ended it) of what follows each prompt at the start of a document."""
    from model.generate_together import generate_together
    from model.sampling import GREEDY

    ids = [[tokenizer.document_start, *map(int, one)] for one in tokenizer.encode(list(prompts))]
    ids = [one[: model.config.context - 1] for one in ids]
    outputs = generate_together(model, ids, most_new, sampling or GREEDY, (tokenizer.ids["<eos>"],))
    rooms = [min(most_new, model.config.context - len(one)) for one in ids]
    return [tokenizer.decode(one) for one in outputs], [len(one) < room for one, room in zip(outputs, rooms)]


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
    enabled=lambda settings: settings.village is not None,
    headlines=(
        Headline("facts.*.right", "village.facts.*", higher_is_better=True, words="facts known, {key} ({count} asked)"),
        Headline("stories.*.both", "village.stories.*", higher_is_better=True,
                 words="stories grammatical and free of contradiction, {key} ({count} told)"),
    ),
)  # fmt: skip
