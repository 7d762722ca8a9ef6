"""An example for every command, which `--help` shows at its end. A test reads each as the command line would."""

from __future__ import annotations

from collections.abc import Iterator

import click

# The words of a command -> examples; what stands behind two blanks and `#` is a remark.
EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "slm init notes                            # a first recipe for the text in a folder",
        "slm --recipe notes.yaml plan              # how long, how often over the text, does it fit",
        "slm --recipe notes.yaml summary           # what was removed, figures, samples",
        "slm --recipe notes.yaml chat",
    ),
    "init": ("slm init notes", "slm init ~/문서/일기 --out 일기.yaml --hours 3"),
    "completion": ('eval "$(slm completion bash)"             # in ~/.bashrc, to keep it',),
    "summary": ("slm summary", "slm --recipe notes.yaml summary"),
    "report": ("slm report", "slm report notes.yaml --against recipes/demo.yaml --out compared.html"),
    "make": ("slm make curated_documents", "slm make --yes pretrained_model           # however long it takes"),
    "why": ("slm why pretrained_model",),
    "recipe": ("slm --recipe notes.yaml recipe", "slm recipe --reference > reference.md"),
    "store": ("slm store list",),
    "store list": ("slm store list", "slm store list --all --owner ara"),
    "store usage": ("slm store usage",),
    "store pin": ("slm store pin sft_model --note 'what the paper reports'", "slm store pin sft_model 3f2a9c --remove"),
    "store verify": ("slm store verify", "slm store verify --against /mnt/other/data"),
    "store repair": ("slm store repair", "slm store repair --no-make"),
    "store prune": (
        "slm store prune --keep 1 --dry-run",
        "slm store prune --keep 1 --days 30 --asset pretrained_model",
        "slm store prune --policy --dry-run         # by the store's policy.yaml, all recipes",
    ),
    "documents": (
        "slm documents --stage heuristic_decisions",
        "slm documents --stage heuristic_decisions --reason gopher_short --source notes",
        "slm documents --stage personal_data_edits --edited",
        "slm documents --stage duplicate_decisions --diff 3f2a9c",
    ),
    "similar": ("slm similar '배는 아침에 떠난다'", "slm similar note.txt --limit 3"),
    "index": ("slm index kept.parquet",),
    "tokens": ("slm tokens '안녕하세요, 반갑습니다.'", "slm tokens 3f2a9c --document"),
    "sources": ("slm sources",),
    "sources check": ("slm sources check", "slm sources check notes --most 100"),
    "sources fetch": ("slm sources fetch", "slm sources fetch --force"),
    "sources catalogue": ("slm sources catalogue",),
    "rules": ("slm rules > rules.md",),
    "curate": ("slm curate preview --sample 500",),
    "curate preview": ("slm curate preview --sample 500", "slm curate preview --reason gopher_short --near 10"),
    "curate judge": ("slm curate judge --stage heuristic_decisions",),
    "curate verdicts": ("slm curate verdicts",),
    "quality": ("slm quality teach --labels pages.jsonl --out scorer.json",),
    "quality teach": ("slm quality teach --labels pages.jsonl --out scorer.json --licence own",),
    "annotate": ("slm annotate serve to_judge",),
    "annotate export": ("slm annotate export pairs sft_model preference_model --out to_judge",),
    "annotate export pairs": (
        "slm annotate export pairs sft_model preference_model --out to_judge",
        "slm annotate export pairs sft_model --questions mine.jsonl --out to_judge   # two answers of one model",
    ),
    "annotate export answers": ("slm annotate export answers sft_model --out to_judge --limit 50",),
    "annotate export documents": ("slm annotate export documents --stage heuristic_decisions --out to_judge",),
    "annotate import": (
        "slm annotate import to_judge project-1.json          # of Label Studio",
        "slm annotate import to_judge labels.zip              # of doccano",
    ),
    "annotate serve": ("slm annotate serve to_judge", "slm annotate serve to_judge --judge mina --port 8020"),
    "annotate agreement": ("slm annotate agreement to_judge",),
    "plan": ("slm plan recipes/llama-38m.yaml", "slm --recipe notes.yaml plan --gpu 4090 --devices 2"),
    "chat": ("slm chat", "slm chat sft_model --system '짧게 대답해 줘.' --temperature 0.5"),
    "generate": (
        "slm generate '옛날 어느 마을에' --max-tokens 60",
        "slm generate --model sft_model --file questions.jsonl --out answers.jsonl --temperature 0",
        "slm generate 'Once upon a time' --text --beams 4",
    ),
    "benchmark": ("slm benchmark", "slm benchmark sft_model --threads 1 --tokens 128"),
    "serve": (
        "slm serve",
        "slm serve sft_model preference_model --port 8080",
        "slm serve sft_model --ground notes        # answers from documents, see `slm ground`",
    ),
    "ground": (
        "slm ground                                # the recipe's curated documents",
        "slm ground ~/문서/일기 --name 일기",
        "slm ground --ask '배는 언제 떠나나요?'",
    ),
    "compare": ("slm compare 1f0c 9a7e --out runs.png",),
    "export": ("slm export sft_model --type q8_0", "slm export sft_model --format onnx"),
    "push": (
        "slm push sft_model me/notes --dry-run    # what would be sent; private unless --public is given",
        "slm push sft_model me/notes --public --licence cc-by-sa-4.0",
    ),
    "pull": ("slm pull me/notes", "slm pull me/notes --revision v1 --out models/notes"),
    "publish": (
        "slm publish sft_model published --licence cc-by-sa-4.0 --publisher 'Mina Kim' --date 2026-11-26",
        "slm publish curated_documents published --force",
    ),
    "evaluate": ("slm evaluate sft_model preference_model", "slm evaluate ./downloaded --suite full --out results"),
    "worth": ("slm worth --seeds 5", "slm worth --part sources --part stages --tokens 200000 --picture worth.png"),
    "experiment": (
        "slm experiment --list",
        "slm experiment activations --recipe notes.yaml",
        "slm experiment mine.yaml --set pretraining.tokens=500_000 --picture mine.png",
    ),
    "pair-task": (
        "slm pair-task pretrained_model klue_nli.json --first premise --second hypothesis --label gold_label",
        "slm pair-task pretrained_model klue_sts.json --first sentence1 --second sentence2 --label labels.label",
        "slm pair-task pretrained_model pairs.jsonl --probe    # only a linear head learns",
    ),
    "leaderboard": ("slm leaderboard", "slm leaderboard --out results"),
    "open-questions": ("slm open-questions sft_model preference_model --questions mt_bench.jsonl --out compared",),
    "vectors": ("slm vectors learn --near king --near 왕", "slm vectors distil MODEL_FOLDER vectors"),
    "vectors learn": ("slm vectors learn --near king --near 왕 --picture plane.png",),
    "vectors distil": ("slm vectors distil MODEL_FOLDER vectors",),
    "names": ("slm names teach tagger.npz --labelled names.jsonl --plain text.parquet",),
    "names teach": ("slm names teach tagger.npz --labelled names.jsonl --plain text.parquet --nameless manuals.txt",),
    "lineage": ("slm lineage model sft_model",),
    "lineage model": ("slm lineage model", "slm lineage model sft_model --documents learned.parquet"),
    "lineage document": ("slm lineage document 3f2a9c", "slm lineage document --grep '홍길동'"),
    "lineage step": ("slm lineage step 1200 --model sft_model",),
    "trace": (
        "slm trace sft_model --text '민수는 바다에 갔다.'",
        "slm trace sft_model --chat                            # traces each answer",
        "slm trace pretrained_model --file story.txt --least 10 --json",
    ),
    "forget": (
        "slm forget --grep '홍길동'                            # shows the passages, removes nothing",
        "slm forget --grep '홍길동' --reason 'asked to' --yes",
        "slm forget 3f2a9c --reason 'asked to' --make",
        "slm forget --source old_wiki                         # or --ids withdrawn.txt, --url 'example.org/'",
        "slm forget --list",
        "slm forget --undo",
        "slm forget 3f2a9c --exact --twins forget --reason 'asked to' --make   # models as if it had never been there",
        "slm forget --check data/my/forgotten/20261126-101500.json  # trains from nothing, compares the bytes",
    ),
    "ui": ("slm ui", "slm ui --port 3100 --mlflow-port 5100"),
    "reap": ("slm reap",),
    "reindex": ("slm reindex",),
}


def commands_below(command: click.Command, words: str = "") -> Iterator[tuple[str, click.Command]]:
    """(words, command) of a command and all that are in it."""
    yield words, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands_below(inner, f"{words} {name}".strip())


def add_examples(main: click.Group) -> None:
    """Show the examples at the end of every command's help."""
    for words, command in commands_below(main):
        lines = EXAMPLES.get(words, ())
        if lines:
            head = "Example" if len(lines) == 1 else "Examples"
            command.epilog = "\n".join(["\b", f"{head}:", *(f"  {line}" for line in lines)])
