"""Writes pipeline/curation/personal_data/names/world.txt.gz from the names of an installed faker.

    pip install faker==40.63.0      # in an environment of its own: the project does not need it
    python scripts/names_of_the_world.py OUT.txt.gz

Each of two lines: `first` or `last`, and the names of that kind in small letters, sorted. Names of more than one word
and of other letters than Latin ones are left out; of Japanese and Chinese names, the romanised forms are taken.
"""

from __future__ import annotations

import gzip
import importlib
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

LATIN = """
    az_AZ cs_CZ da_DK de_AT de_CH de_DE en en_GB en_IE en_IN en_KE en_NG en_NZ en_PK en_US es_AR es_CA es_CL es_CO
    es_ES es_MX et_EE fi_FI fr_BE fr_CA fr_CH fr_DZ fr_FR ga_IE ha_NG hr_HR hu_HU id_ID ig_NG is_IS it_IT lt_LT lv_LV
    nl_BE nl_NL no_NO pl_PL pt_BR pt_PT ro_RO sk_SK sl_SI sv_SE sw tr_TR tw_GH uz_UZ vi_VN yo_NG zu_ZA
""".split()  # noqa: SIM905
ROMANISED = ("ja_JP", "zh_CN", "zh_TW")


def kind_of(attribute: str) -> str | None:
    """`first` or `last`, or None if the attribute of a provider lists something else."""
    if attribute.startswith("first_names") or attribute == "middle_names":
        return "first"
    return "last" if "last_names" in attribute else None


def listed() -> Iterator[tuple[str, str]]:
    """(kind, name) of every name as faker lists it."""
    for locale in LATIN:
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        for attribute in dir(provider):
            kind, names = kind_of(attribute), getattr(provider, attribute)
            if kind and isinstance(names, (list, tuple, dict)):
                yield from ((kind, name) for name in names if isinstance(name, str))
    for locale in ROMANISED:
        provider = importlib.import_module(f"faker.providers.person.{locale}").Provider
        for kind in ("first", "last"):
            yield from ((kind, name) for name in getattr(provider, f"{kind}_romanized_names"))


def is_latin_word(name: str) -> bool:
    return len(name) > 1 and name.isalpha() and all("LATIN" in unicodedata.name(letter, "") for letter in name)


def main() -> None:
    names: dict[str, set[str]] = {"first": set(), "last": set()}
    for kind, name in listed():
        small = unicodedata.normalize("NFC", name).lower()
        if is_latin_word(small):
            names[kind].add(small)
    text = "".join(f"{kind} {' '.join(sorted(some))}\n" for kind, some in names.items())
    Path(sys.argv[1]).write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
