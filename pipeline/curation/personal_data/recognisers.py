"""The recognisers: Presidio's where they suit text from the web, otherwise narrowed or additional ones.

A value counts only with evidence: its form (an `@`, a country code, separators where the authority puts them), a
checksum, or a preceding word that names it. A bare run of digits is not evidence. Presidio's recognisers provide
patterns, checksums and words, and its context enhancer weighs them; the scores here keep a value without evidence below
0.4 and lift a value with evidence to at least 0.4.

This module imports Presidio, which takes more than a CPU-second, so it is only imported once a candidate was found.
"""

from __future__ import annotations

import ipaddress
import re
from typing import ClassVar

import tldextract
from presidio_analyzer import EntityRecognizer, Pattern, PatternRecognizer
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    IpRecognizer,
    KrBrnRecognizer,
    KrDriverLicenseRecognizer,
    KrFrnRecognizer,
    KrPassportRecognizer,
    KrRrnRecognizer,
    PhoneRecognizer,
    UsItinRecognizer,
    UsSsnRecognizer,
)

from pipeline.curation.personal_data import words
from pipeline.curation.personal_data.births import BirthDates
from pipeline.curation.personal_data.examples import DOMAIN, in_example_network
from pipeline.curation.personal_data.ibans import Ibans
from pipeline.curation.personal_data.korean_places import DISTRICTS, PROVINCES

# The public suffix list in the package; by default, it would be downloaded.
tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=(), cache_dir=None)

# One set of recognisers for all text: people paste Korean numbers into English and the other way round.
LANGUAGE = "xx"

# Scores: below 0.4, a value needs a preceding word (which adds 0.35, up to at least 0.4); from 0.4, it counts alone.
NEEDS_WORD, STANDS_ALONE = 0.2, 0.5

# Boundaries of a number: not part of a longer number, of a decimal or of a chain of numbers.
START, END = r"(?<![\w.\-])", r"(?!\w|[-.]\d)"
PLUS = r"(?<![\w.+\-])"
EXTENSION = rf"(?:x\d{{1,5}}|{END})"


class Cards(CreditCardRecognizer):
    """Card numbers: the Luhn check, and the issuer's prefix with a length that this issuer uses.

    Presidio accepts any 12 to 16 digits that start with 1, 3, 4, 5 or 6 and pass Luhn, as one number in ten does.
    Prefixes and lengths: ISO/IEC 7812 as listed by the issuers.
    """

    ISSUERS = re.compile(
        r"4\d{12}(?:\d{3}(?:\d{3})?)?|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}|3[47]\d{13}"
        r"|3(?:0[0-5]|[68]\d)\d{11}|(?:6011|65\d\d|64[4-9]\d)\d{12}|35\d{14}|(?:2131|1800)\d{11}|62\d{14,17}"
    )
    MAESTRO = re.compile(r"(?:5018|5020|5038|5893|6304|6759|676[1-3]|0604|50\d\d|5[6-9]\d\d|6\d\d\d)\d{8,15}")

    # Numbers that payment services publish for tests.
    TESTS = re.compile(
        "4111111111111111|4242424242424242|4012888888881881|5555555555554444|5105105105105100|378282246310005"
        "|371449635398431|6011111111111117|3530111333300000|30569309025904"
    )

    def validate_result(self, pattern_text: str) -> bool | None:  # type: ignore[override]
        digits = re.sub(r"\D", "", pattern_text)
        if len(set(digits)) == 1 or self.TESTS.fullmatch(digits) or not super().validate_result(digits):
            return False
        # 13 digits: a form of Visa that is no longer issued, and that of Korean registration numbers.
        if len(digits) > 13 and self.ISSUERS.fullmatch(digits):
            return True
        known = self.ISSUERS.fullmatch(digits) or self.MAESTRO.fullmatch(digits) or digits.startswith(("1800", "2131"))
        return None if known else False


