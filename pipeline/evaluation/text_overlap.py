"""BLEU, chrF, TER and ROUGE of answers against references, for Korean too.

The scores come from the published implementations (sacrebleu, rouge-score), so that they are comparable; only the
tokenization for ROUGE is our own. That of rouge-score keeps a-z and 0-9 and drops everything else, Hangul included, so
every Korean answer would score 0. Here each Hangul syllable, Han or kana character is a word, as in sacrebleu's `zh`
and `char`, and Latin text is split as in the original: English scores are identical.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

# Hangul syllables and jamo, kana, Han: each character is a word.
SINGLE = r"가-힣ᄀ-ᇿ㄰-㆏぀-ヿ㐀-䶿一-鿿"
WORD = re.compile(rf"[a-z0-9]+|[{SINGLE}]")
KINDS = ("rouge1", "rouge2", "rougeL", "rougeLsum")


def bleu(answers: list[str], *references: list[str], lang: str | None = None) -> dict[str, Any]:
    """Corpus BLEU and chrF (0-100) and TER (edits for 100 words, lower is better), by sacrebleu, with the signatures of
    BLEU and TER (Post 2018; Popović 2015; Snover et al. 2006).

    references: one or more lists, each with one reference per answer.

    Text is tokenized by mteval's rules (`13a`); Korean, Japanese and Chinese are split into characters, since
    `ko-mecab` needs a dictionary that is not installed. TER's words are those of ROUGE (`Words`) in these languages.
    """
    import sacrebleu

    by_character = lang in ("ko", "ja", "zh")
    metric = sacrebleu.BLEU(tokenize="char" if by_character else "13a")
    chrf, ter = sacrebleu.CHRF(), sacrebleu.TER()
    edited, models = answers, list(references)
    if by_character:
        edited, *models = ([" ".join(Words().tokenize(text)) for text in texts] for texts in (answers, *references))
    return {
        "bleu": round(metric.corpus_score(answers, list(references)).score, 4),
        "bleu_signature": str(metric.get_signature()),
        "chrf": round(chrf.corpus_score(answers, list(references)).score, 3),
        "ter": round(ter.corpus_score(edited, models).score, 3),
        "ter_signature": str(ter.get_signature()),
    }


class Words:
    """A tokenizer for rouge-score."""

    def tokenize(self, text: str) -> list[str]:
        return WORD.findall(text.lower())


def rouge(answers: list[str], references: list[str]) -> dict[str, float]:
    """Mean F-measures (0-100) of ROUGE-1, ROUGE-2, ROUGE-L and ROUGE-Lsum (Lin 2004), without stemming.

    ROUGE-Lsum treats each line as a sentence.
    """
    scorer = _scorer()
    total = dict.fromkeys(KINDS, 0.0)
    for answer, reference in zip(answers, references, strict=True):
        scores = scorer.score(reference, answer)
        for kind in KINDS:
            total[kind] += scores[kind].fmeasure
    return {kind: round(100 * value / max(len(answers), 1), 3) for kind, value in total.items()}


@lru_cache(maxsize=1)
def _scorer() -> Any:
    from rouge_score import rouge_scorer

    return rouge_scorer.RougeScorer(list(KINDS), use_stemmer=False, tokenizer=Words())
