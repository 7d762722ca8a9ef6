"""Presidio's analysis of one window of text, with recognisers chosen by the caller and without a language model.

The steps are those of `AnalyzerEngine.analyze` (recognise, weigh preceding words, drop duplicates), without its
selection of recognisers, tracing and spaCy pipeline, which on a line or two take longer than the recognisers.

Imports Presidio, as recognisers.py does.
"""

from __future__ import annotations

import logging
import re

from presidio_analyzer import EntityRecognizer, RecognizerResult
from presidio_analyzer.context_aware_enhancers import LemmaContextAwareEnhancer
from presidio_analyzer.nlp_engine import NlpArtifacts, NlpEngine

from pipeline.curation.personal_data.recognisers import LANGUAGE, recognisers
from pipeline.curation.personal_data.words import supported

SUPPORTED = 0.4  # the least score that Presidio gives to a value with a word that supports it

# Its log messages quote the text around a value, and numbers with a wrong checksum.
logging.getLogger("presidio-analyzer").setLevel(logging.CRITICAL + 1)


class WrittenWords(NlpEngine):
    """The NLP engine that Presidio needs, without a language model: words as written, each its own lemma.

    `spacy.blank` leaves lemmas empty, so Presidio's context words, which are compared with lemmas, would never match.
    """

    WORD = re.compile(r"[A-Za-z]+|[가-힣]+|\d+|[^\W\d_]+")

    def load(self) -> None:
        pass

    def is_loaded(self) -> bool:
        return True

    def process_text(self, text: str, language: str) -> NlpArtifacts:
        found = [(m.group(), m.start()) for m in self.WORD.finditer(text)]
        words, places = [w for w, _ in found], [p for _, p in found]
        return NlpArtifacts(
            entities=[],
            tokens=words,  # type: ignore[arg-type]
            tokens_indices=places,
            lemmas=words,
            nlp_engine=self,
            language=language,
        )

    def process_batch(self, texts, language, batch_size=1, n_process=1, **kwargs):  # type: ignore[no-untyped-def]
        return ((text, self.process_text(text, language)) for text in texts)

    def is_stopword(self, word: str, language: str) -> bool:
        return False

    def is_punct(self, word: str, language: str) -> bool:
        return False

    def get_supported_entities(self) -> list[str]:
        return []

    def get_supported_languages(self) -> list[str]:
        return [LANGUAGE]


class WordsBefore(LemmaContextAwareEnhancer):
    """Presidio's context enhancer, which matches Latin words whole and Hangul words as substrings.

    Korean attaches particles to a word (번호는, 번호를), so substrings must match; in English they would find `ip` in
    `script`.
    """

    @staticmethod
    def _find_supportive_word_in_context(
        context_list: list[str], recognizer_context_list: list[str], matching_mode: str = "substring"
    ) -> str:
        for wanted in recognizer_context_list or []:
            for word in context_list or []:
                if wanted == word or (not wanted.isascii() and wanted in word) or word == f"{wanted}s":
                    return wanted
        return ""


class Analyser:
    """All recognisers by name."""

    def __init__(self) -> None:
        self.recognisers = recognisers()
        self.words = WrittenWords()
        self.enhancer = WordsBefore()

    def find(self, text: str, names: tuple[str, ...]) -> list[RecognizerResult]:
        """All results of the named recognisers in `text`, with scores that include context words."""
        chosen = [self.recognisers[name] for name in names]
        results: list[RecognizerResult] = []
        touched: set[tuple[int, int, str]] = set()
        for name, recogniser in zip(names, chosen, strict=True):
            found = recogniser.analyze(text, recogniser.supported_entities, None)  # type: ignore[arg-type]
            touched |= {
                (result.start, result.end, result.entity_type)
                for result in found
                if supported(name, text, result.start, result.end)
            }
            results += found
        if not results:
            return results
        results = self.enhancer.enhance_using_context(text, results, self.words.process_text(text, LANGUAGE), chosen)
        for result in results:
            if result.score < SUPPORTED and (result.start, result.end, result.entity_type) in touched:
                result.score = max(SUPPORTED, result.score + self.enhancer.context_similarity_factor)
        return EntityRecognizer.remove_duplicates(results)