class Emails(EmailRecognizer):
    """Presidio's, without addresses of nobody: a word like `user` at an example domain, and mailboxes of machines.

    The pattern is limited to characters used in mailboxes: Presidio's includes the path of a URL, and then searches for
    the public suffix in the URL's host.
    """

    WORDS = re.compile(
        r"(?:user|users|username|name|test|tester|foo|bar|baz|me|you|someone|anyone|nobody|admin|info|email|mail|hello|"
        r"support|contact|root|postmaster|webmaster|abuse|a|b|c|x|y|z|jane|john|alice|bob|joe|johndoe|janedoe|"
        r"john\.doe|jane\.doe|your|your[._-]?(?:name|email))\d{0,2}",
        re.IGNORECASE,
    )
    MACHINES = re.compile(r"git|hg|noreply|no-reply|donotreply|do-not-reply|mailer-daemon", re.IGNORECASE)

    def validate_result(self, pattern_text: str) -> bool:
        user, _, domain = pattern_text.rpartition("@")
        if self.MACHINES.fullmatch(user) or (self.WORDS.fullmatch(user) and DOMAIN.fullmatch(domain)):
            return False
        return super().validate_result(domain)


class Phones(PhoneRecognizer):
    """Phone numbers by Google's metadata, as in Presidio; only a usual form counts without a preceding word.

    Presidio gives every match 0.4, but a bare run of digits, or digits joined by dots, is mostly something else.
    """

    FORMS = re.compile(
        r"\+\d{1,4}(?:[ .-]?\(?\d{1,4}\)?){2,6}$"            # international
        r"|\(\d{2,4}\)[ \-]?\d{3,4}[ \-.]\d{3,4}"              # (212) 555-0123
        r"|(?:1[\-. ])?\d{3}-\d{3}-\d{4}"                      # 212-555-0123
        r"|(?:1[\-. ])?\d{3}\.\d{3}\.\d{4}"
        r"|(?:1[\-. ])?\(\d{3}\)\d{3}-\d{4}"
    )  # fmt: skip

    def _get_recognizer_result(self, match, text, region, nlp_artifacts):  # type: ignore[no-untyped-def]
        result = super()._get_recognizer_result(match, text, region, nlp_artifacts)
        if re.match(r"\.\d", text[match.end :]) or re.fullmatch(r"\+?\d+\.\d{1,3}", match.raw_string):
            result.score = 0.01  # a decimal
        else:
            result.score = STANDS_ALONE if self.FORMS.match(match.raw_string) else NEEDS_WORD
        return result


class WorldPhones(PatternRecognizer):
    """Numbers from anywhere grouped like phone numbers: with `+` and a country code, or after a word.

    Phones uses Google's metadata, which lists the assigned ranges; ranges change faster than the metadata.
    """

    DATE = re.compile(r"(?:19|20)\d\d[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ](?:19|20)\d\d")

    def analyze(self, text, entities, nlp_artifacts=None, regex_flags=None):  # type: ignore[no-untyped-def]
        results = super().analyze(text, entities, nlp_artifacts, regex_flags)
        return [result for result in results if not words.NO_PHONE.search(text[: result.start])]

    def invalidate_result(self, pattern_text: str) -> bool:
        digits = re.sub(r"x.*|\D", "", pattern_text)
        if "." in pattern_text and " " in pattern_text and not pattern_text.startswith("+"):
            return True  # decimals one after another
        # E.164: at most 15 digits with the country code; the shortest national numbers have 7.
        return not 7 <= len(digits) <= 15 or self.DATE.match(pattern_text) is not None


class ResidentNumbers(KrRrnRecognizer):
    """Presidio's, with spaces around the hyphen. A bare number with a wrong check digit needs a preceding word."""

    def validate_result(self, pattern_text: str) -> bool | None:
        return super().validate_result(re.sub(r"\s", "", pattern_text))


class ForeignerNumbers(KrFrnRecognizer):
    """As ResidentNumbers."""

    def validate_result(self, pattern_text: str) -> bool | None:
        return super().validate_result(re.sub(r"\s", "", pattern_text))


class BusinessNumbers(KrBrnRecognizer):
    """Presidio's, except that ten bare digits need a word and the right check digit, which one in ten numbers has."""

    def validate_result(self, pattern_text: str) -> bool | None:
        right = super().validate_result(pattern_text)
        return right if "-" in pattern_text or not right else None


