"""Writes docs/tour.ipynb: from a folder of text to a model that one can talk to, in ten cells.

    python scripts/tour.py            # needs nbformat (the extra `dev`)

The notebook is written here, and not by hand, so that it can be read and checked as code. It is kept without output.
"""

from __future__ import annotations

from pathlib import Path

NOTEBOOK = Path(__file__).resolve().parents[1] / "docs" / "tour.ipynb"
# (what is said before a cell, the cell)
CELLS = (
    (
        """# From your own text to a chat

Ten cells that make a small language model of a folder of text: look at the text, clean it, choose a vocabulary, train,
teach it to answer, talk to it. Everything is made on this machine; nothing is downloaded.

Put your own folder (text, Markdown, code, pages, tables) in place of `TEXT`. Without one, twelve thousand pages
about a made-up village are written, which a model this small can learn in some five minutes on two cores.""",
        """import json
import os
from pathlib import Path

os.environ.setdefault("SLM_TRACKING", "off")  # no records in MLflow
WORK = Path(os.environ.get("TOUR", "tour")).resolve()
os.environ["SLM_DATA"] = str(WORK / "data")
SMALL = "TOUR_SMALL" in os.environ  # a test of the notebook: a model that learned nothing

TEXT = WORK / "text"
if not TEXT.exists():
    from pipeline.village.documents import documents

    TEXT.mkdir(parents=True)
    with open(TEXT / "village.jsonl", "w", encoding="utf-8") as file:
        for page in documents(150 if SMALL else 12_000):
            file.write(json.dumps({"id": page.id, "text": page.text}, ensure_ascii=False) + "\\n")
sum(path.stat().st_size for path in TEXT.rglob("*") if path.is_file())""",
    ),
    (
        "What is in the folder, and in which languages?",
        """from pipeline.inspect import first_recipe

looked = first_recipe.look(TEXT)
print(*first_recipe.described(looked), sep="\\n")""",
    ),
    (
        "A recipe says everything that is to be made. What it leaves out has a documented default "
        "([the reference](guide/recipe.md)).",
        '''from pipeline.graph import Project

recipe = WORK / "tour.yaml"
recipe.write_text(f"""
name: tour
sources:
  - {{name: own, kind: files, path: '{TEXT}', license: own}}
curation:
  personal_data: {{enabled: {str(not SMALL).lower()}}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
  repetition: {{window: 3}}
  contamination: {{enabled: false}}
tokenizer: {{vocab_size: {800 if SMALL else 2304}, character_coverage: {0.98 if SMALL else 1.0}}}
shards: {{validation: 0.05}}
model: {{layers: {1 if SMALL else 4}, width: {48 if SMALL else 192}, heads: 3, context: 256, qk_norm: true}}
pretraining:
  tokens: {8_192 if SMALL else 2_500_000}
  batch_tokens: 1024
  learning_rate: 0.012
  feed: {{packing: best_fit, mask_documents: true}}
instructions:
  sources: [{{name: village, kind: generated, dataset: village-conversations, rows: {60 if SMALL else 5000}}}]
sft: {{epochs: {1 if SMALL else 3}, batch_tokens: 1024, learning_rate: 0.0004, embeddings: markers}}
preference: {{enabled: false}}
""", encoding="utf-8")
project = Project.open(recipe, log=print)''',
    ),
    (
        "How long will it take, and does the model fit into this machine?",
        """from pipeline.commands.plan import planned_lines

print(*planned_lines(project, device="cpu", world=1), sep="\\n")""",
    ),
    (
        "Clean the text. Every stage writes decisions; the text itself is never changed.",
        """from pipeline.run import make_with_inputs

curated = make_with_inputs(project, "curated_documents")
curated.counts""",
    ),
    (
        "Read what was removed before you trust the rules.",
        """from pipeline.documents.browse import removed_by

for stage in ("heuristic_decisions", "duplicate_decisions"):
    print(stage, project[stage].counts["removed"])
    for row in removed_by(project["raw_documents"], project[stage], limit=2).iter_rows(named=True):
        print("   ", row["reason"], "|", row["text"][:100].replace("\\n", " "))""",
    ),
    (
        "A vocabulary for exactly this text.",
        """from pipeline.tokens.tokenizer import load

make_with_inputs(project, "token_shards")
tokenizer = load(project["tokenizer"].local_directory())
(ids,) = tokenizer.encode(["민수는 부산에 살고, Minsu has a cat."])
"|".join(tokenizer.decode([token]) for token in ids.tolist())""",
    ),
    (
        "Train. Stop it whenever you like: run the cell again, and it goes on where it was.",
        """import polars as pl

pretrained = make_with_inputs(project, "pretrained_model")
pl.read_parquet(pretrained.file("log.parquet")).select("step", "loss").drop_nulls().tail(3)""",
    ),
    (
        "It continues text now. Conversations teach it to answer.",
        """from model.serve.text import open_directory

tuned = make_with_inputs(project, "sft_model")
model = open_directory(tuned.local_directory())
before = open_directory(pretrained.local_directory(), answers=False)
print(before.write("민수의 이야기\\n", temperature=0, max_new=60))""",
    ),
    (
        "Talk to it, and look up the same in the text itself. `slm --recipe tour/tour.yaml serve` opens a page.",
        """from pipeline.grounding import index, search

documents_to_answer_from = search.opened(index.make(project.context, curated))
for question in ("민수는 어디에 살아?", "Where does Minsu live?"):
    print(">", question)
    print(model.say(question, temperature=0, max_new=40))
    for passage in documents_to_answer_from.found(question, 2).passages:
        print("    found:", passage.text[:100].replace("\\n", " "))""",
    ),
)


def notebook() -> str:
    """The notebook as JSON. Raises ImportError without nbformat."""
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    cells = []
    for number, (said, code) in enumerate(CELLS):
        cells.append(new_markdown_cell(said, id=f"said-{number}"))
        cells.append(new_code_cell(code, id=f"cell-{number}"))
    made = new_notebook(cells=cells)
    made.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                     "language_info": {"name": "python"}}  # fmt: skip
    return str(nbformat.writes(made)) + "\n"


def main() -> None:
    NOTEBOOK.write_text(notebook(), encoding="utf-8")


if __name__ == "__main__":
    main()
