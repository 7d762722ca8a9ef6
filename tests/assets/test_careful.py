"""The page of curated documents shows what lies on both sides of each limit, and gives nobody away."""

from assets import careful, curation
from pipeline.graph import Project
from pipeline.run import make_with_inputs

RECIPE = """
name: small
sources:
  - {{name: notes, kind: files, path: '{folder}/notes/*.txt', content: web, license: own}}
curation:
  heuristics: {{gopher: {{min_words: 30}}, c4: {{enabled: false}}, fineweb: {{enabled: false}}}}
  perplexity: {{enabled: false}}
  quality: {{enabled: false}}
  repetition: {{enabled: false}}
  contamination: {{enabled: false}}
execution: {{executor: in_process}}
"""
SENTENCE = "The ferry leaves at seven from the lower quay and comes back with the post and the bread."


def test_the_page_shows_passages_with_figures_and_limits_and_covers_personal_data(tmp_path, monkeypatch):
    (tmp_path / "notes").mkdir()
    for name, more in {
        "short": "Write to minsu@naver.com or call 010-2345-6789 now.",
        "nearly": "The rest of it has to be long enough to stay in the text, so write to minsu@naver.com soon.",
    }.items():
        (tmp_path / "notes" / f"{name}.txt").write_text(f"{SENTENCE} {more}")
    (tmp_path / "small.yaml").write_text(RECIPE.format(folder=tmp_path))
    monkeypatch.setenv("SLM_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SLM_RECIPE", str(tmp_path / "small.yaml"))
    project = Project.open(log=lambda line: None)
    artifact = make_with_inputs(project, "curated_documents")
    shown = curation.show_curated(project, artifact)
    rows = [record.data for record in shown[careful.TITLE].records]
    by_side = {(row["reason"], row["side"]): row for row in rows}
    removed = by_side["gopher_short", "removed, just outside"]
    assert removed["figure"].startswith("words 2") and removed["limit"] == "gopher.min_words 30"
    assert removed["removed or cut in all"] == 1 and removed["source"] == "notes"
    assert ("gopher_short", "kept, just inside") in by_side
    assert by_side["EMAIL_ADDRESS", "a passage is cut"]["removed or cut in all"] == 1
    assert next(iter(removed)) == "passage" and "The ferry leaves at seven" in removed["passage"]
    assert "⟦█" in by_side["EMAIL_ADDRESS", "a passage is cut"]["passage"], "what was cut is marked and covered"
    assert not any(word in str(rows) for word in ("minsu", "naver", "2345"))
    assert "slm curate judge" in shown[f"{careful.TITLE}: how"].value