class DriverLicences(KrDriverLicenseRecognizer):
    """Presidio's, except that a valid region is not enough: any timestamp of this century begins with one."""

    def validate_result(self, pattern_text: str) -> bool | None:  # type: ignore[override]
        return None  # the check digit's rule is not public; the patterns below cover what is known


class AccountNumbers(PatternRecognizer):
    """Korean bank accounts: 10 to 14 digits, whose groups are chosen by the bank. Dates and telephones are none."""

    OTHER = re.compile(r"(?:19|20)\d\d-[01]?\d-[0-3]?\d(?:-|$)|01[016789]-?\d{3,4}-?\d{4}$|0\d{1,2}-\d{3,4}-\d{4}$")

    def invalidate_result(self, pattern_text: str) -> bool:
        digits = sum(character.isdigit() for character in pattern_text)
        return not 10 <= digits <= 14 or self.OTHER.match(pattern_text) is not None


class Addresses(IpRecognizer):
    """IP addresses that can identify a person: global ones, and those reserved for examples.

    Loopback, private, link-local and multicast addresses, masks and networks identify nobody. If the first three parts
    are small, the value counts as a version or a section number unless `ip` stands beside it: only one address in 400
    has this form.
    """

    # Public resolvers, found in every guide to networks.
    KNOWN: ClassVar = {"8.8.8.8", "8.8.4.4", "1.1.1.1", "1.0.0.1", "9.9.9.9"}

    def invalidate_result(self, pattern_text: str) -> bool | None:  # type: ignore[override]
        value, _, length = pattern_text.partition("/")
        try:
            address = ipaddress.ip_address(value.split("%")[0])
        except ValueError:
            return True
        four = isinstance(address, ipaddress.IPv4Address)
        if (length and int(length) < address.max_prefixlen) or (four and address.packed[-1] in (0, 255)):
            return True  # a network, or all of its hosts
        if in_example_network(value):
            return None
        if str(address) in self.KNOWN or not address.is_global or address.is_multicast:
            return True
        # Hexadecimal words joined by `::` are names in C++ and Rust; global addresses are in 2000::/3.
        named = not four and len(re.findall("[0-9A-Fa-f]+", value)) < 3
        return named or not (four or 0x2000 <= int(address) >> 112 <= 0x3FFF) or None

    # The name of a field with a colon (`client:203.0.113.7`), which is no group of an IPv6 address.
    FIELD = re.compile(r"(?<![\w:.])((?=[A-Za-z_-]*[g-zG-Z_])[A-Za-z][A-Za-z_-]+):(?=[0-9A-Fa-f])")
    NAMED = re.compile(r"(?i)(?<![a-z])(?:ip(?:v4)?|ip[ _-]?addr(?:ess)?|아이피)(?:\s?주소)?\W{0,4}$")

    def analyze(self, text, entities, nlp_artifacts=None, regex_flags=None):  # type: ignore[no-untyped-def]
        complete = []
        text = self.FIELD.sub(r"\1 ", text)
        for result in super().analyze(text, entities, nlp_artifacts, regex_flags):
            value = text[result.start : result.end]
            # Part of a longer run of numbers (paths in drawings, versions of five parts) is not an address; a port may
            # follow an address.
            if re.search(r"[\w.:-]\Z", text[: result.start]) or re.match(r"\w|[.-]\w|::", text[result.end :]):
                continue
            small = ":" not in value and all(int(octet) < 32 for octet in value.split(".")[:3])
            if small and not self.NAMED.search(text[: result.start]):
                continue
            complete.append(result)
        return complete


