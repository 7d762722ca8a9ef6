"""Cards say what the manifests say: every source, licence and reason, and nothing that is not there."""

from __future__ import annotations

from pipeline.curation.stages import Curation
from pipeline.inspect import cards
from pipeline.inspect.rules_reference import reasons_by_asset

MANIFESTS = {
    "raw_documents": {
        "recipe": "mine",
        "fingerprint": "f" * 64,
        "facts": {
            "sources": {
                "wiki": {"documents": 1200, "licenses": {"CC-BY-SA-4.0": 1200}, "languages": {"ko": 1100, "en": 100}},
                "notes": {"documents": 30, "licenses": {}, "languages": {"unknown": 30}},
            }
        },
        "counts": {"removed": {"empty": 3}},
    },
    "language_decisions": {
        "fingerprint": "a" * 64,
        "counts": {"removed": {"other_language": 40, "no_language": 2}, "edits": {}},
    },
    "personal_data_edits": {
        "fingerprint": "b" * 64,
        "counts": {"removed": {}, "edits": {"EMAIL_ADDRESS": 17}},
    },
    "curated_documents": {
        "fingerprint": "c" * 64,
        "counts": {"by_source": {"wiki": {"kept": 1160}, "notes": {"kept": 28}}},
    },
    "token_shards": {"fingerprint": "d" * 64, "facts": {"tokens_by_source": {"wiki": 500000, "notes": 1234}}},
    "instruction_data": {
        "fingerprint": "e" * 64,
        "counts": {"removed": {"duplicate": 5}},
        "facts": {
            "sources": {"faq": {"train": 90, "held_back": 5, "licenses": {"MIT": 95}, "removed": {"duplicate": 5}}},
        },
    },
    "pretrained_model": {
        "recipe": "mine",
        "fingerprint": "1" * 64,
        "facts": {"parameters": 3_000_000, "tokens": 1_000_000, "steps": 244},
        "made_of": {"settings": {"model": {"layers": 5, "width": 192}}},
    },
    "sft_model": {"recipe": "mine", "fingerprint": "2" * 64, "facts": {"steps": 100}},
}  # fmt: skip


def test_the_data_card_names_sources_licences_counts_and_reasons():
    text = cards.data_card(MANIFESTS, reasons_by_asset(Curation()))
    assert "| wiki | CC-BY-SA-4.0 | ko, en | 1,200 | 1,160 | 500,000 |" in text
    assert "| notes | not stated | unknown | 30 | 28 | 1,234 |" in text
    assert "| language_decisions | `other_language` | in a language that the recipe does not allow | 40 |" in text
    assert "| raw_documents | `empty` | no text, or white space alone | 3 |" in text
    assert "| personal_data_edits | `EMAIL_ADDRESS` | 17 |" in text
    assert "Names of people are not detected" in text
    assert "| faq | MIT | 90 | 5 | 5 duplicate |" in text
    for manifest in MANIFESTS.values():
        assert manifest["fingerprint"] in text


def test_a_reason_has_the_meaning_of_the_asset_that_gave_it():
    removed = {"counts": {"removed": {"other_language": 1}}}
    text = cards.data_card({"raw_documents": removed, "language_decisions": removed}, reasons_by_asset(Curation()))
    assert "| raw_documents | `other_language` | a page in another language than the source's | 1 |" in text
    assert "| language_decisions | `other_language` | in a language that the recipe does not allow | 1 |" in text


def test_the_model_card_names_shape_training_and_what_it_was_made_from():
    report = {
        "language_modelling": {"all": {"bits_per_byte": 1.23456}, "by_language": {"ko": {"bits_per_byte": 1.5}}},
        "answers": {"by_language": {"ko": {"bleu": 3.21, "count": 40}}},
    }
    text = cards.model_card("sft_model", MANIFESTS, report)
    assert "Made from `pretrained_model`." in text
    assert "| layers | 5 |" in text and "| steps | 100 |" in text
    assert "| bits per byte | 1.2346 |" in text and "| bits per byte, ko | 1.5000 |" in text
    assert "| BLEU, ko (40 answers) | 3.21 |" in text
    assert "| wiki | CC-BY-SA-4.0 |" in text


def test_cards_of_little_are_short_and_whole():
    assert cards.data_card({"token_shards": MANIFESTS["token_shards"]}, {}).startswith("# Data of `?`")
    text = cards.model_card("pretrained_model", {"pretrained_model": MANIFESTS["pretrained_model"]})
    assert "Made from" not in text and "Measured" not in text and "3,000,000" in text


def test_a_bar_in_a_name_does_not_break_the_table():
    manifests = {
        "raw_documents": {"facts": {"sources": {"a|b": {"documents": 1, "licenses": {"x\ny": 1}, "languages": {}}}}}
    }
    assert "| a\\|b | x y | not stated | 1 |  |  |" in cards.data_card(manifests, {})
