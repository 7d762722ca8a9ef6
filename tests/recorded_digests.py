"""A small corpus with something for every stage, and the digests of all artifacts made from it up to the token shards.

`python -m tests.recorded_digests` records them again after a change that alters the result and raised a VERSION.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
from pathlib import Path

RECORD = Path(__file__).with_suffix(".json")
ENGLISH = (
    "The harbour lies open to the north and the boats are drawn up on the sand",
    "She read the letter twice before she gave it back and asked who had seen it",
    "They counted the sacks at dawn and wrote the number on the door with chalk",
    "Every spring the river takes a little of the lower field and nobody minds",
    "A good map says what it leaves out and this one says nothing of the lake",
)
KOREAN = (
    "아침마다 시장에 가는 사람들이 다리를 건너면서 강을 바라보았다",
    "그는 편지를 두 번 읽고 나서 누가 이것을 보았는지 조용히 물었다",
    "마을의 오래된 나무는 여름마다 넓은 그늘을 만들어 주었다",
    "바람이 북쪽에서 불어오면 배들은 모래 위로 올라가 쉬었다",
    "선생님은 칠판에 숫자를 쓰고 아이들에게 천천히 설명하였다",
)
CODE = (
    "def total_{n}(values):\n    result = {n}\n    for value in values:\n        result += value * {n}\n"
    "    return result\n"
)
RECIPE = """
name: recorded
sources:
  - {{name: english, kind: files, path: '{folder}/english/*.txt', content: web, lang: en, license: own}}
  - {{name: korean, kind: files, path: '{folder}/korean/*.txt', content: web, lang: ko, license: own}}
  - {{name: code, kind: files, path: '{folder}/code/*.txt', lang: code, license: own}}
curation:
  perplexity: {{min_characters: 2000}}
  quality: {{min_documents: 2, max_removed: 0.05}}
  repetition: {{max_documents: 20}}
tokenizer: {{kind: bpe, vocab_size: 500, reserved: 0}}
shards: {{validation: 0.1}}
instructions: {{sources: [{{name: talk, path: '{folder}/talk.jsonl', lang: en, license: own}}], held_back: 0.2}}
execution: {{device: cpu, executor: in_process}}
"""


def write(folder: Path) -> Path:
    """The corpus and its recipe below `folder`; returns the recipe."""
    draw = random.Random(12)
    for name, sentences in (("english", ENGLISH), ("korean", KOREAN)):
        (folder / name).mkdir()
        pool = " ".join(sentences).split()
        texts = [
            "\n".join(
                f"{' '.join(draw.sample(pool, 11))}, {draw.randrange(10**5)} {draw.choice(pool)}." for _ in range(12)
            )
            for _ in range(40)
        ]
        texts[1] = texts[0]  # an exact copy, a near one, one that is too short, one that shouts, and personal data
        texts[3] = texts[2].replace(texts[2].split("\n")[0], "Another first line stands here instead of that one.")
        texts[4] = "short"
        texts[5] = "\n".join([texts[5].split("\n")[0]] * 30)
        for number in range(8, 40):  # a line that many hold
            texts[number] += f"\n{sentences[0]}, {sentences[1]}."
        texts[6] += "\nWrite to minsu.kim@naver.com or call 010-1234-5678 before Monday."
        for number, text in enumerate(texts):
            (folder / name / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    (folder / "code").mkdir()
    for number in range(12):
        text = "\n\n".join(CODE.format(n=number * 100 + draw.randrange(99)) for _ in range(6))
        (folder / "code" / f"{number:02d}.txt").write_text(text, encoding="utf-8")
    pool = " ".join(ENGLISH).split()
    talk = [
        {"instruction": f"Say this: {' '.join(draw.sample(pool, 20))}?", "output": " ".join(draw.sample(pool, 20))}
        for _ in range(30)
    ]
    for number, row in enumerate(talk):  # evaluation items in the training text, where they are held back
        with open(folder / "english" / f"{number + 8:02d}.txt", "a", encoding="utf-8") as file:
            file.write(f"\n{row['instruction']}")
    (folder / "talk.jsonl").write_text("\n".join(json.dumps(row) for row in talk) + "\n", encoding="utf-8")
    recipe = folder / "recorded.yaml"
    recipe.write_text(RECIPE.format(folder=folder), encoding="utf-8")
    return recipe


def digests(folder: Path) -> dict[str, dict[str, str]]:
    """Version and digest of every artifact from the sources to the token shards, made in an empty store."""
    from pipeline.graph import Project
    from pipeline.recipe import load
    from pipeline.run import inputs_in_order, make_with_inputs
    from pipeline.store.store import Store

    recipe = load(write(folder))
    project = Project(recipe, Store(folder / "data", recipe.name), lambda line: None)
    make_with_inputs(project, "token_shards")
    names = inputs_in_order(project.nodes, "token_shards")
    return {name: {"version": project[name].version, "digest": project[name].digest} for name in names}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        RECORD.write_text(json.dumps(digests(Path(place)), indent=1) + "\n")
    print(f"recorded {RECORD.name}", file=sys.stderr)