def recognisers() -> dict[str, EntityRecognizer]:
    """All recognisers by name, in a fixed order."""
    day = r"\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    area = r"0(?:2|3[1-3]|4[1-4]|5[1-5]|6[1-4]|70|50\d?)"
    return {
        "email": _adapted(
            Emails, None, ("mailbox", r"\w(?:[\w.+%'~-]*[\w+~-])?@(?:\w+(?:-+\w+)*\.)+[^\W\d_][\w-]*\w", STANDS_ALONE)
        ),
        "card": _adapted(
            Cards,
            words.CARD,
            ("four groups", rf"{START}\d{{4}}([- ])\d{{4}}\1\d{{4}}\1\d{{4}}(?:\1?\d{{1,3}})?{END}", NEEDS_WORD),
            ("three groups", rf"{START}\d{{4}}([- ])\d{{6}}\1\d{{4,5}}{END}", NEEDS_WORD),
            ("bare", rf"{START}\d{{12,19}}{END}", NEEDS_WORD),
        ),
        "phone": Phones(supported_language=LANGUAGE, supported_regions=("US", "GB"), context=words.PHONE),
        "world_phone": WorldPhones(
            supported_entity="PHONE_NUMBER",
            supported_language=LANGUAGE,
            context=words.PHONE,
            patterns=_patterns(
                (
                    "international",
                    rf"{PLUS}\+[1-9]\d{{0,5}}(?:[ .-]?\(0\) ?\d{{1,4}})?(?:[ .-]\d{{1,6}}){{2,5}}{EXTENSION}",
                    STANDS_ALONE,
                ),
                ("North America", rf"{START}(?:\(\d{{3}}\) ?|[2-9]\d\d-)[2-9]\d\d-\d{{4}}{EXTENSION}", STANDS_ALONE),
                (
                    "after a word",
                    rf"{START}\(?\d{{1,7}}\)?(?:[ .-]{{1,2}}\(?\d{{1,7}}\)?){{1,6}}{EXTENSION}",
                    NEEDS_WORD,
                ),
            ),
        ),
        "kr_phone": _additional(
            "PHONE_NUMBER",
            words.PHONE,
            ("mobile", rf"{START}01[016789]([-. ])\d{{3,4}}\1\d{{4}}{END}", STANDS_ALONE),
            ("mobile, bare", rf"{START}010[2-9]\d{{7}}{END}", STANDS_ALONE),
            ("mobile, old and bare", rf"{START}01[16789]\d{{7,8}}{END}", NEEDS_WORD),
            ("from abroad", rf"\+82[- ]?\(?0?\)?[- ]?\d{{1,2}}[-. ]?\d{{3,4}}[-. ]?\d{{4}}{END}", STANDS_ALONE),
            (
                "area code",
                rf"{START}(?:\({area}\)\s?-?|{area}(?:\)\s?|[- ]))\d{{3,4}}[- ]\d{{4}}{END}",
                STANDS_ALONE,
            ),
            ("area code, dots", rf"{START}{area}\.\d{{3,4}}\.\d{{4}}{END}", STANDS_ALONE),
        ),
        "iban": Ibans(LANGUAGE),
        "ip": Addresses(supported_language=LANGUAGE, context=words.IP),
        "ssn": _adapted(
            UsSsnRecognizer,
            words.SSN,
            ("hyphens", rf"{START}[0-8]\d\d-\d\d-\d{{4}}{END}", STANDS_ALONE),
            ("blanks or dots", rf"{START}[0-8]\d\d([ .])\d\d\1\d{{4}}{END}", NEEDS_WORD),
            ("bare", rf"{START}[0-8]\d{{8}}{END}", 0.05),
        ),
        "itin": UsItinRecognizer(supported_language=LANGUAGE, context=words.ITIN),
        "rrn": _adapted(
            ResidentNumbers,
            words.RRN,
            ("hyphen", rf"{START}{day}\s?[-–]\s?[1-4]\d{{6}}{END}", STANDS_ALONE),
            ("blank", rf"{START}{day} [1-4]\d{{6}}{END}", NEEDS_WORD),
            ("bare", rf"{START}{day}[1-4]\d{{6}}{END}", NEEDS_WORD),
        ),
        "frn": _adapted(
            ForeignerNumbers,
            words.FRN,
            ("hyphen", rf"{START}{day}\s?[-–]\s?[5-8]\d{{6}}{END}", STANDS_ALONE),
            ("blank", rf"{START}{day} [5-8]\d{{6}}{END}", NEEDS_WORD),
            ("bare", rf"{START}{day}[5-8]\d{{6}}{END}", NEEDS_WORD),
        ),
        "brn": BusinessNumbers(supported_language=LANGUAGE, context=words.BRN),
        "kr_passport": _adapted(
            KrPassportRecognizer,
            words.PASSPORT,
            ("current", r"(?<![A-Za-z0-9])[MSRODmsrod]\d{3}[A-Za-z]\d{4}(?![A-Za-z0-9])", NEEDS_WORD),
            ("previous", r"(?<![A-Za-z0-9])[MSRODmsrod]\d{8}(?![A-Za-z0-9])", NEEDS_WORD),
        ),
        "kr_licence": _adapted(
            DriverLicences,
            words.LICENCE,
            ("known region", rf"{START}(?:1[1-9]|2[0-68])-\d{{2}}-\d{{6}}-\d{{2}}{END}", STANDS_ALONE),
            ("other region", rf"{START}\d{{2}}-\d{{2}}-\d{{6}}-\d{{2}}{END}", NEEDS_WORD),
            ("no hyphens", rf"{START}\d{{2}} ?\d{{2}} ?\d{{6}} ?\d{{2}}{END}", NEEDS_WORD),
        ),
        "kr_account": AccountNumbers(
            supported_entity="KR_BANK_ACCOUNT",
            supported_language=LANGUAGE,
            context=words.ACCOUNT,
            patterns=_patterns(
                ("groups", rf"{START}\d{{2,6}}-\d{{2,6}}-\d{{2,7}}(?:-\d{{1,3}})?{END}", NEEDS_WORD),
                ("bare", rf"{START}\d{{10,14}}{END}", 0.1),
            ),
        ),
        "kr_address": _additional("KR_ADDRESS", None, *_address_patterns()),
        "birth": BirthDates(LANGUAGE),
    }


