"""All commands by what they are for, as `slm --help` lists them: one line each, for a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping

import click

# Heading -> command -> what it is for.
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "From text to a model": {
        "init": "write a first recipe for a folder of text",
        "sources": "what the recipe reads, with a preview of it",
        "plan": "how long training takes here, and whether it fits",
        "make": "make an artifact and all it needs, without Dagster",
        "summary": "what came of it: removals, figures, samples",
        "report": "the same as one page to read, print or send",
        "ui": "the graph, the curves and the reports in the browser",
    },
    "Look at the text": {
        "documents": "what a stage decided about each document, and why",
        "curate": "documents on both sides of each limit; your verdicts",
        "rules": "every rule that can remove a document",
        "similar": "the kept documents most like a text",
        "tokens": "the tokens of a text",
    },
    "Use and measure a model": {
        "chat": "talk to it in the terminal",
        "serve": "a page to talk on, and OpenAI's API",
        "ground": "index documents that `slm serve` answers from",
        "generate": "texts for a prompt, or for a file of prompts",
        "evaluate": "models side by side on the recipe's tasks",
        "pair-task": "a head on it that says how two texts relate",
        "experiment": "settings side by side: what is worth it here",
        "worth": "what each source, or stage of curation, is worth",
        "open-questions": "two models' answers side by side on a page",
        "leaderboard": "all models of the store by every measure",
        "compare": "runs in MLflow: settings that differ, and curves",
        "benchmark": "tokens per second, and memory",
        "export": "a file for llama.cpp, onnxruntime or torch",
        "push": "send it to the Hugging Face hub",
        "pull": "fetch one from the Hugging Face hub",
        "publish": "its cards, licences and bill of materials",
    },
    "Trace and forget": {
        "why": "why an artifact is or is not up to date",
        "lineage": "from a model to its documents, and back",
        "trace": "where an answer stands in what the model was taught",
        "forget": "take documents out for good, after a preview",
    },
    "Ask people, teach filters": {
        "annotate": "let people judge answers and documents",
        "quality": "a scorer of pages from labels of your own",
        "names": "a tagger that finds names of people",
        "vectors": "vectors of words that find what says the same",
        "index": "an index of kept documents for other recipes",
    },
    "Keep it in order": {
        "recipe": "print the recipe with all defaults filled in",
        "store": "sizes and owners, checksums, repairs, what stays",
        "reap": "mark runs whose process died as failed",
        "reindex": "rebuild Dagster's history from the store",
        "completion": "completion at the Tab key",
    },
}


def write_sections(commands: click.Group, formatter: click.HelpFormatter) -> None:
    """The commands by section. One that no section names comes last, with the first words of its help."""
    named = {name for section in SECTIONS.values() for name in section}
    width = max(map(len, commands.commands))
    for heading, section in SECTIONS.items():
        with formatter.section(heading):
            formatter.write_dl([(name.ljust(width), words) for name, words in section.items()])
    others = [(name, of.get_short_help_str()) for name, of in commands.commands.items() if name not in named]
    if others:
        with formatter.section("Others"):
            formatter.write_dl(others)