def _adapted(kind: type, words: list[str] | None, *given: tuple[str, str, float]) -> EntityRecognizer:
    """A recogniser of Presidio, or a subclass defined here, with other patterns and words."""
    return kind(supported_language=LANGUAGE, context=words, patterns=_patterns(*given))


def _additional(entity: str, words: list[str] | None, *given: tuple[str, str, float]) -> EntityRecognizer:
    """A recogniser for an entity that Presidio does not cover."""
    return PatternRecognizer(
        supported_language=LANGUAGE, supported_entity=entity, context=words or [], patterns=_patterns(*given)
    )


def _patterns(*given: tuple[str, str, float]) -> list[Pattern]:
    return [Pattern(name, expression, score) for name, expression, score in given]


def _address_patterns() -> list[tuple[str, str, float]]:
    """Korean addresses with a house number: by road name (since 2014) and by lot.

    A district alone is not an address, nor is a road without a number, nor a number that counts things (8가구, 30대).
    Source of the parts: Road Name Address Act.
    """
    place = rf"(?:(?:{PROVINCES}\s+)?(?:{DISTRICTS}\s+){{1,2}}|세종(?:특별자치시|시)?\s+)"
    village = r"(?:[가-힣]{1,4}(?:읍|면)\s+)?"
    ends = r"(?=$|[^가-힣\d.~%㎜㎡㎞]|\.(?!\d)|번지|호|동|층|에|의|로|은|는|이[^닝]|을|를|입|으|와|과|및|일대|일원)"
    house = rf"\d{{1,4}}(?:-\d{{1,4}})?{ends}(?:번지|호)?"
    flat = r"(?:,?\s?(?:[가-힣]{2,10}\s?)?\d{1,4}동\s?\d{1,4}호|,\s?\d{1,4}호|,?\s?\d{1,2}층)?"
    road = rf"[가-힣][가-힣0-9]{{0,11}}(?:로|길)\s?(?:\d{{1,4}}(?:번|가|나|다)?길\s?)?{house}"
    number = rf"(?:산\s?)?(?:\d{{1,4}}-\d{{1,4}}{ends}(?:번지)?|\d{{1,4}}번지)"
    lot = rf"[가-힣0-9]{{1,6}}(?:동|리|가|읍|면)\s+(?:[가-힣]{{1,5}}리\s+)?{number}"
    return [
        ("road", rf"(?<![가-힣]){place}{village}{road}{flat}", STANDS_ALONE),
        ("lot", rf"(?<![가-힣]){place}{village}{lot}{flat}", STANDS_ALONE),
    ]
